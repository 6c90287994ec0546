//! What survives on a simulated host: its share, its finished downloads, its part files with their journals, the hashes,
//! peers and downloads that it remembers. What a run holds open does not.

use crate::conn::ConnId;
use crate::content::{Content, Outline};
use crate::random::Random;
use crate::trees::{MakingDirectories, SavedTree, SharedTree};
use pyrate::content::{Groups, group_span};
use pyrate::control::EventRow;
use pyrate::fault::DiskFault;
use pyrate::id::{ContentHash, TransferId};
use pyrate::library::{FileMeta, ScannedFile};
use pyrate::name::FileName;
use pyrate::node::RememberedPeers;
use pyrate::node::contract::{DownloadRecord, PartSpec, Target, WishRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Groups in a journal that are synced together.
const SYNC_GROUPS: usize = 16;

/// What tells one part file from another: where it is to end, and its token.
pub(crate) type PartKey = (PathBuf, u32);

/// A part file with its journal.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartFile {
    pub(crate) outline: Option<Outline>,
    /// The groups in the journal, and what each really holds.
    pub(crate) journal: BTreeMap<u64, Content>,
    /// Of these, what a power cut may take.
    unsynced: BTreeSet<u64>,
    /// What the last stream wrote, from the first byte on.
    pub(crate) stream: Option<Content>,
}

impl PartFile {
    /// Takes an outline. Of another content it starts again; of the same one, all that is verified stays. Says whether nothing
    /// contradicts it.
    pub(crate) fn set_outline(&mut self, outline: Outline) -> bool {
        match self.outline {
            Some(before) if before.b3 == outline.b3 => {
                let agree = |group: &u64| {
                    let is_alone = |outline: Outline| outline.groups() <= 1;
                    is_alone(before) == is_alone(outline)
                        && group_span(before.size, *group) == group_span(outline.size, *group)
                };
                if !self.journal.keys().all(agree) {
                    return false;
                }
                self.outline = Some(outline);
            }
            _ => *self = Self { outline: Some(outline), ..Self::default() },
        }
        true
    }

    /// Writes a group and enters it in the journal.
    pub(crate) fn write_group(&mut self, group: u64, content: Content) {
        self.journal.insert(group, content);
        self.unsynced.insert(group);
        if self.unsynced.len() >= SYNC_GROUPS {
            self.unsynced.clear();
        }
    }

    /// Takes what is wrong out of the journal, and says which groups that was.
    pub(crate) fn take_bad(&mut self) -> Vec<u64> {
        let Some(outline) = self.outline else { return Vec::new() };
        let wrong = |(&group, &content): (&u64, &Content)| {
            (!outline.is_right(group, content, group_span(outline.size, group).start)).then_some(group)
        };
        let bad: Vec<u64> = self.journal.iter().filter_map(wrong).collect();
        self.journal.retain(|group, _| !bad.contains(group));
        bad
    }

    /// Everything that the file holds, as one content.
    pub(crate) fn content(&self) -> Content {
        match self.outline {
            Some(outline) => {
                let full = self.journal.len() as u64 == outline.groups();
                let truth = Content::of(outline.b3).filter(|truth| full && truth.size == outline.size);
                truth.unwrap_or(Content { id: u64::MAX, size: outline.size })
            }
            None => self.stream.unwrap_or(Content { id: 0, size: 0 }),
        }
    }

    /// Bytes of the groups in the journal.
    pub(crate) fn verified_bytes(&self) -> u64 {
        let size = self.outline.map_or(0, |outline| outline.size);
        let bytes = |group: &u64| group_span(size, *group);
        self.journal.keys().map(bytes).map(|span| span.end - span.start).sum()
    }

    pub(crate) fn verified(&self) -> Option<(u64, Groups)> {
        let outline = self.outline?;
        let mut groups = Groups::none(outline.groups());
        for group in self.journal.keys() {
            groups.insert(*group);
        }
        Some((outline.size, groups))
    }

    /// The power went: of what was not synced, some is lost, and is known to be.
    fn lose_power(&mut self, random: &mut Random) {
        for group in std::mem::take(&mut self.unsynced) {
            if random.chance(500) {
                self.journal.remove(&group);
            }
        }
        self.stream = self.stream.filter(|_| random.chance(500));
    }
}

/// How far an open part file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Opening,
    Open,
    Checking,
    Committing,
}

/// What follows when a stage is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stay,
    Close,
    Remove,
}

