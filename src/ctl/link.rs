//! `link`: links to files and directories of the own share and of peers, to hits and to downloads.

use super::Session;
use super::args::Link;
use super::named::own_or_of_peer;
use super::output::{complain, remark};
use super::query::{all_hits, chosen_hits, downloads_after, files_until, named_downloads};
use super::values::is_ids;
use super::wording::{Failure, Remark};
use super::{exit_code, listing, text};
use crate::control::{CallError, ContentLinkRow, ExitCode, HitRow, Linkable, Problem, RawText, Request};
use crate::id::ContentHash;
use std::net::SocketAddr;

/// Lines about files for which there is no link; all others are counted.
const FAILURES_TOLD_MAX: usize = 10;

pub(super) fn link(session: &mut Session, wanted: &Link) -> Result<ExitCode, CallError> {
    // For the lists of peers.
    session.connection.watch_interrupts()?;
    let (mut links, mut failures) = (Vec::new(), Vec::new());
    for what in &wanted.what {
        match links_to(session, &what.0, wanted.downloads) {
            Ok(found) => found.into_iter().for_each(|found| match found {
                Ok(link) => links.push(link),
                Err(error) => failures.push(error),
            }),
            Err(error) => failures.push(error),
        }
    }
    let code = failures.first().map_or(ExitCode::Done, |first| exit_code(first.code));
    if let (true, Some((first, others))) = (links.is_empty(), failures.split_first()) {
        session.output.show_error(first);
        tell(others, FAILURES_TOLD_MAX - 1);
        return Ok(code);
    }
    match session.output.is_text() {
        // A link that is broken into lines is none.
        true => drop(
            session
                .output
                .write(&links.iter().map(|row| text::name(row.link.as_bytes()) + "\n").collect::<String>())?,
        ),
        false => session.output.show(&links)?,
    }
    let (directories, files): (Vec<_>, Vec<_>) =
        links.iter().filter(|row| row.peers.is_empty()).partition(|row| row.name.as_bytes().ends_with(b"/"));
    if !files.is_empty() {
        remark(Remark::LinkWithoutPeer);
    }
    if !directories.is_empty() {
        remark(Remark::DirectoryLinkWithoutPeer);
    }
    if let Some(peers) = links.iter().find_map(only_for_this_machine) {
        remark(Remark::LinkWithinMachine { peers });
    }
    links.iter().filter_map(for_some).for_each(remark);
    tell(&failures, FAILURES_TOLD_MAX);
    Ok(code)
}

/// The peers of a link, if other machines reach none of them.
fn only_for_this_machine(row: &ContentLinkRow) -> Option<String> {
    let is_within = |peer: &SocketAddr| {
        let ip = peer.ip().to_canonical();
        ip.is_loopback() || ip.is_unspecified()
    };
    let peers: Vec<String> = row.peers.iter().map(SocketAddr::to_string).collect();
    (!peers.is_empty() && row.peers.iter().all(is_within)).then(|| peers.join(" and "))
}

/// What is said of a link to what is not shared with all.
fn for_some(row: &ContentLinkRow) -> Option<Remark> {
    let audience = text::name(row.audience.as_ref()?.join(" ").as_bytes());
    Some(Remark::LinkForSome { name: text::name(row.name.as_bytes()), audience })
}

/// A line for each of the first so many failures, and one for all others.
fn tell(failures: &[CallError], lines_max: usize) {
    failures.iter().take(lines_max).for_each(|error| complain(&error.message));
    let others = failures.len().saturating_sub(lines_max);
    if others > 0 {
        remark(Remark::LinesLeft(others as u64));
    }
}

/// A link, or why there is none.
type Outcome = Result<ContentLinkRow, CallError>;

