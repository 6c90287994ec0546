//! Contents that the own share has already: the part file becomes a copy of that file, as a reflink where the filesystem can, and
//! the check that follows reads all of it. Nothing is fetched unless the copy fails, or the file is not what its hash says.

use super::DownloadMachine;
use super::part::{Known, PartFile};
use super::state::Life;
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::library::ScannedFile;
use crate::node::contract::Action;
use crate::node::cx::{Cx, Step};

impl DownloadMachine {
    /// The content of a download by name is known now: it may be at its final place, or in the own share.
    pub(super) fn look_for_learnt_content(&mut self, cx: &mut Cx, id: TransferId) {
        match self.downloads.get(id) {
            // The part file was opened beside a file of its name, whose content could not be compared then. `find_own` follows.
            Some(download) if download.is_beside_its_name() => self.restart_part(cx, id),
            _ => self.find_own(cx, id),
        }
    }

    /// Has the own share searched for the content of a download of which nothing is there yet. [`DownloadMachine::copy_own`]
    /// follows if the share has it.
    pub(super) fn find_own(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.copied_from = None;
        let has_groups = download.part().known().is_some_and(Known::has_groups);
        if let Some(b3) = download.want.b3()
            && !has_groups
            && !download.copy_failed
        {
            cx.out.then(Step::FindOwn { download: id, b3 });
        }
    }

    /// The own share has the content of a download: it is copied, and the copy checked.
    pub(in crate::node) fn copy_own(&mut self, cx: &mut Cx, id: TransferId, original: ScannedFile) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if !cx.is_running() || !matches!(download.life(), Life::Active) {
            return;
        }
        let Some(open) = download.open() else { return };
        if open.known.content().is_some() {
            // Only a part file without an outline becomes a copy. `find_own` follows when that is open.
            return self.restart_part(cx, id);
        }
        log::info!(id = id.0, original:% = original.name; "the content of a download is copied from the share");
        let streamed = original.meta.size;
        download.claimed_size = Some(streamed);
        download.copied_from = Some(original.name.clone());
        self.stop_fetching(cx, id);
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.change_part(cx.now, id, |_| PartFile::Checking { known: Known::Nothing { streamed }, streamer: None });
        cx.out.act(Action::CheckPart { download: id, original: Some(Box::new(original)) });
        self.tell_download(cx, id);
    }

    /// What was checked was a copy, and is of no use: the content comes from its sources. False if it was no copy, or the node
    /// leaves. `fault`: why the copy could not be made.
    pub(super) fn give_up_copy(&mut self, cx: &mut Cx, id: TransferId, fault: Option<DiskFault>) -> bool {
        let Some(download) = self.downloads.get_mut(id) else { return false };
        let Some(original) = download.copied_from.take() else { return false };
        if let Some(open) = download.open_mut() {
            open.known = Known::default();
        }
        if !cx.is_running() {
            // The next run tries again.
            return false;
        }
        download.copy_failed = true;
        match fault {
            Some(fault) => {
                log::info!(id = id.0, original:%, fault:%; "a shared file could not be copied; its content is fetched")
            }
            None => {
                log::info!(id = id.0, original:%; "a shared file is not what its hash says; the content is fetched")
            }
        }
        self.fetch_again(cx, id);
        true
    }
}