/// A part file that the running program has open, or is about to.
#[derive(Debug, Clone)]
pub(crate) struct OpenPart {
    pub(crate) key: PartKey,
    pub(crate) target: Target,
    /// The content wanted, as far as the node knew when it opened it.
    pub(crate) b3: Option<ContentHash>,
    pub(crate) size: Option<u64>,
    pub(crate) stage: Stage,
    pub(crate) fate: Fate,
    /// Exchanges that may write to it.
    pub(crate) fetches: BTreeSet<ConnId>,
    /// What the last check found, if nothing was written since.
    pub(crate) checked: Option<ContentHash>,
}

/// Where a finished file may go.
pub(crate) enum Place {
    Free(PathBuf),
    /// A file of the same content is there.
    Taken(PathBuf),
}

/// The disk of one host.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) share: BTreeMap<FileName, Content>,
    /// What else is known of the share.
    pub(crate) shared_tree: SharedTree,
    /// Everything that was ever shared: an answer may be on its way while its file goes.
    pub(crate) shared_ever: BTreeSet<(FileName, Content)>,
    pub(crate) finished: BTreeMap<PathBuf, Content>,
    /// What else lies where downloads go.
    pub(crate) saved_tree: SavedTree,
    /// Orders to make directories, the oldest first.
    pub(crate) making: Vec<MakingDirectories>,
    pub(crate) files: BTreeMap<PartKey, PartFile>,
    /// What the running program has open.
    pub(crate) parts: BTreeMap<TransferId, OpenPart>,
    pub(crate) hashed: BTreeSet<FileMeta>,
    pub(crate) peers: RememberedPeers,
    pub(crate) downloads: BTreeMap<TransferId, DownloadRecord>,
    pub(crate) wishes: BTreeMap<TransferId, WishRecord>,
    pub(crate) download_last: u32,
    /// The events of downloads, also of those that are forgotten.
    pub(crate) events: BTreeMap<TransferId, Vec<Rc<EventRow>>>,
    /// Events with smaller ids are forgotten.
    pub(crate) events_from: u64,
    /// The contents that downloads were begun for.
    pub(crate) wanted: BTreeMap<TransferId, ContentHash>,
    /// What each attempt to write meets.
    pub(crate) fault: Option<DiskFault>,
}

impl Disk {
    pub(crate) fn share(&mut self, name: &str, content: Content) {
        let name = FileName::from_bytes(name.as_bytes()).unwrap();
        self.shared_tree.make_above(&name);
        self.shared_tree.executable.remove(&name);
        self.shared_ever.insert((name.clone(), content));
        self.share.insert(name, content);
    }

    /// What was ever shared under a name.
    pub(crate) fn shared_as(&self, name: &FileName) -> impl Iterator<Item = Content> {
        let from = (name.clone(), Content { id: 0, size: 0 });
        self.shared_ever.range(from..).take_while(move |(known, _)| known == name).map(|(_, content)| *content)
    }

    pub(crate) fn remember_wish(&mut self, wish: TransferId, record: Option<Box<WishRecord>>) {
        let Some(record) = record else { return drop(self.wishes.remove(&wish)) };
        self.download_last = self.download_last.max(wish.0);
        if !record.events.is_empty() {
            self.events.insert(record.id, record.events.clone());
        }
        self.wishes.insert(wish, *record);
    }

    pub(crate) fn forget_events(&mut self, download: TransferId, up_to: u64) {
        if let Some(events) = self.events.get_mut(&download) {
            events.retain(|event| event.id > up_to);
        }
    }

    /// The events of downloads and wishes that are forgotten.
    pub(crate) fn events_alone(&self) -> Vec<(TransferId, Vec<Rc<EventRow>>)> {
        let has_record = |id| self.downloads.contains_key(id) || self.wishes.contains_key(id);
        let alone = self.events.iter().filter(|(id, _)| !has_record(id));
        alone.map(|(download, events)| (*download, events.clone())).collect()
    }

    /// What a scan finds.
    pub(crate) fn scanned(&self) -> Vec<ScannedFile> {
        self.share.keys().filter_map(|name| self.scanned_file(name)).collect()
    }

    /// What a look at one name finds.
    pub(crate) fn scanned_file(&self, name: &FileName) -> Option<ScannedFile> {
        let content = *self.share.get(name)?;
        let executable = self.shared_tree.executable.contains(name);
        Some(ScannedFile { name: name.clone(), meta: meta(content, executable), executable })
    }

