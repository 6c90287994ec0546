//! Orphans: part files that belong to no download of this daemon, as after the loss of the state directory.
//!
//! One may belong to another daemon that saves to the same directory and does not run now. So only part files that no process
//! has locked, and without data, are removed. All others are reported.

use super::disk::BLOCK_BYTES;
use super::part::journal;
use super::place::{Held, JOURNAL_SUFFIX, PART_SUFFIX};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Whence, lseek};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENTRIES_MAX: usize = 1_000_000;

const ORPHANS_MAX: usize = 1000;

/// A journal without a part file is removed at this age: while a download gets its final name, its journal is without one.
const LONE_JOURNAL_AGE_MIN: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrphanKind {
    /// Without data: nothing was written to it, or it is a journal without a part file.
    Empty,
    /// With unverified bytes.
    Unchecked,
    /// With groups of a content, by its journal.
    Groups {
        /// Verified and written.
        held: u64,
        /// Of the content.
        count: u64,
    },
}

/// A part file without a download, or a journal without a part file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub path: PathBuf,
    pub token: u32,
    /// On the disk.
    pub bytes: u64,
    pub kind: OrphanKind,
}

#[derive(Debug, Default)]
pub(crate) struct OrphansFound {
    /// At most 1000.
    pub orphans: Vec<Orphan>,
    pub is_partial: bool,
}

/// Waits for the disk.
#[derive(Debug)]
pub(crate) struct OrphanSearch {
    /// Where to search, without subdirectories.
    pub directories: BTreeSet<PathBuf>,
    /// Of all downloads.
    pub tokens: BTreeSet<u32>,
    /// The wall clock, in nanoseconds since the epoch.
    pub wall_ns: i64,
}

#[derive(Debug, Default)]
struct Family {
    parts: Vec<PathBuf>,
    /// Journals and claims.
    others: Vec<PathBuf>,
}

impl OrphanSearch {
    pub(crate) fn run(self) -> OrphansFound {
        let (mut found, mut seen) = (OrphansFound::default(), BTreeSet::new());
        for directory in &self.directories {
            // Two paths may lead to the same one.
            if let Ok(path) = fs::canonicalize(directory)
                && !seen.insert(path)
            {
                continue;
            }
            match self.families(directory) {
                Ok((families, is_whole)) => {
                    found.is_partial |= !is_whole;
                    for (token, family) in families {
                        found.orphans.extend(family.orphans(token, self.wall_ns));
                    }
                }
                // The target of one file; its directory is searched as well.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.searches_above(directory) => {}
                Err(_) => found.is_partial = true,
            }
        }
        found.is_partial |= found.orphans.len() > ORPHANS_MAX;
        found.orphans.truncate(ORPHANS_MAX);
        found
    }

    fn searches_above(&self, directory: &Path) -> bool {
        directory.parent().is_some_and(|above| self.directories.contains(above))
    }

    fn families(&self, directory: &Path) -> io::Result<(BTreeMap<u32, Family>, bool)> {
        let mut families: BTreeMap<u32, Family> = BTreeMap::new();
        for (index, entry) in fs::read_dir(directory)?.enumerate() {
            if index >= ENTRIES_MAX {
                return Ok((families, false));
            }
            let name = entry?.file_name();
            let Some((token, is_part)) = parse(name.as_bytes()) else { continue };
            if !self.tokens.contains(&token) {
                let family = families.entry(token).or_default();
                let files = if is_part { &mut family.parts } else { &mut family.others };
                files.push(directory.join(name));
            }
        }
        Ok((families, true))
    }
}

impl Family {
    fn orphans(&self, token: u32, wall_ns: i64) -> Vec<Orphan> {
        if self.parts.is_empty() {
            let lone = self.others.iter().filter(|path| is_old(path, wall_ns)).cloned();
            return lone.map(|path| Orphan { path, token, bytes: 0, kind: OrphanKind::Empty }).collect();
        }
        self.parts.iter().filter_map(|path| self.examine(path, token)).collect()
    }

    /// `None` if it is in use, or not a regular file.
    fn examine(&self, path: &Path, token: u32) -> Option<Orphan> {
        let held = hold(path)?;
        let found = held.metadata().ok()?;
        let bytes = found.blocks().saturating_mul(BLOCK_BYTES);
        let groups = self.others.iter().filter_map(|journal| groups_in(journal, &found)).max_by_key(|(held, _)| *held);
        let kind = match groups {
            Some((held, count)) if held > 0 => OrphanKind::Groups { held, count },
            // Without a lock it is unknown whether it is in use.
            _ if is_locked(&held) && has_no_data(&held) => OrphanKind::Empty,
            _ => OrphanKind::Unchecked,
        };
        Some(Orphan { path: path.to_owned(), token, bytes, kind })
    }
}

