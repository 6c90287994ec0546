//! The manifests of shared directories (PROTOCOL, part 2, Directories): made when a peer asks for one, a slice at a time, and
//! kept within a number of bytes.

use super::ShareMachine;
use crate::content::{EntryKind, ManifestFault, ManifestWriter, WrittenManifest};
use crate::fault::Refusal;
use crate::library::Library;
use crate::name::FileName;
use crate::node::cx::{Cx, Step};
use crate::node::limits::{MANIFEST_ENTRIES_PER_SLICE, MANIFESTS_BYTES_MAX};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Manifests {
    made: BTreeMap<FileName, Made>,
    /// Of all that are made.
    bytes: usize,
    /// How often one was looked up.
    lookups: u64,
    /// Those that are asked for, and who asked first.
    queue: VecDeque<(FileName, SocketAddr)>,
    writing: Option<Writing>,
}

struct Made {
    /// [`Library::changes`] when it was begun.
    changes: u64,
    looked_up: u64,
    manifest: Rc<WrittenManifest>,
}

struct Writing {
    /// Ends in `/`.
    name: FileName,
    asked_by: SocketAddr,
    changes: u64,
    writer: ManifestWriter,
    /// The last path that was written; at first the name of the directory, which is before all that is beneath it.
    after: Vec<u8>,
}

/// What is beneath a directory, in order.
struct Next<'a> {
    path: &'a [u8],
    /// [`Refusal::NotHashed`] for a file whose hash is not known.
    kind: Result<EntryKind, Refusal>,
}

impl Manifests {
    fn look_up(&mut self, name: &FileName, changes: Option<u64>) -> Option<Rc<WrittenManifest>> {
        let made = self.made.get_mut(name).filter(|made| changes.is_none_or(|changes| changes == made.changes))?;
        self.lookups += 1;
        made.looked_up = self.lookups;
        Some(Rc::clone(&made.manifest))
    }

    /// Keeps a manifest. Those that were not looked up for longest give way.
    fn keep(&mut self, name: FileName, changes: u64, manifest: WrittenManifest) {
        self.forget(&name);
        self.lookups += 1;
        self.bytes += manifest.text.len();
        self.made.insert(name, Made { changes, looked_up: self.lookups, manifest: Rc::new(manifest) });
        while self.bytes > MANIFESTS_BYTES_MAX
            && let Some((oldest, _)) = self.made.iter().min_by_key(|(_, made)| made.looked_up)
        {
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, name: &FileName) {
        if let Some(made) = self.made.remove(name) {
            self.bytes -= made.manifest.text.len();
        }
    }

    pub(super) fn check_invariants(&self) {
        let bytes: usize = self.made.values().map(|made| made.manifest.text.len()).sum();
        assert_eq!(bytes, self.bytes, "the bytes of manifests are counted");
        assert!(bytes <= MANIFESTS_BYTES_MAX, "the manifests are bounded");
    }
}

impl ShareMachine {
    /// The manifest of a directory as it is now, if it is made.
    pub(in crate::node) fn manifest(&mut self, name: &FileName) -> Option<Rc<WrittenManifest>> {
        let changes = self.library.changes();
        self.manifests.look_up(name, Some(changes))
    }

    /// The manifest of a directory that was told last, though the share may have changed: whoever asked for its hash gets what
    /// has that hash.
    pub(in crate::node) fn manifest_as_told(&mut self, name: &FileName) -> Option<Rc<WrittenManifest>> {
        self.manifests.look_up(name, None)
    }

    /// Has the manifest of a directory made; [`Step::ManifestMade`] follows.
    ///
    /// # Errors
    /// If nothing is shared under this name.
    pub(in crate::node) fn make_manifest(&mut self, name: &FileName, asked_by: SocketAddr) -> Result<(), Refusal> {
        if !shares_directory(&self.library, name.as_bytes()) {
            return Err(Refusal::NoSuchFile);
        }
        let is_asked = self.manifests.queue.iter().any(|(asked, _)| asked == name)
            || self.manifests.writing.as_ref().is_some_and(|writing| writing.name == *name);
        if !is_asked {
            self.manifests.queue.push_back((name.clone(), asked_by));
        }
        Ok(())
    }