    /// The content of a file, if it is still the one that was scanned.
    pub(crate) fn unchanged(&self, file: &ScannedFile) -> Result<Content, DiskFault> {
        let found = self.scanned_file(&file.name).ok_or(DiskFault::Missing)?;
        let content = Content { id: found.meta.inode, size: found.meta.size };
        if found == *file { Ok(content) } else { Err(DiskFault::Changed) }
    }

    /// Whether a finished download has this content.
    pub(crate) fn has_finished(&self, content: Content) -> bool {
        self.finished.values().any(|finished| finished.same_as(content))
    }

    /// The file with its journal of an open part.
    pub(crate) fn file_of(&mut self, download: TransferId) -> Option<&mut PartFile> {
        let key = &self.parts.get(&download)?.key;
        self.files.get_mut(key)
    }

    /// The path that a target would have now, and whether this content is there already.
    pub(crate) fn place(&self, target: &Target, content: Option<ContentHash>) -> Result<Place, DiskFault> {
        let at = |path: PathBuf| match self.finished.get(&path) {
            None if self.saved_tree.directories.contains(&path) => None,
            None => Some(Place::Free(path)),
            Some(there) if Some(there.b3()) == content => Some(Place::Taken(path)),
            Some(_) => None,
        };
        match target {
            Target::Suggested { directory, name } => {
                let candidates = std::iter::once(0).chain(1..1_000).map(|n| numbered(directory, name, n));
                candidates.into_iter().find_map(at).ok_or(DiskFault::Exists)
            }
            Target::Exact { path, .. } => at(path.clone()).ok_or(DiskFault::Exists),
            Target::Within { directory, path, .. } => {
                let path = directory.join(path.to_string());
                let is_file = |above: &Path| above != path && self.finished.contains_key(above);
                if path.ancestors().any(is_file) {
                    return Err(DiskFault::NotDirectory);
                }
                at(path).ok_or(DiskFault::Exists)
            }
        }
    }

    /// A group of each part file is not any more what was written.
    pub(crate) fn rot(&mut self) {
        let rotten = |content: &mut Content| *content = content.spoilt();
        self.files.values_mut().filter_map(|file| file.journal.values_mut().next()).for_each(rotten);
    }

    /// What survives the process: all but what it had open. What was ordered may have been carried out or not, wholly or in
    /// part; the node was told neither.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        for part in std::mem::take(&mut self.parts).into_values() {
            let is_carried_out = random.chance(500);
            match part.stage {
                Stage::Opening if is_carried_out && self.fault.is_none() => drop(self.open_at(&part)),
                Stage::Committing if is_carried_out && self.fault.is_none() => drop(self.name_part(&part)),
                _ => {}
            }
            if part.fate == Fate::Remove {
                self.remove_part(&part.key, &part.target);
            }
        }
        for making in std::mem::take(&mut self.making) {
            let made = if self.fault.is_none() { random.below(making.paths.len() as u64 + 1) as usize } else { 0 };
            for path in &making.paths[..made] {
                self.make_directory(&making.directory, path);
            }
        }
    }

    /// The machine went with the process.
    pub(crate) fn lose_power(&mut self, random: &mut Random) {
        self.files.values_mut().for_each(|file| file.lose_power(random));
    }
}

/// What tells the part file of a spec from others.
pub(crate) fn part_key(spec: &PartSpec) -> PartKey {
    match &spec.target {
        Target::Suggested { directory, name } => (numbered(directory, name, 0), spec.token),
        Target::Exact { path, .. } => (path.clone(), spec.token),
        Target::Within { directory, path, .. } => (directory.join(path.to_string()), spec.token),
    }
}

/// Size and identity of a file of this content: another content is another file. A change of the mode changes the ctime.
fn meta(content: Content, executable: bool) -> FileMeta {
    let ctime_ns = 1 + i64::from(executable);
    FileMeta { size: content.size, mtime_ns: 1, ctime_ns, inode: content.id, device: 1 }
}

/// `name (1).ext`, or the name itself for 0.
fn numbered(directory: &Path, name: &FileName, n: u32) -> PathBuf {
    let plain = String::from_utf8_lossy(name.as_bytes()).into_owned();
    let (stem, extension) = match plain.rfind('.').filter(|&at| at > 0) {
        Some(at) => plain.split_at(at),
        None => (plain.as_str(), ""),
    };
    directory.join(if n == 0 { plain.clone() } else { format!("{stem} ({n}){extension}") })
}