/// Links to what one argument names.
fn links_to(session: &mut Session, what: &[u8], of_downloads: bool) -> Result<Vec<Outcome>, CallError> {
    let shown = String::from_utf8_lossy(what);
    if of_downloads {
        let ids = named_downloads(session, &shown)?.1?;
        if ids.is_empty() {
            return Err(Failure::NoDownloads.into());
        }
        return Ok(ids.into_iter().map(|id| call(session, Linkable::Download { id })).collect());
    }
    if is_ids(&shown) {
        let ids = chosen_hits(session, &shown)?.map_err(Problem::of_hits)?;
        if ids.is_empty() {
            return Err(Problem::NoHits.into());
        }
        return Ok(ids.into_iter().map(|hit| call(session, Linkable::Hit { id: hit.id, peer: None })).collect());
    }
    if let Some(hash) = shown.strip_prefix("b3=") {
        let b3 = ContentHash::from_hex(hash.as_bytes()).ok_or(Failure::NotAHash)?;
        return Ok(vec![link_to_content(session, b3)]);
    }
    Ok(vec![link_to_named(session, what)])
}

fn call(session: &mut Session, what: Linkable) -> Outcome {
    session.call(&Request::Link { what })
}

/// A link to a file or a directory of the own share, or of a peer if there is none of this name.
fn link_to_named(session: &mut Session, what: &[u8]) -> Outcome {
    own_or_of_peer(session, (what, "WHAT"), |session, peer, name| match peer {
        None => call(session, Linkable::Shared { name: RawText::new(name) }),
        Some(peer) if name.ends_with(b"/") => call(session, Linkable::Directory { peer, name: RawText::new(name) }),
        Some(peer) => link_to_file_of(session, peer, name),
    })
}

/// A link to a file of a peer: by the hits that are remembered, or else by the list of the peer.
fn link_to_file_of(session: &mut Session, peer: SocketAddr, name: Vec<u8>) -> Outcome {
    let name = RawText::new(name);
    let hits = all_hits(session, None)?.0;
    if let Some(found) = link_among(session, &hits, peer, &name)? {
        return Ok(found);
    }
    let listed = listing::fetch_list(session, peer);
    let hits = match &listed {
        Ok(search) => all_hits(session, Some(*search))?.0,
        Err(_) => Vec::new(),
    };
    match link_among(session, &hits, peer, &name)? {
        Some(found) => Ok(found),
        None => Err(listed.err().unwrap_or_else(|| {
            let shown = text::name(name.as_bytes());
            let prefix = [name.as_bytes(), b"/"].concat();
            let is_beneath = |hit: &HitRow| hit.names.iter().any(|name| name.as_bytes().starts_with(&prefix));
            match hits.iter().any(is_beneath) {
                true => Failure::ListedDirectory { peer, name: shown }.into(),
                false => Failure::NotListed { peer, name: shown }.into(),
            }
        })),
    }
}

/// A link by the newest of these hits that is this file and has a hash; without a hash it is an error.
fn link_among(
    session: &mut Session,
    hits: &[HitRow],
    peer: SocketAddr,
    name: &RawText,
) -> Result<Option<ContentLinkRow>, CallError> {
    let fits = |hit: &&HitRow| hit.sources.contains(&peer) && hit.names.contains(name);
    let (with, without): (Vec<&HitRow>, Vec<&HitRow>) =
        hits.iter().rev().filter(fits).partition(|hit| hit.b3.is_some());
    for hit in with {
        let link = call(session, Linkable::Hit { id: hit.id, peer: Some(peer) })?;
        // The name may be that of another source.
        if link.name == *name && link.peers.first() == Some(&peer) {
            return Ok(Some(link));
        }
    }
    without.first().map(|hit| call(session, Linkable::Hit { id: hit.id, peer: Some(peer) })).transpose()
}

/// A link to a content that the own share, a hit or a download has.
fn link_to_content(session: &mut Session, b3: ContentHash) -> Outcome {
    let hex = b3.to_string();
    let is_it = |other: &Option<String>| other.as_ref() == Some(&hex);
    if let Some(file) = files_until(session, |file| is_it(&file.b3))? {
        return call(session, Linkable::Shared { name: file.name });
    }
    if let Some(hit) = all_hits(session, None)?.0.into_iter().rev().find(|hit| is_it(&hit.b3)) {
        return call(session, Linkable::Hit { id: hit.id, peer: None });
    }
    match downloads_after(session, 0)?.into_iter().rev().find(|row| is_it(&row.b3)) {
        Some(row) => call(session, Linkable::Download { id: row.id }),
        None => Err(Failure::UnknownContent { hex }.into()),
    }
}
