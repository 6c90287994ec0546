//! The downloads that users begin: from hits, names or contents; and the pages on which they see them.

use super::Node;
use super::contract::{PartSpec, Target};
use super::download::{Aim, Download};
use super::hits::Hit;
use super::limits::{DOWNLOADS_MAX, DOWNLOADS_PER_CALL_MAX, HIT_SOURCES_MAX, PAGE_BYTES_MAX};
use super::sources::Source;
use super::subscriptions::Topic;
use super::unsourced::name_of_hash;
use crate::control::{
    CallError, DownloadRow, DownloadsReply, ExitCode, PAGE_ROWS_MAX, PeerSource, RawText, Selector, parse_ids,
};
use crate::id::{ClientId, ContentHash, HitId, TransferId};
use crate::name::{Escaped, FileName};
use crate::time::Instant;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// One file that a user wants.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) name: FileName,
    pub(super) size: Option<u64>,
    pub(super) b3: Option<ContentHash>,
    pub(super) sources: Vec<Source>,
}

impl Node {
    /// Begins downloads.
    pub(super) fn call_download(
        &mut self,
        now: Instant,
        client: ClientId,
        what: &[Selector],
        output: Option<&RawText>,
    ) -> Result<Vec<TransferId>, CallError> {
        let mut wishes = Vec::new();
        for selector in what {
            wishes.extend(self.read_selector(now, selector)?);
            check_count(wishes.len())?;
        }
        if wishes.is_empty() {
            return Err(CallError::new(ExitCode::Usage, "nothing to download was named"));
        }
        if wishes.len() > self.downloads.room() {
            let message = format!("{DOWNLOADS_MAX} downloads are unfinished; `pyratectl cancel` makes room");
            return Err(CallError::new(ExitCode::Other, message));
        }
        let output = output.map(read_output).transpose()?;
        let single = wishes.len() == 1;
        let target = |wish: &Wish| self.target(&wish.name, output.as_deref(), single);
        let targets: Vec<_> = wishes.iter().map(target).collect();
        let wishes: Vec<(Wish, Target)> = wishes.into_iter().zip(targets).collect();
        if output.is_some() {
            // Of one call either everything is begun or nothing.
            wishes.iter().try_for_each(|(wish, target)| self.downloads.check_place(wish, target))?;
        }
        let mut ids = Vec::new();
        for (wish, target) in wishes {
            let begins = self.downloads.fulfilling(&wish, &target).is_none();
            let Some(id) = self.grant(now, wish, target) else {
                return Err(CallError::new(ExitCode::Other, "no number is left for another download"));
            };
            if begins && output.is_some() {
                self.probe_target(id);
            }
            self.subscriptions.subscribe(Topic::Download(id), client);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        self.start_downloads(now);
        Ok(ids)
    }

    fn read_selector(&mut self, now: Instant, selector: &Selector) -> Result<Vec<Wish>, CallError> {
        match selector {
            Selector::Hits(ids) => {
                let ids = parse_ids(ids, self.hits.ids())?;
                check_count(ids.len())?;
                Ok(ids.into_iter().filter_map(|id| self.wish_of_hit(HitId(id))).collect())
            }
            Selector::File { peer, name } => {
                let peer = self.peer_of_user(*peer)?;
                let name = FileName::from_bytes(name.as_bytes()).ok_or_else(|| {
                    let message = format!("no file can be called \"{}\"", Escaped(name.as_bytes()));
                    CallError::new(ExitCode::Usage, message)
                })?;
                self.learn_peer(now, peer, PeerSource::User);
                let sources = vec![Source::new(peer, Rc::new(name.clone()), None)];
                Ok(vec![Wish { name, size: None, b3: None, sources }])
            }
            Selector::Content(hex) => {
                let Some(b3) = ContentHash::from_hex(hex.as_bytes()) else {
                    let message = "a content is named by the 64 hex digits that `b3sum` prints";
                    return Err(CallError::new(ExitCode::Usage, message));
                };
                Ok(self.wish_of_content(b3).into_iter().collect())
            }
        }
    }

    /// The download that fulfils a wish: a new one, unless the same file is fetched already.
    fn grant(&mut self, now: Instant, wish: Wish, target: Target) -> Option<TransferId> {
        if let Some(id) = self.downloads.fulfilling(&wish, &target) {
            // Of one content, whoever offers it is a source; of a name, they are those that were chosen.
            if wish.b3.is_some() && self.downloads.get(id).is_some_and(|row| row.aim.b3() == wish.b3) {
                if let Some(row) = self.downloads.get_mut(id).filter(|_| !wish.sources.is_empty()) {
                    row.adopt(&wish.name, wish.size);
                }
                self.add_sources(now, id, wish.sources);
            }
            return Some(id);
        }
        let token = (self.dice.number() >> 32) as u32;
        let aim = wish.b3.map_or(Aim::Name, Aim::Content);
        let spec = PartSpec { target, token, filesystem: None };
        self.insert_download(Download::new(wish.name, spec, aim, wish.size, wish.sources))
    }

    fn wish_of_hit(&self, id: HitId) -> Option<Wish> {
        let hit = self.hits.get(id)?;
        let source = |(addr, name): (SocketAddr, &Rc<FileName>)| Source::new(addr, Rc::clone(name), hit.size());
        let sources = hit.offers().map(source).collect();
        Some(Wish { name: hit.name().clone(), size: hit.size(), b3: hit.b3(), sources })
    }

    /// A content under whatever names its hits have; without a hit it has no source yet, and is named by its hash.
    fn wish_of_content(&self, b3: ContentHash) -> Option<Wish> {
        let first = self.hits.of_content(b3).next();
        let name = first.map_or_else(|| name_of_hash(b3), |hit| Some(hit.name().clone()))?;
        let mut wish = Wish { name, size: first.and_then(Hit::size), b3: Some(b3), sources: Vec::new() };
        for hit in self.hits.of_content(b3) {
            for (addr, name) in hit.offers() {
                let has_room = wish.sources.len() < HIT_SOURCES_MAX;
                match wish.sources.iter_mut().find(|source| source.addr == addr) {
                    Some(known) => drop(known.names.add(name)),
                    None if has_room => wish.sources.push(Source::new(addr, Rc::clone(name), hit.size())),
                    None => {}
                }
            }
        }
        Some(wish)
    }

    fn target(&self, name: &FileName, output: Option<&Path>, single: bool) -> Target {
        let name = name.safe_component();
        match output {
            Some(path) if single => Target::Exact { path: path.to_path_buf(), name },
            Some(path) => Target::Suggested { directory: path.to_path_buf(), name },
            None => Target::Suggested { directory: self.config.download_directory.clone(), name },
        }
    }

    pub(super) fn downloads_reply(&self, now: Instant, ids: &[TransferId]) -> DownloadsReply {
        let ids: BTreeSet<TransferId> = ids.iter().copied().collect();
        let rows = ids.iter().filter_map(|id| Some((id.0, self.downloads.row(*id, now)?)));
        let (downloads, next) = page(rows, download_bytes);
        DownloadsReply { downloads, next, ids: ids.iter().map(|id| id.0).collect() }
    }

    /// One page of all downloads.
    pub(super) fn call_downloads(&self, now: Instant, after: u32) -> DownloadsReply {
        let (downloads, next) = page(self.downloads.after(TransferId(after), now), download_bytes);
        DownloadsReply { downloads, next, ids: Vec::new() }
    }
}

/// What a row takes as a line of JSON, at most.
fn download_bytes(row: &DownloadRow) -> usize {
    let path = row.path.as_ref().map_or(0, |path| path.as_bytes().len());
    500 + (row.name.as_bytes().len() + path) * TEXT_BLOAT_MAX + row.sources.len() * (64 + SHARE_BYTES_MAX)
}

/// What a source's share takes as a line of JSON, at most, roughly.
const SHARE_BYTES_MAX: usize = 300;

/// How much longer a byte of a name may get in JSON: as hex beside its replacement character.
pub(super) const TEXT_BLOAT_MAX: usize = 6;

/// One page of rows with their ids: within the bounds of rows and bytes, and where to go on if there are more.
pub(super) fn page<K, R>(rows: impl Iterator<Item = (K, R)>, row_bytes: impl Fn(&R) -> usize) -> (Vec<R>, Option<K>) {
    let (mut taken, mut last, mut bytes) = (Vec::new(), None, 0);
    for (id, row) in rows {
        bytes += row_bytes(&row);
        let full = taken.len() >= PAGE_ROWS_MAX as usize || bytes > PAGE_BYTES_MAX;
        if full && last.is_some() {
            return (taken, last);
        }
        taken.push(row);
        last = Some(id);
    }
    (taken, None)
}

pub(super) fn check_count(files: usize) -> Result<(), CallError> {
    if files <= DOWNLOADS_PER_CALL_MAX {
        return Ok(());
    }
    let message = format!("{files} files are too many for one call; name at most {DOWNLOADS_PER_CALL_MAX} at once");
    Err(CallError::new(ExitCode::Usage, message))
}

fn read_output(output: &RawText) -> Result<PathBuf, CallError> {
    let path = Path::new(OsStr::from_bytes(output.as_bytes()));
    if path.is_absolute() && !output.as_bytes().contains(&0) {
        return Ok(path.to_path_buf());
    }
    let message = format!("\"{}\" is not an absolute path", Escaped(output.as_bytes()));
    Err(CallError::new(ExitCode::Usage, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_bounds_and_says_where_to_go_on() {
        let rows = |n: u32| (1..=n).map(|id| (id, id));
        assert_eq!(page(rows(0), |_| 1), (vec![], None));
        assert_eq!(page(rows(500), |_| 1).1, None);
        let (first, next) = page(rows(501), |_| 1);
        assert_eq!((first.len(), next), (500, Some(500)));
        let (first, next) = page(rows(9), |_| PAGE_BYTES_MAX / 2);
        assert_eq!((first.len(), next), (2, Some(2)));
        let (first, next) = page(rows(3), |_| PAGE_BYTES_MAX + 1);
        assert_eq!((first.len(), next), (1, Some(1)), "a page is never empty while rows are left");
    }

    #[test]
    fn only_absolute_paths_are_taken() {
        assert!(read_output(&RawText::new(&b"/tmp/a"[..])).is_ok());
        for bad in [&b"a"[..], b"", b"./a", b"/a\0b"] {
            assert_eq!(read_output(&RawText::new(bad)).unwrap_err().code, ExitCode::Usage as i32);
        }
    }
}