impl Orphan {
    /// Removes it, if it is still without data and not in use. Waits for the disk.
    pub(crate) fn remove(&self, wall_ns: i64) -> io::Result<()> {
        let (Some(directory), OrphanKind::Empty) = (self.path.parent(), self.kind) else { return Ok(()) };
        let search = OrphanSearch { directories: BTreeSet::new(), tokens: BTreeSet::new(), wall_ns };
        let (mut families, _) = search.families(directory)?;
        let Some(family) = families.remove(&self.token) else { return Ok(()) };
        if !family.orphans(self.token, wall_ns).contains(self) {
            return Ok(());
        }
        // Locked until it is removed, so that no other process opens it meanwhile.
        let held = match family.parts.contains(&self.path) {
            true => match hold(&self.path) {
                Some(held) if is_locked(&held) && has_no_data(&held) => Some(held),
                _ => return Ok(()),
            },
            false => None,
        };
        fs::remove_file(&self.path)?;
        if family.parts.len() == 1 {
            for path in &family.others {
                fs::remove_file(path)?;
            }
        }
        drop(held);
        Ok(())
    }
}

fn is_locked(held: &Held) -> bool {
    matches!(held, Held::Locked(_))
}

/// Opens a part file, unless another process holds it, or we may not open it.
fn hold(path: &Path) -> Option<Held> {
    let file = open(path, true).ok()?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Some(Held::Locked(file)),
        Err((_, Errno::EWOULDBLOCK)) => None,
        Err((file, _)) => Some(Held::Plain(file)),
    }
}

/// Opens a regular file; follows no link.
fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// The number of verified groups by a journal of this part file, and of all groups.
fn groups_in(path: &Path, part: &fs::Metadata) -> Option<(u64, u64)> {
    let loaded = journal::load(&open(path, false).ok()?).ok()??;
    (loaded.outline.size() == part.len()).then(|| (loaded.verified.held(), loaded.verified.count()))
}

/// Whether nothing was ever written to a file: allocated space counts as a hole.
fn has_no_data(file: &File) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let found = lseek(file, 0, Whence::SeekData);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let found = lseek(file, 0, Whence::SeekEnd).and_then(|end| if end == 0 { Err(Errno::ENXIO) } else { Ok(end) });
    found == Err(Errno::ENXIO)
}

fn is_old(path: &Path, wall_ns: i64) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else { return false };
    let age_s = (wall_ns / 1_000_000_000).saturating_sub(found.mtime());
    u64::try_from(age_s).is_ok_and(|age_s| age_s >= LONE_JOURNAL_AGE_MIN.as_secs())
}

/// Whether this is the name of a file that a download has until it is done.
pub(super) fn is_of_download(name: &[u8]) -> bool {
    parse(name).is_some()
}

/// The token in the name of a part file (true), or of a journal or claim (false).
fn parse(name: &[u8]) -> Option<(u32, bool)> {
    let name = name.strip_prefix(b".")?;
    let (stem, is_part) = match (name.strip_suffix(PART_SUFFIX), name.strip_suffix(JOURNAL_SUFFIX)) {
        (Some(stem), _) => stem.strip_suffix(b".claim").map_or((stem, true), |stem| (stem, false)),
        (None, Some(stem)) => (stem.strip_suffix(b".new").unwrap_or(stem), false),
        (None, None) => return None,
    };
    let (_, token) = stem.split_at_checked(stem.len().checked_sub(9)?)?;
    let hex = std::str::from_utf8(token.strip_prefix(b".")?).ok()?;
    let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u32::from_str_radix(hex, 16).ok()).flatten().map(|token| (token, is_part))
}

#[cfg(test)]
mod tests {
    use super::super::part::tests::{Content, exact};
    use super::*;
    use std::ffi::OsStr;

    /// Two hours after the epoch.
    const NOW: i64 = 7_200_000_000_000;

    fn search(directory: &Path, tokens: &[u32]) -> Vec<Orphan> {
        // The same twice, and the target of a file that does not exist.
        let link = directory.join("link");
        let _ = std::os::unix::fs::symlink(".", &link);
        let directories = BTreeSet::from([directory.to_owned(), link, directory.join("missing")]);
        let found = OrphanSearch { directories, tokens: tokens.iter().copied().collect(), wall_ns: NOW }.run();
        assert!(!found.is_partial);
        found.orphans
    }

