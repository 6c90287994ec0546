//! `manifest`: the manifest of a directory, of the own share or of a peer, as it is.

use super::Session;
use super::args;
use super::text;
use super::values::{as_shown, peer};
use super::wording::Failure;
use crate::content::{MANIFEST_BYTES_MAX, Manifest};
use crate::control::{CallError, ExitCode, ManifestReply, RawText, Request};
use crate::name::Escaped;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

pub(super) fn manifest(session: &mut Session, wanted: &args::Manifest) -> Result<ExitCode, CallError> {
    let bytes = fetch_named(session, &wanted.directory.0)?;
    match &wanted.output {
        Some(path) => save(&path.0, &bytes)?,
        None => drop(session.output.write_bytes(&bytes)?),
    }
    Ok(ExitCode::Done)
}

/// That of a directory of the own share, or of a peer if there is none of this name.
fn fetch_named(session: &mut Session, what: &[u8]) -> Result<Vec<u8>, CallError> {
    let own = what.strip_prefix(b"./");
    let shared = fetch(session, None, as_shown(own.unwrap_or(what).to_vec()));
    let at = what.iter().position(|&byte| byte == b'/').filter(|_| own.is_none());
    match (&shared, at) {
        (Err(error), Some(at)) if error.code == ExitCode::NotFound as i32 => {
            let (host, name) = (String::from_utf8_lossy(&what[..at]), as_shown(what[at + 1..].to_vec()));
            match peer(&host) {
                Ok(_) if name.is_empty() => Err(Failure::NoNameAfterPeer.into()),
                Ok(peer) => fetch(session, Some(peer), name),
                // What has a colon or a bracket is meant as an address.
                Err(why) if host.contains([':', '[']) => {
                    Err(Failure::BadArgument { value: Escaped(what).to_string(), of: "DIR".into(), why }.into())
                }
                Err(_) => shared,
            }
        }
        _ => shared,
    }
}

/// All pages, checked.
fn fetch(session: &mut Session, peer: Option<SocketAddr>, mut name: Vec<u8>) -> Result<Vec<u8>, CallError> {
    if !name.ends_with(b"/") {
        name.push(b'/');
    }
    let (name, mut bytes, mut first) = (RawText::new(name), Vec::new(), None::<String>);
    loop {
        let (b3, after) = (first.clone(), bytes.len() as u64);
        let page: ManifestReply = session.call(&Request::Manifest { peer, name: name.clone(), b3, after })?;
        bytes.extend_from_slice(page.text.as_bytes());
        let b3 = first.get_or_insert(page.b3);
        match page.next {
            Some(next) if next == bytes.len() as u64 && bytes.len() < MANIFEST_BYTES_MAX => {}
            _ => {
                let is_whole = Manifest::parse(&bytes).is_ok_and(|manifest| manifest.b3.to_string() == *b3);
                return if is_whole { Ok(bytes) } else { Err(Failure::ManifestDamaged.into()) };
            }
        }
    }
}

/// Nothing is left under the name if this fails.
fn save(path: &Path, bytes: &[u8]) -> Result<(), CallError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::FileExists { path: path.to_owned() },
        _ => Failure::CannotSave { path: path.to_owned(), error: text::name(error.to_string().as_bytes()) },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        failed(error).into()
    })
}
