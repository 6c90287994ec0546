//! A file of a peer that is to be saved where a file is already.

use super::Session;
use super::listing::fetch_list;
use super::query::all_hits;
use crate::control::{CallError, ExitCode, RawText, Selector};
use crate::name::last_component;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Names the file by its hit in the list of the peer, if a file is at the place: the hash of a hit lets the daemon compare the two
/// before anything is fetched, and a name has none. Without a hash it stays as it is, and the daemon says that the place is taken.
pub(super) fn comparable(
    session: &mut Session,
    what: Vec<Selector>,
    output: &Path,
) -> Result<Vec<Selector>, CallError> {
    let [Selector::File { peer, name }] = &what[..] else { return Ok(what) };
    if name.as_bytes().ends_with(b"/") || !is_taken(output, name) {
        return Ok(what);
    }
    // Not by the hits that are remembered: the peer may have another content under this name by now.
    let search = match fetch_list(session, *peer) {
        Ok(search) => search,
        Err(error) if error.code == ExitCode::Unfinished as i32 => return Err(error),
        Err(_) => return Ok(what),
    };
    let hits = all_hits(session, Some(search))?.0;
    let hit = hits.iter().find(|hit| hit.b3.is_some() && hit.name == *name && hit.sources.contains(peer));
    Ok(hit.map(|hit| vec![Selector::Hits(hit.id.to_string())]).unwrap_or(what))
}

/// Whether a regular file is where a file of this name would be saved, as far as this user can see that.
fn is_taken(output: &Path, name: &RawText) -> bool {
    let inside = || output.join(OsStr::from_bytes(last_component(name.as_bytes())));
    let place = if output.is_dir() { inside() } else { output.to_owned() };
    place.is_file()
}