    #[test]
    fn the_token_is_read_from_a_name() {
        for (name, expected) in [
            (&b".a.b.00c0ffee.pyrate-part"[..], Some((0xc0_ffee, true))),
            (b".a.00c0ffee.claim.pyrate-part", Some((0xc0_ffee, false))),
            (b".a.00c0ffee.pyrate-journal", Some((0xc0_ffee, false))),
            (b".a.00c0ffee.new.pyrate-journal", Some((0xc0_ffee, false))),
            (b"a.00c0ffee.pyrate-part", None),
            (b".a.00C0FFEE.pyrate-part", None),
            (b".a.0c0ffee.pyrate-part", None),
            (b".pyrate-part", None),
            (b".\xff.00c0ffee.pyrate-journal", Some((0xc0_ffee, false))),
        ] {
            assert_eq!(parse(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn orphans_with_data_are_found_and_those_without_can_be_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let content = Content::of(3, 1);
        let begin = |token| exact(&scratch.path().join("a")).wanting(&content).token(token).ready();
        let mut half = begin(1);
        half.set_outline(content.outline.clone()).unwrap();
        half.put(&content, 1);
        half.close();
        let mut allocated = begin(2);
        allocated.set_outline(content.outline.clone()).unwrap();
        assert!(allocated.sync());
        allocated.close();
        let mut stream = begin(3);
        stream.append(b"unchecked").unwrap();
        stream.close();
        begin(4).close();
        let remembered = begin(5);
        remembered.close();
        let in_use = begin(6);
        let found = search(scratch.path(), &[5]);
        let kinds: Vec<_> = found.iter().map(|orphan| (orphan.token, orphan.kind)).collect();
        let groups = OrphanKind::Groups { held: 1, count: 3 };
        let expected = [(1, groups), (2, OrphanKind::Empty), (3, OrphanKind::Unchecked), (4, OrphanKind::Empty)];
        assert_eq!(kinds, expected);
        found.iter().for_each(|orphan| orphan.remove(NOW).unwrap());
        let left: Vec<_> = search(scratch.path(), &[]).iter().map(|orphan| orphan.token).collect();
        assert_eq!(left, [1, 3, 5], "a part file in use is no orphan");
        in_use.close();
        let mut half = begin(1);
        assert_eq!(half.held(), [1], "the orphan is unchanged");
        half.put(&content, 0);
    }

    #[test]
    fn a_part_file_that_is_opened_after_the_search_is_not_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let content = Content::of(2, 1);
        let begin = || exact(&scratch.path().join("a")).wanting(&content).ready();
        begin().close();
        let found = search(scratch.path(), &[]);
        assert_eq!(found.len(), 1);
        let part = begin();
        found[0].remove(NOW).unwrap();
        assert!(part.part_path().exists(), "it is in use");
        let mut part = part;
        part.append(b"data").unwrap();
        part.close();
        found[0].remove(NOW).unwrap();
        assert_eq!(search(scratch.path(), &[])[0].kind, OrphanKind::Unchecked, "it holds data");
    }

    #[test]
    fn an_old_journal_without_its_part_file_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let journal = scratch.path().join(".a.00000001.pyrate-journal");
        fs::write(&journal, "x").unwrap();
        assert_eq!(search(scratch.path(), &[]), []);
        File::options().write(true).open(&journal).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let found = search(scratch.path(), &[]);
        assert_eq!((found.len(), found[0].kind), (1, OrphanKind::Empty));
        found[0].remove(NOW).unwrap();
        assert!(!journal.exists());
    }

    #[test]
    fn a_missing_directory_is_searched_again() {
        let search = |path: &str| {
            let directories = BTreeSet::from([PathBuf::from(path)]);
            OrphanSearch { directories, tokens: BTreeSet::new(), wall_ns: NOW }.run().is_partial
        };
        assert!(search("/none at all"));
        assert!(!search("/etc/passwd") && !search("/"));
    }

    #[test]
    fn other_files_with_such_names_are_not_touched() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("secret"), "").unwrap();
        fs::create_dir(scratch.path().join(".a.00000001.pyrate-part")).unwrap();
        std::os::unix::fs::symlink("secret", scratch.path().join(".a.00000002.pyrate-part")).unwrap();
        nix::unistd::mkfifo(&scratch.path().join(".a.00000003.pyrate-part"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(scratch.path().join(OsStr::from_bytes(b".part.pyrate-part")), "").unwrap();
        assert_eq!(search(scratch.path(), &[]), []);
    }
}
