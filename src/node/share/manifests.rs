//! The manifests of shared directories (PROTOCOL, part 2, Directories): made when a peer asks for one, a slice at a time, and
//! kept within a number of bytes.

use super::ShareMachine;
use crate::audience::Requester;
use crate::content::{EntryKind, ManifestFault, ManifestWriter, WrittenManifest};
use crate::fault::Refusal;
use crate::library::View;
use crate::name::FileName;
use crate::node::cx::{Cx, Step};
use crate::node::fair_queue::Sender;
use crate::node::fair_rows::FairRows;
use crate::node::limits::{MANIFEST_ENTRIES_PER_SLICE, MANIFESTS_ASKED_MAX, MANIFESTS_BYTES_MAX};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// What a manifest takes beside its text and the bytes of its name.
const MADE_BYTES: usize = 200;

#[derive(Default)]
pub(super) struct Manifests {
    made: BTreeMap<FileName, Made>,
    /// Of all that are made.
    bytes: usize,
    /// How often one was looked up.
    lookups: u64,
    /// By the number of the last look-up of each.
    by_use: BTreeMap<u64, FileName>,
    /// Those that are asked for, by their first requesters.
    queue: FairRows<Asked>,
    writing: Option<Writing>,
}

struct Asked {
    name: FileName,
    by: SocketAddr,
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
        self.by_use.remove(&made.looked_up);
        self.by_use.insert(self.lookups, name.clone());
        made.looked_up = self.lookups;
        Some(Rc::clone(&made.manifest))
    }

    /// Keeps a manifest. Those that were not looked up for longest give way.
    fn keep(&mut self, name: FileName, changes: u64, manifest: WrittenManifest) {
        self.forget(&name);
        self.lookups += 1;
        self.bytes += bytes_of(&name, &manifest);
        self.by_use.insert(self.lookups, name.clone());
        self.made.insert(name, Made { changes, looked_up: self.lookups, manifest: Rc::new(manifest) });
        while self.bytes > MANIFESTS_BYTES_MAX
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, name: &FileName) {
        if let Some(made) = self.made.remove(name) {
            self.by_use.remove(&made.looked_up);
            self.bytes -= bytes_of(name, &made.manifest);
        }
    }

    /// Other directories than before may have these names: what was made of the old ones is dropped. What has not begun is made of
    /// the new ones.
    pub(super) fn forget_of(&mut self, cx: &mut Cx, is_replaced: impl Fn(&[u8]) -> bool) {
        let made: Vec<FileName> = self.made.keys().filter(|name| is_replaced(name.as_bytes())).cloned().collect();
        made.iter().for_each(|name| self.forget(name));
        if let Some(writing) = self.writing.take_if(|writing| is_replaced(writing.name.as_bytes())) {
            cx.out.then(Step::ManifestMade { name: writing.name, outcome: Err(Refusal::NoSuchFile) });
        }
    }

    pub(super) fn check_invariants(&self) {
        let bytes: usize = self.made.iter().map(|(name, made)| bytes_of(name, &made.manifest)).sum();
        assert_eq!(bytes, self.bytes, "the bytes of manifests are counted");
        assert_eq!(self.made.len(), self.by_use.len(), "each manifest has its last look-up");
        assert!(self.queue.len() <= MANIFESTS_ASKED_MAX, "the manifests asked for are bounded");
        self.queue.check_invariants();
        assert!(bytes <= MANIFESTS_BYTES_MAX, "the manifests are bounded");
    }
}

/// What a manifest takes, roughly.
fn bytes_of(name: &FileName, manifest: &WrittenManifest) -> usize {
    // The name is in two tables.
    MADE_BYTES + 2 * name.as_bytes().len() + manifest.text.len()
}

impl ShareMachine {
    /// Whether a directory has this name, which ends in no `/`.
    pub(in crate::node) fn has_directory(&self, requester: Requester, name: &FileName) -> bool {
        shares_directory(self.library.seen_by(requester), &[name.as_bytes(), b"/"].concat())
    }

    /// The manifest of a directory as it is now, if it is made and for this requester. All that is beneath a directory has one
    /// audience.
    pub(in crate::node) fn manifest(
        &mut self,
        requester: impl Into<Requester>,
        name: &FileName,
    ) -> Option<Rc<WrittenManifest>> {
        let changes = self.library.changes();
        self.look_up(requester.into(), name, Some(changes))
    }

    /// The manifest of a directory that was made last, though the share may have changed: whoever asked for its hash just before
    /// gets what has that hash.
    pub(in crate::node) fn manifest_as_told(
        &mut self,
        requester: impl Into<Requester>,
        name: &FileName,
    ) -> Option<Rc<WrittenManifest>> {
        self.look_up(requester.into(), name, None)
    }

