//! What sources claim of the size of a content, and what follows when it does not hold.
//!
//! The hash proves chaining values and groups, and only the last group proves the size. A false size costs its claimer, and
//! nothing that is verified: an outline that contradicts a verified group is refused where the part file is
//! ([`PartFile::set_outline`](crate::store::PartFile::set_outline)), and is an outline that does not prove itself.

use super::DownloadMachine;
use super::names::Ask;
use super::source::{Source, Standing, Task};
use super::state::{Download, Want};
use crate::control::SourceFault;
use crate::id::TransferId;
use crate::node::cx::{Cx, Subject};
use crate::node::limits::SOURCE_REFUSALS_MAX;
use std::net::SocketAddr;
use std::rc::Rc;

impl DownloadMachine {
    /// A source sent what is not of the content that it says it has. As long as the size is a mere claim it may be the
    /// giver of the outline who has lied: then the last group fits nobody's file. Who was asked for that group alone has
    /// claimed the same size.
    pub(super) fn judge_corrupt(&mut self, cx: &mut Cx, id: TransferId, at: usize, task: &Task, why: SourceFault) {
        let Some(download) = self.downloads.get(id) else { return };
        let Some(source) = download.sources.get(at) else { return };
        let Some(content) = download.content() else {
            return self.condemn(cx, id, at, why);
        };
        let gave = content.giver == Some(source.addr);
        let last_alone = content.verified.held() + 1 == content.verified.count();
        if download.has_proved_size() || matches!(task, Task::Metadata) {
            self.condemn(cx, id, at, why);
        } else if gave {
            self.condemn(cx, id, at, why);
            self.distrust_outline(cx, id);
        } else if last_alone && task.left().is_none() {
            self.rest_source(cx, id, at, SourceFault::SizeOfAnother);
            self.distrust_outline(cx, id);
        } else {
            self.condemn(cx, id, at, why);
        }
    }

    /// A size that others claim of a source's file is not the one that it says itself. Wrong bytes prove nothing against it.
    pub(super) fn correct_size(&mut self, cx: &mut Cx, id: TransferId, at: usize, size: u64) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(source) = download.sources.get_mut(at) else { return };
        (source.size, source.changes) = (Some(size), source.changes.saturating_add(1));
        source.failures = source.failures.saturating_add(1);
        let addr = source.addr;
        if cx.may_log(Subject::ChangedSource, addr.ip(), 0) {
            log::info!(id = id.0, peer:% = addr, size; "a source says itself that its file has another size");
        }
        let gave = download.content().is_some_and(|content| content.giver == Some(addr));
        if gave {
            self.distrust_outline(cx, id);
        }
    }

    /// Whether another source that has failed no more often may give an outline.
    pub(super) fn may_outline_come_from_another(&self, id: TransferId, at: usize) -> bool {
        let Some(download) = self.downloads.get(id) else { return false };
        let Some(source) = download.sources.get(at) else { return false };
        let fits = |other: &Source| other.is_ready_for(Ask::Metadata) && other.failures <= source.failures;
        download.sources.iter().any(|other| other.addr != source.addr && fits(other))
    }

    /// What the giver of the outline said of the size is not to be believed.
    pub(super) fn distrust_outline(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(content) = download.open_mut().and_then(|open| open.known.content_mut()) else { return };
        let giver = content.giver.take();
        if content.verified.held() > 0 {
            // The groups that are there are proved by the hash, whatever the size.
            return;
        }
        if let Want::NamedContent { from, .. } = download.want {
            self.return_to_name(cx, id, from);
        }
        let Some(download) = self.downloads.get_mut(id) else { return };
        let believed = |source: &&Source| !matches!(source.standing, Standing::Corrupt) && Some(source.addr) != giver;
        download.claimed_size = download.sources.iter().filter(believed).find_map(|source| source.size);
        self.remember_download(cx, id);
        self.restart_part(cx, id);
    }

    /// What this source said of the name does not hold.
    fn return_to_name(&mut self, cx: &mut Cx, id: TransferId, from: SocketAddr) {
        // Nothing is under way from here on, so that places may change.
        self.stop_fetching(cx, id);
        self.downloads.change_sources(id, |download| {
            download.return_to_chosen();
            if download.sources.is_empty() {
                download.sources.push(Source::new(from, Rc::new(download.name.clone()), None));
            }
        });
    }
}

impl Download {
    /// Whether a source was asked for bytes of a size that somebody else has told, and says another itself. It may say so
    /// some times: its file may change.
    pub(super) fn says_another_size(&self, at: usize, size: u64) -> bool {
        let Some((content, source)) = self.content().zip(self.sources.get(at)) else { return false };
        let has_said = content.giver == Some(source.addr) && !content.is_told_by_others;
        !self.has_proved_size() && content.size() != size && !has_said && source.changes < SOURCE_REFUSALS_MAX
    }
}
