//! `manifest`: the manifest of a directory, of the own share, of a peer or that a hit is, as it is.

use super::Session;
use super::args;
use super::named::own_or_of_peer;
use super::query::all_hits;
use super::text;
use super::values::is_ids;
use super::wording::Failure;
use crate::content::{MANIFEST_BYTES_MAX, Manifest};
use crate::control::{CallError, ExitCode, ManifestReply, Problem, RawText, Request};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

/// Peers of a hit that are asked one after the other: each may take as long as a connection may.
const PEERS_ASKED_MAX: usize = 4;

pub(super) fn manifest(session: &mut Session, wanted: &args::Manifest) -> Result<ExitCode, CallError> {
    let what = &wanted.directory.0;
    let bytes = match std::str::from_utf8(what).ok().filter(|what| is_ids(what)) {
        Some(id) => fetch_of_hit(session, id)?,
        None => own_or_of_peer(session, (what, "DIR"), fetch)?,
    };
    match &wanted.output {
        Some(path) => save(&path.0, &bytes)?,
        None => drop(session.output.write_bytes(&bytes)?),
    }
    Ok(ExitCode::Done)
}

/// That of a hit, from the first of its peers that gives it.
fn fetch_of_hit(session: &mut Session, text: &str) -> Result<Vec<u8>, CallError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::OneManifest.into());
    }
    let unknown = || CallError::from(Problem::NoSuchHit { part: text.to_owned() });
    let id: u32 = text.parse().map_err(|_| unknown())?;
    let hit = all_hits(session, None)?.0.into_iter().find(|hit| hit.id == id).ok_or_else(unknown)?;
    if hit.directory.is_none() {
        return Err(Failure::HitIsFile { id }.into());
    }
    let mut first = None;
    for peer in hit.sources.iter().take(PEERS_ASKED_MAX) {
        match fetch(session, Some(*peer), hit.name.as_bytes().to_vec()) {
            Err(error) if is_of_peer(&error) => drop(first.get_or_insert(error)),
            given => return given,
        }
    }
    Err(first.unwrap_or_else(unknown))
}

/// Whether another peer may give what this one has not given: it has none, is out of reach, or has sent something else. What
/// stops this daemon or this client stops the next request as well.
fn is_of_peer(error: &CallError) -> bool {
    use ExitCode::{Checksum, Network, NotFound, TimedOut};
    [NotFound, Network, TimedOut, Checksum].iter().any(|code| error.code == *code as i32)
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