    fn look_up(&mut self, requester: Requester, name: &FileName, changes: Option<u64>) -> Option<Rc<WrittenManifest>> {
        let is_seen = self.library.seen_by(requester).admits(name.as_bytes());
        if is_seen { self.manifests.look_up(name, changes) } else { None }
    }

    /// Has the manifest of a directory made; [`Step::ManifestMade`] follows.
    ///
    /// # Errors
    /// If nothing is shared under this name with the requester, or too many are asked for.
    pub(in crate::node) fn make_manifest(
        &mut self,
        cx: &mut Cx,
        requester: impl Into<Requester>,
        name: &FileName,
        asked_by: SocketAddr,
    ) -> Result<(), Refusal> {
        let view = self.library.seen_by(requester);
        if !shares_directory(view, name.as_bytes()) {
            let is_coming = view.admits(name.as_bytes()) && self.settling.count_beneath(name.as_bytes()) > 0;
            return Err(if is_coming { Refusal::BeingWritten } else { Refusal::NoSuchFile });
        }
        let Manifests { queue, writing, .. } = &mut self.manifests;
        let is_asked = queue.find(|asked| asked.name == *name).is_some()
            || writing.as_ref().is_some_and(|writing| writing.name == *name);
        if is_asked {
            return Ok(());
        }
        let asked = Asked { name: name.clone(), by: asked_by };
        match queue.push(Sender::own(asked_by), asked, MANIFESTS_ASKED_MAX, MANIFESTS_ASKED_MAX) {
            Some(dropped) if dropped.name == *name => Err(Refusal::Busy),
            Some(Asked { name, .. }) => {
                cx.out.then(Step::ManifestMade { name, outcome: Err(Refusal::Busy) });
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Nobody waits for the manifest of a directory any more: it is not begun.
    pub(in crate::node) fn withdraw_manifest(&mut self, name: &FileName) {
        let queue = &mut self.manifests.queue;
        if let Some(ticket) = queue.find(|asked| asked.name == *name) {
            queue.remove(ticket);
        }
    }

    pub(in crate::node) fn has_manifest_work(&self) -> bool {
        self.manifests.writing.is_some() || !self.manifests.queue.is_empty()
    }

    /// One slice.
    pub(in crate::node) fn work_on_manifests(&mut self, cx: &mut Cx) {
        let begin = |(_, Asked { name, by: asked_by }): (Sender, Asked)| Writing {
            after: name.as_bytes().to_vec(),
            changes: self.library.changes(),
            writer: ManifestWriter::default(),
            name,
            asked_by,
        };
        let writing = self.manifests.writing.take().or_else(|| self.manifests.queue.pop().map(begin));
        let Some(mut writing) = writing else { return };
        let outcome = match writing.step(self.library.seen_by(Requester::Owner)) {
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
    fn step(&mut self, view: View<'_>) -> Result<bool, Refusal> {
        let Self { name, writer, after, .. } = self;
        let prefix = name.as_bytes();
        let mut last: Option<&[u8]> = None;
        let mut outcome = Ok(false);
        for (at, Next { path, kind }) in beneath(view, prefix, after).enumerate() {
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
fn beneath<'a>(view: View<'a>, prefix: &'a [u8], after: &'a [u8]) -> impl Iterator<Item = Next<'a>> {
    let files =
        view.files_after(after).take_while(move |(path, _)| path.starts_with(prefix)).map(|(path, file)| Next {
            path,
            kind: file.b3.ok_or(Refusal::NotHashed).map(|b3| EntryKind::File {
                size: file.meta.size,
                b3,
                executable: file.executable,
            }),
        });
    let empty = view.empty_beneath(prefix, after).map(|path| Next { path, kind: Ok(EntryKind::EmptyDirectory) });
    let (mut files, mut empty) = (files.peekable(), empty.peekable());
    std::iter::from_fn(move || match (files.peek(), empty.peek()) {
        (Some(file), Some(directory)) if directory.path < file.path => empty.next(),
        (Some(_), _) => files.next(),
        (None, _) => empty.next(),
    })
}

/// Whether something is shared beneath a directory, or the directory itself is shared without anything in it.
fn shares_directory(view: View<'_>, prefix: &[u8]) -> bool {
    let own = prefix.strip_suffix(b"/").unwrap_or(prefix);
    view.is_empty_directory(own) || beneath(view, prefix, prefix).next().is_some()
}

fn refusal_of(fault: ManifestFault) -> Refusal {
    match fault {
        // A scan or a change of the library between two slices: a file became a directory, or the other way round.
        ManifestFault::Line { .. } => Refusal::BeingWritten,
        _ => Refusal::TooLarge,
    }
}
