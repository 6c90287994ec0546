//! The manifest of a directory, which a `p1` peer is asked for before its list (PROTOCOL, part 2, Directories). A peer that has
//! none for it is asked for its list.

use super::plan::Plan;
use super::state::{Asked, Attempt, Described, Directory, Lacking, Stage};
use crate::content::{EntryKind, MANIFEST_BYTES_MAX, Manifest, ManifestEntry};
use crate::control::Problem;
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::FileName;
use crate::node::contract::{DialOutcome, Dialled, Expect, Response};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::Purpose;
use crate::node::download::DownloadMachine;
use crate::node::limits::ORDER_DOWNLOADS_PER_SLICE;
use crate::node::network::Net;
use crate::node::speech::{Evidence, Speech};
use crate::wire::{Attributes, Listed, Message};

impl DownloadMachine {
    /// Asks the peers of a directory in turn what is beneath it: all of them, however far an earlier attempt has come.
    pub(super) fn begin_attempt(&mut self, net: &mut Net, id: TransferId) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.attempt = Attempt { peers_left: directory.others.len(), ..Attempt::default() };
        if directory.has_all() {
            directory.pending.asks += 1;
        }
        self.ask_what_is_beneath(net, id);
    }

    /// Asks the peer of a directory what is beneath it.
    fn ask_what_is_beneath(&mut self, net: &mut Net, id: TransferId) {
        let Some(directory) = self.directories.get(id) else { return };
        let Some(peer) = directory.peer else { return self.read_kept_manifest(net, id) };
        match net.network.peers().speech(peer) {
            Speech::P1 => self.ask_for_manifest_info(net, id),
            Speech::Unheard if self.first_contacts.may_ask(net.cx.now, peer) => self.ask_what_peer_speaks(net, id),
            // What it speaks shows when it is asked again.
            Speech::Unheard if directory.wanted.is_some() => {
                let why = Problem::NoManifest { peer, name: directory.name.clone(), fault: None };
                self.turn_to_next_peer(net, id, why, false);
            }
            Speech::Unheard | Speech::Base => self.go_without_manifest(net, id, None, false),
        }
    }

    fn ask_what_peer_speaks(&mut self, net: &mut Net, id: TransferId) {
        let Some(peer) = self.directories.get(id).and_then(|row| row.peer) else { return };
        match self.ask_peer_what_it_speaks(net, peer, Purpose::Directory(id)) {
            Some(exchange) => self.set_stage(net.cx, id, Stage::Describing { exchange, asked: Asked::Contact }),
            None => self.wait_for_list(net, id, Problem::NoWorker),
        }
    }

    /// The peer has no manifest: it is asked for its list, unless a link says which manifest is wanted. `may_come`: it may
    /// have one later, so that it is asked again before the directory is done.
    fn go_without_manifest(&mut self, net: &mut Net, id: TransferId, fault: Option<DialFault>, may_come: bool) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.attempt.lacking = Lacking { files: 0, lacks_manifest: may_come && directory.wanted.is_none() };
        if directory.wanted.is_none() {
            return self.ask_for_list(net, id);
        }
        let Some(peer) = directory.peer else { return };
        let why = Problem::NoManifest { peer, name: directory.name.clone(), fault };
        let is_lasting = fault.is_none_or(DialFault::is_lack_of_manifest);
        self.turn_to_next_peer(net, id, why, is_lasting);
    }

    /// The next of the peers of a directory is asked. After the last one, the download waits if one of them may tell later what is
    /// beneath it, and fails if none will.
    pub(super) fn turn_to_next_peer(&mut self, net: &mut Net, id: TransferId, why: Problem, is_lasting: bool) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        if !is_lasting {
            directory.attempt.may_come = Some(why.clone());
        }
        if directory.turn_to_next_peer() {
            return self.ask_what_is_beneath(net, id);
        }
        match directory.attempt.may_come.take() {
            Some(why) => self.wait_for_list(net, id, why),
            None => self.fail_or_wait(net, id, why),
        }
    }

    fn ask_for_manifest_info(&mut self, net: &mut Net, id: TransferId) {
        let Some(directory) = self.directories.get(id) else { return };
        let message = Message::MetadataRequest { name: directory.name.clone() };
        self.ask_for_manifest(net, id, (message, Expect::FileInfo), Asked::Info);
    }

    fn ask_for_manifest(&mut self, net: &mut Net, id: TransferId, what: (Message, Expect), asked: Asked) {
        let Some(peer) = self.directories.get(id).and_then(|row| row.peer) else { return };
        let (message, expect) = what;
        match net.cx.dial_peer(peer, vec![message], expect, Purpose::Directory(id)) {
            Ok(exchange) => self.set_stage(net.cx, id, Stage::Describing { exchange, asked }),
            Err(_) => self.wait_for_list(net, id, Problem::NoWorker),
        }
    }

    /// An exchange with the peer of a directory has ended.
    pub(in crate::node) fn on_directory_dial_ended(
        &mut self,
        net: &mut Net,
        id: TransferId,
        exchange: ExchangeId,
        outcome: DialOutcome,
    ) {
        let Some(directory) = self.directories.get(id) else { return };
        let Some(peer) = directory.peer else { return };
        let (name, wanted) = (directory.name.clone(), directory.wanted);
        let Stage::Describing { exchange: ours, asked } = directory.stage() else {
            return self.on_directory_listed(net, id, exchange, outcome);
        };
        if *ours != exchange {
            return;
        }
        let asked = *asked;
        if let Err(
            fault @ (DialFault::Refused | DialFault::Unreachable | DialFault::TimedOut | DialFault::NotAPeer(_)),
        ) = outcome
        {
            if asked == Asked::Contact {
                self.on_contact_dial_ended(net, peer, &Err(fault));
            }
            return self.turn_to_next_peer(net, id, Problem::DirectoryNotListed { peer, fault }, false);
        }
        match (asked, outcome.map(|dialled| (dialled.speaks_p1(), dialled))) {
            (Asked::Contact, Ok((true, _))) => {
                net.network.note_evidence(net.cx, peer, Evidence::Contact);
                self.ask_for_manifest_info(net, id);
            }
            (Asked::Info, Ok((_, Dialled { response: Response::FileInfo { b3, .. }, .. })))
                if wanted.is_some_and(|wanted| wanted != b3) =>
            {
                self.turn_to_next_peer(net, id, Problem::DirectoryChanged { peer, name }, true);
            }
            (Asked::Info, Ok((_, Dialled { response: Response::FileInfo { b3, size, pending }, .. })))
                if size <= MANIFEST_BYTES_MAX as u64 =>
            {
                self.note_pending(id, pending);
                let message = Message::RangeRequest { offset: 0, length: size, name };
                self.ask_for_manifest(net, id, (message, Expect::Manifest { b3, size }), Asked::Manifest);
            }
            (Asked::Manifest, Ok((_, Dialled { response: Response::Manifest(manifest), .. }))) => {
                self.on_manifest(net, id, *manifest);
            }
            (Asked::Info, Err(DialFault::Reset)) => {
                net.network.note_evidence(net.cx, peer, Evidence::Unexplained);
                // It has given one before.
                let may_come = self.directories.get(id).is_some_and(Directory::awaits_more);
                self.go_without_manifest(net, id, Some(DialFault::Reset), may_come);
            }
            (_, other) => {
                if asked == Asked::Contact {
                    self.note_no_first_contact(peer);
                }
                let fault = other.err();
                if let Some(fault) = fault {
                    log::debug!(id = id.0, peer:%, error:% = fault; "no manifest of the directory");
                }
                let may_come = asked == Asked::Manifest || fault.is_some_and(|fault| !fault.is_lack_of_manifest());
                self.go_without_manifest(net, id, fault, may_come);
            }
        }
    }

    /// Files that are not in the manifest yet do not belong to one whose hash is given.
    fn note_pending(&mut self, id: TransferId, files: u64) {
        let Some(directory) = self.directories.get_mut(id).filter(|row| row.wanted.is_none()) else { return };
        directory.attempt.lacking = Lacking { files, lacks_manifest: false };
    }

    pub(super) fn on_manifest(&mut self, net: &mut Net, id: TransferId, manifest: Manifest) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        let Manifest { entries, files, bytes, b3 } = manifest;
        log::info!(id = id.0, name:% = directory.name, files, bytes, manifest:% = b3; "directory described");
        directory.described = Some(Described { b3, files, bytes });
        directory.to_make.clear();
        if entries.is_empty() {
            directory.to_make.push(directory.root.clone());
        }
        let plan = Plan::new(directory.name.clone(), directory.root.clone(), directory.members.keys());
        let entries = entries.into_iter();
        self.directories.at_work.insert(id);
        self.set_stage(net.cx, id, Stage::Planning { plan: Box::new(plan), entries });
    }

    /// One slice of making a plan of a manifest. Says whether there is more.
    pub(super) fn plan_manifest(&mut self, net: &mut Net, id: TransferId) -> bool {
        for _ in 0..ORDER_DOWNLOADS_PER_SLICE {
            let Some(directory) = self.directories.get_mut(id) else { return false };
            let Some((plan, entries)) = directory.planning_mut() else { return false };
            let Some(entry) = entries.next() else { break };
            let (name, kind) = (plan.name_of(&entry.path), entry.kind);
            if let Some(directory_path) = take_entry(plan, entry) {
                directory.to_make.push(directory_path);
            }
            let member = name.and_then(|name| self.downloads.get(*directory.members.get(&name)?));
            if let EntryKind::File { b3, .. } = kind
                && member.is_some_and(|member| member.want.b3() != Some(b3))
            {
                directory.described = None;
            }
        }
        let Some(directory) = self.directories.get_mut(id) else { return false };
        if directory.planning_mut().is_none_or(|(_, entries)| entries.len() > 0) {
            return true;
        }
        let Stage::Planning { plan, .. } = directory.replace_stage(Stage::Queued) else { return false };
        if plan.lacks_members() {
            directory.described = None;
        }
        self.take_plan(net, id, *plan)
    }

    /// A file of the peer has changed since it sent the manifest: what will be there is not what that says.
    pub(in crate::node::download) fn drop_manifest(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        if directory.wanted.is_none() && directory.described.take().is_some() {
            self.remember_directory(cx, id);
        }
    }
}

/// The path of an empty directory, if the entry is one that can be made.
fn take_entry(plan: &mut Plan, entry: ManifestEntry) -> Option<FileName> {
    let ManifestEntry { path, kind } = entry;
    let Some(name) = plan.name_of(&path) else {
        plan.left_out.add(path);
        return None;
    };
    let EntryKind::File { size, b3, executable } = kind else {
        let path = plan.path_of(&name);
        if path.is_none() {
            plan.left_out.add(name);
        }
        return path;
    };
    plan.take(Listed { name, attributes: Some(attributes(size, b3)) }, executable);
    None
}

fn attributes(size: u64, b3: ContentHash) -> Attributes {
    Attributes { size: Some(size), b3: Some(b3), more: false }
}
