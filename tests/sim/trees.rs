//! Directories on a simulated disk: those of the share, with the modes of its files, and those beneath which downloads are
//! saved. Each directory that is made is synced before the next one.

use crate::content::Content;
use crate::disk::{Disk, OpenPart, PartFile, PartKey, Place};
use crate::host::HostId;
use crate::world::{Occurrence, World};
use pyrate::fault::DiskFault;
use pyrate::id::TransferId;
use pyrate::name::FileName;
use pyrate::node::contract::{CommittedPart, Event, OpenedPart, PartSpec, Target};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What an order to make directories may name, as the node promises.
const MADE_AT_ONCE_MAX: usize = 64;

/// What is known of a share beside its files.
#[derive(Debug, Default)]
pub(crate) struct SharedTree {
    /// All directories.
    pub(crate) directories: BTreeSet<FileName>,
    /// The files that their owner may execute.
    pub(crate) executable: BTreeSet<FileName>,
    /// What was ever an empty directory.
    pub(crate) empty_ever: BTreeSet<FileName>,
}

/// What lies beneath the directory of downloads beside finished files.
#[derive(Debug, Default)]
pub(crate) struct SavedTree {
    pub(crate) directories: BTreeSet<PathBuf>,
    /// The finished files that their owner may execute.
    pub(crate) executable: BTreeSet<PathBuf>,
}

/// An order to make directories.
#[derive(Debug, Clone)]
pub(crate) struct MakingDirectories {
    pub(crate) download: TransferId,
    /// Where downloads go.
    pub(crate) directory: PathBuf,
    pub(crate) paths: Vec<FileName>,
}

impl SharedTree {
    /// Makes the directories above a file.
    pub(crate) fn make_above(&mut self, name: &FileName) {
        let bytes = name.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        self.directories.extend(ends.filter_map(|end| FileName::from_bytes(&bytes[..end])));
    }
}

impl Disk {
    /// Puts a file into the share that its owner may execute.
    pub(crate) fn share_executable(&mut self, name: &str, content: Content) {
        self.share(name, content);
        self.shared_tree.executable.extend(FileName::from_bytes(name.as_bytes()));
    }

    /// Makes a directory in the share.
    pub(crate) fn share_directory(&mut self, name: &str) {
        let name = FileName::from_bytes(name.as_bytes()).unwrap();
        self.shared_tree.make_above(&name);
        self.shared_tree.directories.insert(name);
    }

    /// What a scan finds of directories in which nothing is.
    pub(crate) fn empty_directories(&mut self) -> Vec<FileName> {
        let SharedTree { directories, empty_ever, .. } = &mut self.shared_tree;
        let is_empty = |directory: &&FileName| {
            let beneath = [directory.as_bytes(), b"/"].concat();
            let is_beneath = |name: &FileName| name.as_bytes().starts_with(&beneath);
            !self.share.keys().any(is_beneath) && !directories.iter().any(is_beneath)
        };
        let empty: Vec<FileName> = directories.iter().filter(is_empty).cloned().collect();
        empty_ever.extend(empty.iter().cloned());
        empty
    }

    /// Makes a directory where downloads go, and those above it. False if something else is in the way.
    pub(crate) fn make_directory(&mut self, base: &Path, path: &FileName) -> bool {
        let mut directory = base.to_path_buf();
        for part in path.to_string().split('/') {
            directory.push(part);
            if self.finished.contains_key(&directory) {
                return false;
            }
            self.saved_tree.directories.insert(directory.clone());
        }
        true
    }

    fn make_above(&mut self, target: &Target) {
        if let Target::Within { directory, path, .. } = target
            && let Some((above, _)) = path.to_string().rsplit_once('/')
        {
            let above = FileName::from_bytes(above.as_bytes()).unwrap();
            self.make_directory(directory, &above);
        }
    }

    /// Creates a part file, or takes it up, with the directories on the way to it.
    pub(crate) fn open_at(&mut self, part: &OpenPart) -> Result<OpenedPart, DiskFault> {
        let wanted = part.b3.zip(part.size);
        match self.place(&part.target, wanted.map(|(b3, _)| b3))? {
            Place::Taken(path) => {
                self.files.remove(&part.key);
                Ok(OpenedPart::AlreadyThere { path })
            }
            Place::Free(path) => {
                self.make_above(&part.target);
                let file = self.files.entry(part.key.clone()).or_default();
                // What is there of another content is started again; a stream of unknown content may be any.
                if file.outline.is_some_and(|outline| Some(outline.b3) != part.b3) {
                    *file = PartFile::default();
                }
                Ok(OpenedPart::Ready { path, resumed: file.verified(), filesystem: None })
            }
        }
    }

