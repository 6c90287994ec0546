//! The empty directories of a directory: made when all its files are members, some at a time.

use super::state::Stage;
use crate::control::Problem;
use crate::id::TransferId;
use crate::name::FileName;
use crate::node::contract::{Action, DiskOutcome};
use crate::node::download::DownloadMachine;
use crate::node::limits::DIRECTORIES_MADE_AT_ONCE;
use crate::node::network::Net;

impl DownloadMachine {
    /// Has the next ones made. Says whether there were any.
    pub(super) fn make_directories(&mut self, net: &mut Net, id: TransferId) -> bool {
        let Some(directory) = self.directories.get_mut(id) else { return false };
        let left = directory.to_make.len().saturating_sub(DIRECTORIES_MADE_AT_ONCE);
        let paths = directory.to_make.split_off(left);
        if paths.is_empty() {
            return false;
        }
        directory.making += 1;
        net.cx.out.act(Action::MakeDirectories { download: id, spec: directory.spec(), paths });
        if !matches!(directory.stage(), Stage::Making) {
            self.set_stage(net.cx, id, Stage::Making);
        }
        true
    }

    /// Directories were made, but for those that something else is in the way of.
    pub(in crate::node) fn on_directories_made(
        &mut self,
        net: &mut Net,
        id: TransferId,
        outcome: DiskOutcome<Vec<FileName>>,
    ) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.making = directory.making.saturating_sub(1);
        // Of an earlier round, that the user has stopped.
        if directory.making > 0 || !matches!(directory.stage(), Stage::Making) {
            return;
        }
        match outcome {
            Ok(in_the_way) => {
                in_the_way.into_iter().for_each(|path| directory.left_out.add(path));
                if !self.make_directories(net, id) {
                    self.on_members_added(net.cx, id);
                }
            }
            Err(fault) => {
                let place = directory.path();
                self.fail_or_wait(net, id, Problem::CannotSave { place, fault });
            }
        }
    }
}
