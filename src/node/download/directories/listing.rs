//! The list of the peer, of which a directory is a part.

use super::plan::Plan;
use super::state::Stage;
use crate::control::Problem;
use crate::id::{ExchangeId, TransferId};
use crate::node::contract::{Action, DialOutcome, Dialled, Expect, Response};
use crate::node::cx::exchanges::Purpose;
use crate::node::download::DownloadMachine;
use crate::node::limits::{
    DIRECTORY_LIST_BYTES_MAX, DIRECTORY_RETRY_MAX, DIRECTORY_RETRY_MIN, DOWNLOADS_MAX, SOURCE_REST_MAX, SOURCE_REST_MIN,
};
use crate::node::network::Net;
use crate::node::speech::Evidence;
use crate::wire::{Listed, Message};

impl DownloadMachine {
    /// Asks the peer of a directory for its list.
    pub(super) fn ask_for_list(&mut self, net: &mut Net, id: TransferId) {
        let Some(directory) = self.directories.get(id) else { return };
        let Some(peer) = directory.peer else { return };
        let plan = Plan::new(directory.name.clone(), directory.root.clone(), directory.members.keys());
        // Base programs ignore what follows `5:`.
        let messages = vec![Message::ListFiles { p1: true }];
        match net.cx.dial_peer(peer, messages, Expect::FileList, Purpose::Directory(id)) {
            Ok(exchange) => self.set_stage(net.cx, id, Stage::Listing { exchange, plan }),
            Err(_) => self.wait_for_list(net, id, Problem::NoWorker),
        }
    }

    pub(in crate::node) fn on_directory_lines(
        &mut self,
        net: &mut Net,
        id: TransferId,
        exchange: ExchangeId,
        files: Vec<Listed>,
    ) {
        let room = self.downloads.room();
        let Some(directory) = self.directories.get_mut(id) else { return };
        let Some(peer) = directory.peer else { return };
        let Some(plan) = directory.plan_mut(exchange) else { return };
        let evidence = match files.iter().any(|file| file.attributes.is_some()) {
            true => Evidence::Attributes,
            false => Evidence::PlainList,
        };
        for file in files {
            plan.take(file, false);
        }
        let (files, names_bytes) = (plan.added(), plan.names_bytes());
        net.network.note_evidence(net.cx, peer, evidence);
        if files > room {
            net.cx.out.act(Action::Abort { exchange });
            let why = Problem::DirectoryTooLarge { files, max: DOWNLOADS_MAX, room };
            self.turn_to_next_peer(net, id, why, true);
        } else if names_bytes > DIRECTORY_LIST_BYTES_MAX {
            net.cx.out.act(Action::Abort { exchange });
            let why = Problem::DirectoryNamesTooLarge { max_mib: DIRECTORY_LIST_BYTES_MAX >> 20 };
            self.turn_to_next_peer(net, id, why, true);
        }
    }

    pub(super) fn on_directory_listed(
        &mut self,
        net: &mut Net,
        id: TransferId,
        exchange: ExchangeId,
        outcome: DialOutcome,
    ) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        let Some(peer) = directory.peer else { return };
        if directory.plan_mut(exchange).is_none() {
            return;
        }
        match outcome {
            Ok(Dialled { response: Response::FileList { truncated: false }, .. }) => {}
            Ok(_) => return self.turn_to_next_peer(net, id, Problem::ListCut { peer }, true),
            Err(fault) => return self.turn_to_next_peer(net, id, Problem::DirectoryNotListed { peer, fault }, false),
        }
        let Stage::Listing { plan, .. } = directory.replace_stage(Stage::Queued) else { return };
        directory.to_make.clear();
        if plan.is_empty() {
            let (name, may_come) = (directory.name.clone(), directory.attempt.lacking.lacks_manifest);
            return self.turn_to_next_peer(net, id, Problem::NothingBeneath { name, peer }, !may_come);
        }
        if !directory.is_listed || plan.added() > 0 {
            // A manifest that an earlier attempt was given says something else.
            directory.described = None;
        }
        if self.take_plan(net, id, plan) {
            self.directories.at_work.insert(id);
        }
    }

    /// What is to be fetched is known: the files become members. Says whether there is work on that.
    pub(super) fn take_plan(&mut self, net: &mut Net, id: TransferId, plan: Plan) -> bool {
        let (files, names_bytes, room) = (plan.added(), plan.names_bytes(), self.downloads.room());
        if files > room {
            let why = Problem::DirectoryTooLarge { files, max: DOWNLOADS_MAX, room };
            self.turn_to_next_peer(net, id, why, true);
            return false;
        }
        if names_bytes > DIRECTORY_LIST_BYTES_MAX {
            let why = Problem::DirectoryNamesTooLarge { max_mib: DIRECTORY_LIST_BYTES_MAX >> 20 };
            self.turn_to_next_peer(net, id, why, true);
            return false;
        }
        let Some(directory) = self.directories.get_mut(id) else { return false };
        let (files, left_out) = plan.into_added();
        directory.left_out = left_out;
        // Until these are members, a restart asks for the list again.
        let is_more = !files.is_empty() || !directory.to_make.is_empty();
        if is_more && std::mem::take(&mut directory.is_listed) {
            self.remember_directory(net.cx, id);
        }
        self.set_stage(net.cx, id, Stage::Adding(files));
        true
    }

    /// A directory without files fails. The files of another go on, and the peer is asked again after a while.
    pub(super) fn fail_or_wait(&mut self, net: &mut Net, id: TransferId, why: Problem) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        if directory.members.is_empty() {
            return self.set_stage(net.cx, id, Stage::Failed { why });
        }
        directory.waits = directory.waits.saturating_add(1);
        let wait = net.cx.rng.back_off(directory.waits, DIRECTORY_RETRY_MIN, DIRECTORY_RETRY_MAX);
        self.set_directory_waiting(net.cx, id, wait, why);
    }

    /// Asks again after a while.
    pub(super) fn wait_for_list(&mut self, net: &mut Net, id: TransferId, why: Problem) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.waits = directory.waits.saturating_add(1);
        let wait = net.cx.rng.back_off(directory.waits, SOURCE_REST_MIN, SOURCE_REST_MAX);
        self.set_directory_waiting(net.cx, id, wait, why);
    }
}