    /// Gives a part file its final name, unless the same content is there.
    pub(crate) fn name_part(&mut self, part: &OpenPart) -> Result<CommittedPart, DiskFault> {
        let content = self.files.get(&part.key).map_or(Content { id: 0, size: 0 }, PartFile::content);
        match self.place(&part.target, Some(content.b3()))? {
            Place::Taken(path) => {
                self.files.remove(&part.key);
                Ok(CommittedPart { path, already: true })
            }
            Place::Free(path) => {
                self.files.remove(&part.key);
                assert_eq!(self.finished.insert(path.clone(), content), None, "nothing is replaced");
                if matches!(part.target, Target::Within { executable: true, .. }) {
                    self.saved_tree.executable.insert(path.clone());
                }
                Ok(CommittedPart { path, already: false })
            }
        }
    }

    /// Removes a part file, and the directories on the way to it that are empty then.
    pub(crate) fn remove_part(&mut self, key: &PartKey, target: &Target) {
        let was_there = self.files.remove(key).is_some();
        let Target::Within { directory: base, .. } = target else { return };
        for above in key.0.ancestors().skip(1).take_while(|above| *above != base && was_there) {
            let is_beneath = |path: &PathBuf| path != above && path.starts_with(above);
            let holds = self.finished.keys().any(is_beneath)
                || self.saved_tree.directories.iter().any(is_beneath)
                || self.files.keys().any(|(path, _)| is_beneath(path));
            if holds {
                break;
            }
            self.saved_tree.directories.remove(above);
        }
    }
}

impl World {
    /// Puts a tree into a share: files, executable ones, and empty directories; and has the node look at once if it runs.
    pub(crate) fn share_tree(
        &mut self,
        id: HostId,
        files: &[(&str, Content)],
        executable: &[(&str, Content)],
        empty: &[&str],
    ) {
        let disk = &mut self.hosts[id.0].disk;
        files.iter().for_each(|(name, content)| disk.share(name, *content));
        executable.iter().for_each(|(name, content)| disk.share_executable(name, *content));
        empty.iter().for_each(|name| disk.share_directory(name));
        if self.hosts[id.0].up {
            self.ask(id, pyrate::control::Request::Rescan).unwrap();
        }
    }

    pub(crate) fn make_directories(
        &mut self,
        host: HostId,
        download: TransferId,
        spec: PartSpec,
        paths: Vec<FileName>,
    ) {
        self.watch_directories_to_make(host, download, &spec, &paths);
        if paths.is_empty() || paths.len() > MADE_AT_ONCE_MAX {
            self.violation(host, &format!("{} directories are to be made at once", paths.len()));
        }
        let Target::Within { directory, .. } = spec.target else {
            self.violation(host, "directories are to be made for a file")
        };
        self.hosts[host.0].disk.making.push(MakingDirectories { download, directory, paths });
        let (span, epoch) = (1 + self.random.below(50), self.hosts[host.0].epoch);
        self.plan(span, Occurrence::DirectoriesMade(host, epoch, download));
    }

    pub(crate) fn directories_made(&mut self, host: HostId, download: TransferId) {
        let disk = &mut self.hosts[host.0].disk;
        let Some(at) = disk.making.iter().position(|making| making.download == download) else { return };
        let MakingDirectories { directory, paths, .. } = disk.making.remove(at);
        let outcome = match disk.fault {
            Some(fault) => Err(fault),
            None => Ok(paths.into_iter().filter(|path| !disk.make_directory(&directory, path)).collect()),
        };
        self.deliver(host, Event::DirectoriesMade { download, outcome });
    }

    pub(crate) fn probe_target(&mut self, host: HostId, download: TransferId, spec: PartSpec) {
        let epoch = self.hosts[host.0].epoch;
        self.plan(1, Occurrence::TargetProbed(host, epoch, download, Box::new(spec)));
    }

    pub(crate) fn target_probed(&mut self, host: HostId, download: TransferId, spec: &PartSpec) {
        let disk = &self.hosts[host.0].disk;
        let outcome = match (disk.fault, &spec.target) {
            (Some(fault), _) => Err(fault),
            (None, Target::Within { directory, path, .. }) => {
                let path = directory.join(path.to_string());
                if disk.finished.contains_key(&path) { Err(DiskFault::Exists) } else { Ok(path) }
            }
            (None, target) => disk.place(target, None).map(|place| match place {
                Place::Free(path) | Place::Taken(path) => path,
            }),
        };
        self.deliver(host, Event::TargetProbed { download, outcome });
    }
}
