//! The members of a directory: made of the files of a list, and released when the directory is over. Both are done in slices.

use super::plan::Planned;
use super::state::{Directory, Stage};
use super::tally::{Doing, Tally};
use crate::control::Problem;
use crate::id::TransferId;
use crate::node::contract::{Action, PartSpec, Target};
use crate::node::cx::Cx;
use crate::node::download::DownloadMachine;
use crate::node::download::part::PartFile;
use crate::node::download::source::Source;
use crate::node::download::state::{Download, Life, Want};
use crate::node::limits::{DIRECTORIES_MAX, DOWNLOADS_MAX, ORDER_DOWNLOADS_PER_SLICE};
use crate::node::network::Net;
use std::rc::Rc;

impl DownloadMachine {
    pub(in crate::node) fn has_directory_work(&self) -> bool {
        self.directories.has_work()
    }

    /// One slice of the work on directories.
    pub(in crate::node) fn work_on_directories(&mut self, net: &mut Net) {
        let Some(id) = self.directories.at_work.pop_first() else { return };
        let Some(directory) = self.directories.get(id) else { return };
        let goes_on = match directory.stage() {
            Stage::Planning { .. } => self.plan_manifest(net, id),
            Stage::Adding(_) => self.add_members(net, id),
            _ if directory.has_members_fetched() => self.offer_trees(net, id),
            Stage::Done(_) => self.release_members(net.cx, id),
            _ => false,
        };
        if goes_on {
            self.directories.at_work.insert(id);
        }
        self.start_downloads(net.cx);
    }

    /// Says whether there are more to be added.
    fn add_members(&mut self, net: &mut Net, id: TransferId) -> bool {
        for _ in 0..ORDER_DOWNLOADS_PER_SLICE {
            let Some(next) = self.directories.get_mut(id).and_then(|row| row.adding_mut()?.pop()) else {
                if !self.make_directories(net, id) {
                    self.on_members_added(net.cx, id);
                }
                return false;
            };
            if !self.downloads.has_room(1) {
                let (files, room) = (self.directories.get(id).map_or(1, |row| row.members.len() + 1), 0);
                self.fail_or_wait(net, id, Problem::DirectoryTooLarge { files, max: DOWNLOADS_MAX, room });
                return false;
            }
            if !self.add_member(net, id, next) {
                self.fail_or_wait(net, id, Problem::NoIdLeft);
                return false;
            }
        }
        true
    }

    fn add_member(&mut self, net: &mut Net, id: TransferId, file: Planned) -> bool {
        let Some(directory) = self.directories.get_mut(id) else { return true };
        let (peer, base, is_fixed) = (directory.peer, directory.base.clone(), directory.wanted.is_some());
        let token = (net.cx.rng.number() >> 32) as u32;
        let spec = PartSpec {
            target: Target::Within { directory: base, path: file.path, executable: file.executable },
            token,
            filesystem: None,
        };
        let want = match (file.b3, peer) {
            (None, _) => Want::Name,
            // The peer is asked for names: what it says of their contents holds until it says otherwise.
            (Some(b3), Some(from)) if !is_fixed => Want::NamedContent { b3, from },
            // The hash of the manifest was given, whatever becomes of the files of the peer.
            (Some(b3), _) => Want::Content(b3),
        };
        let source = |peer| Source::new(peer, Rc::new(file.name.clone()), file.size);
        let sources = peer.into_iter().map(source).collect();
        let mut download = Download::new(file.name.clone(), spec, want, file.size, sources);
        download.directory = Some(id);
        directory.tally.add(&Tally::of(download.life()));
        let inserted = self.insert_download(net, download);
        let Some(directory) = self.directories.get_mut(id) else { return true };
        match inserted {
            Some(member) => drop(directory.members.insert(file.name, member)),
            None => directory.tally.remove(&Tally::of(&Life::Queued { waited: None })),
        }
        inserted.is_some()
    }

    /// All files of the list are members. Those that were refused are tried again.
    pub(super) fn on_members_added(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.is_listed = true;
        directory.pending.lacking = directory.attempt.lacking;
        directory.name_others();
        directory.trees.begin_again();
        let members: Vec<TransferId> = directory.members.values().copied().collect();
        self.remember_directory(cx, id);
        self.set_stage(cx, id, Stage::Fetching);
        for member in members {
            let is_refused = |row: &Download| Doing::of(row.life()) == Doing::Refused;
            if self.downloads.get(member).is_some_and(is_refused) {
                self.retry_download(cx, member);
            }
        }
    }

    /// Forgets the members of a directory that is done. Says whether there are more.
    fn release_members(&mut self, cx: &mut Cx, id: TransferId) -> bool {
        for _ in 0..ORDER_DOWNLOADS_PER_SLICE {
            let Some(directory) = self.directories.get_mut(id) else { return false };
            let Some((_, member)) = directory.members.pop_first() else { return false };
            self.release_member(cx, id, member);
        }
        true
    }