    pub(in crate::node) fn has_manifest_work(&self) -> bool {
        self.manifests.writing.is_some() || !self.manifests.queue.is_empty()
    }

    /// One slice.
    pub(in crate::node) fn work_on_manifests(&mut self, cx: &mut Cx) {
        let begin = |(name, asked_by): (FileName, SocketAddr)| Writing {
            after: name.as_bytes().to_vec(),
            changes: self.library.changes(),
            writer: ManifestWriter::default(),
            name,
            asked_by,
        };
        let writing = self.manifests.writing.take().or_else(|| self.manifests.queue.pop_front().map(begin));
        let Some(mut writing) = writing else { return };
        let outcome = match writing.step(&self.library) {
            Ok(true) => {
                self.manifests.writing = Some(writing);
                return;
            }
            Ok(false) => {
                let Writing { name, changes, writer, .. } = writing;
                self.manifests.keep(name.clone(), changes, writer.finish());
                (name, Ok(()))
            }
            Err(refusal) => {
                let Writing { name, asked_by, after, .. } = writing;
                if refusal == Refusal::NotHashed
                    && let Some(file) = FileName::from_bytes(&after)
                {
                    self.hash_soon(asked_by, file);
                }
                (name, Err(refusal))
            }
        };
        let (name, outcome) = outcome;
        cx.out.then(Step::ManifestMade { name, outcome });
    }
}

impl Writing {
    /// Says whether there is more. After a refusal `after` is the path that it is due to.
    fn step(&mut self, library: &Library) -> Result<bool, Refusal> {
        let Self { name, writer, after, .. } = self;
        let prefix = name.as_bytes();
        let mut last: Option<&[u8]> = None;
        let mut outcome = Ok(false);
        for (at, Next { path, kind }) in beneath(library, prefix, after).enumerate() {
            if at == MANIFEST_ENTRIES_PER_SLICE {
                outcome = Ok(true);
                break;
            }
            last = Some(path);
            let pushed = kind.and_then(|kind| writer.push(&path[prefix.len()..], kind).map_err(refusal_of));
            if let Err(refusal) = pushed {
                outcome = Err(refusal);
                break;
            }
        }
        let last = last.map(<[u8]>::to_vec);
        *after = last.unwrap_or_else(|| std::mem::take(after));
        outcome
    }
}

/// The files and empty directories beneath a directory after a path, in the order of their paths.
fn beneath<'a>(library: &'a Library, prefix: &'a [u8], after: &'a [u8]) -> impl Iterator<Item = Next<'a>> {
    let is_beneath = |path: &[u8]| path.starts_with(prefix);
    let files = library.files_after(after).take_while(move |(path, _)| is_beneath(path)).map(|(path, file)| Next {
        path,
        kind: file.b3.ok_or(Refusal::NotHashed).map(|b3| EntryKind::File {
            size: file.meta.size,
            b3,
            executable: file.executable,
        }),
    });
    let empty = library.empty_after(after).iter().map(FileName::as_bytes).take_while(move |path| is_beneath(path));
    let empty = empty.map(|path| Next { path, kind: Ok(EntryKind::EmptyDirectory) });
    let (mut files, mut empty) = (files.peekable(), empty.peekable());
    std::iter::from_fn(move || match (files.peek(), empty.peek()) {
        (Some(file), Some(directory)) if directory.path < file.path => empty.next(),
        (Some(_), _) => files.next(),
        (None, _) => empty.next(),
    })
}

/// Whether something is shared beneath a directory, or the directory itself is shared without anything in it.
fn shares_directory(library: &Library, prefix: &[u8]) -> bool {
    let own = prefix.strip_suffix(b"/").unwrap_or(prefix);
    let is_empty = library.empty_after(b"").binary_search_by(|name| name.as_bytes().cmp(own)).is_ok();
    is_empty || beneath(library, prefix, prefix).next().is_some()
}

fn refusal_of(fault: ManifestFault) -> Refusal {
    match fault {
        // A scan or a change of the library between two slices: a file became a directory, or the other way round.
        ManifestFault::Line { .. } => Refusal::BeingWritten,
        _ => Refusal::TooLarge,
    }
}
