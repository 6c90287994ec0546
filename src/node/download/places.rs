//! The places that users name with `-o`: each is looked at as soon as its download begins, also where the download waits
//! in the queue. A bad one ends the download at once.

use super::DownloadMachine;
use super::state::{Download, NamedPlace};
use crate::control::Problem;
use crate::id::TransferId;
use crate::node::contract::{Action, DiskOutcome};
use crate::node::cx::Cx;
use std::path::PathBuf;

impl DownloadMachine {
    /// Has the place looked at that the user has named for a new download.
    pub(super) fn probe_target(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.named_place = NamedPlace::Probing;
        let (spec, b3, size) = (download.spec.clone(), download.want.b3(), download.size());
        cx.out.act(Action::ProbeTarget { download: id, spec, b3, size });
    }

    /// The user has a download tried again, whose place was bad.
    pub(super) fn probe_target_again(&mut self, cx: &mut Cx, id: TransferId) {
        if self.downloads.get(id).is_some_and(|row| row.named_place == NamedPlace::Bad) {
            self.probe_target(cx, id);
        }
    }

    /// A file can be made at the place, or cannot. An error that says nothing of the place is left to the part file, which
    /// meets it as well.
    pub(in crate::node) fn on_target_probed(&mut self, cx: &mut Cx, id: TransferId, outcome: DiskOutcome<PathBuf>) {
        let probing = |row: &&mut Download| row.named_place == NamedPlace::Probing && !row.life().is_over();
        let Some(download) = self.downloads.get_mut(id).filter(probing) else { return };
        match outcome {
            Ok(path) => {
                download.named_place = NamedPlace::Good;
                download.path.get_or_insert(path);
                self.tell_download(cx, id);
            }
            Err(fault) if fault.rules_out_path() => {
                download.named_place = NamedPlace::Bad;
                let place = download.place();
                self.fail_download(cx, id, Problem::CannotSave { place, fault });
            }
            Err(_) => {
                download.named_place = NamedPlace::Good;
                self.tell_download(cx, id);
            }
        }
    }
}