    /// A directory was cancelled: a member of it that is over, and whose end is on the disk, is not needed any more. When all
    /// are, the directory need not be remembered either.
    pub(in crate::node::download) fn release_cancelled(&mut self, cx: &mut Cx, member: TransferId) {
        let Some(row) = self.downloads.get(member) else { return };
        let Some(id) = row.directory else { return };
        let is_settled = row.life().is_over()
            && matches!(row.part(), PartFile::Absent)
            && row.recorded.durable >= row.recorded.revision;
        let name = row.name.clone();
        let Some(directory) = self.directories.get_mut(id) else { return };
        if is_settled && matches!(directory.stage(), Stage::Cancelled(_)) {
            directory.members.remove(&name);
            self.release_member(cx, id, member);
            self.directories.mark_dirty(id);
        }
    }

    /// Takes a member that is over out of the table.
    fn release_member(&mut self, cx: &mut Cx, id: TransferId, member: TransferId) {
        let Some(row) = self.downloads.take_member(member) else { return };
        if let Some(directory) = self.directories.get_mut(id) {
            directory.tally.remove(&Tally::of(row.life()));
        }
        if matches!(row.part(), PartFile::Kept(_)) {
            cx.out.act(Action::DropPart { download: member, spec: row.spec.clone() });
        }
        if !matches!(row.life(), Life::Cancelled { .. }) {
            cx.out.act(Action::ForgetDownload { download: member });
        }
    }

    /// Makes room for a directory in place of the oldest that is over, and of which nobody works on a part file.
    pub(super) fn make_room_for_directory(&mut self, cx: &mut Cx) -> Result<(), Problem> {
        if !self.directories.is_full() {
            return Ok(());
        }
        let rests = |member: &TransferId| {
            self.downloads.get(*member).is_none_or(|row| row.life().is_over() && !row.part().is_busy())
        };
        let may_go = |row: &Directory| row.is_over() && row.members.values().all(rests);
        let first = self.directories.iter().find(|(_, row)| may_go(row)).map(|(id, _)| id);
        let id = first.ok_or(Problem::TooManyDirectories(DIRECTORIES_MAX))?;
        self.forget_directory(cx, id);
        Ok(())
    }

    /// Whether nothing but its files would be left of a directory.
    pub(in crate::node::download) fn directory_may_be_forgotten(&self, id: TransferId) -> bool {
        self.directories.get(id).is_some_and(|row| row.is_over() && row.members.is_empty())
    }

    /// Why a directory may not be forgotten, if it may not.
    pub(in crate::node::download) fn why_directory_stays(&self, id: TransferId) -> Option<Problem> {
        let directory = self.directories.get(id)?;
        let id = id.0;
        match directory.stage() {
            _ if !directory.is_over() => Some(Problem::NotOver { id, state: directory.state() }),
            _ if directory.members.is_empty() => None,
            Stage::Failed { .. } => Some(Problem::KeepsData { id }),
            _ => Some(Problem::StillEnding { id }),
        }
    }

    /// Has the next run not know a directory.
    pub(super) fn forget_directory_record(&mut self, cx: &mut Cx, id: TransferId) {
        if self.directory_may_be_forgotten(id) {
            // Its revision tells when the removal of the record is on the disk.
            self.remember_directory(cx, id);
            cx.out.act(Action::ForgetDownload { download: id });
            self.drop_kept_manifest(cx, id);
        }
    }

    /// Takes the directories of which no record is left out of the table. The problem is that of one whose record may be there.
    pub(in crate::node::download) fn remove_forgotten_directories(
        &mut self,
        ids: &[TransferId],
    ) -> (Vec<TransferId>, Option<Problem>) {
        let ids = ids.iter().copied().filter(|id| self.directory_may_be_forgotten(*id));
        let (gone, kept): (Vec<_>, Vec<_>) = ids.partition(|id| {
            self.directories.recorded(*id).is_some_and(|recorded| recorded.durable >= recorded.revision)
        });
        gone.iter().for_each(|id| drop(self.directories.remove(*id)));
        let problem = kept.iter().find_map(|id| self.directories.recorded(*id)?.problem.clone());
        (gone, problem)
    }

    fn forget_directory(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get(id) else { return };
        let members: Vec<TransferId> = directory.members.values().copied().collect();
        // The others are forgotten already.
        if matches!(directory.stage(), Stage::Failed { .. }) {
            cx.out.act(Action::ForgetDownload { download: id });
            self.drop_kept_manifest(cx, id);
        }
        for member in members {
            self.release_member(cx, id, member);
        }
        self.directories.remove(id);
    }
}
