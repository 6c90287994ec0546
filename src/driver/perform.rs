//! Carrying out what the node and the bootstrap node ordered.

use super::Driver;
use super::clock::wall_ns;
use crate::bootstrap::BootstrapAction;
use crate::content::groups_span;
use crate::control::encode_notice;
use crate::driver::disk::jobs::Job;
use crate::driver::disk::parts::PartOrder;
use crate::driver::net::budget::Use;
use crate::driver::net::exchange::{CALL_BACK_DESCRIPTORS, Outbound, Outgoing, Part, Remains, Task};
use crate::driver::net::table::{Connection, Requester};
use crate::fault::{DialFault, DiskFault, RefusalReason};
use crate::id::ExchangeId;
use crate::library::{RECENT_MAX, ScannedFile};
use crate::name::FileName;
use crate::node::contract::{Portion, ResponseFault};
use crate::node::{Action, Event};
use crate::store::SharedFile;
use crate::wire::{FIRST_CONTACT_ANSWER, Message, SearchDone, encode_peer_list};
use std::net::SocketAddr;
use std::rc::Rc;

impl Driver {
    /// Carries out every action that is ordered, and tells of what came of it at once, until there is none.
    ///
    /// Ends, because the node's queues are bounded and no immediate event orders without limit.
    pub(super) fn carry_out(&mut self) {
        loop {
            if let Some(action) = self.node.poll_action() {
                self.perform(action);
            } else if let Some(action) = self.bootstrap.as_mut().and_then(|bootstrap| bootstrap.poll_action()) {
                self.perform_bootstrap(action);
            } else if let Some(event) = self.inbox.pop_front() {
                self.node.handle(self.now, event);
            } else if self.has_changed_records() {
                self.maintain_records();
            } else {
                break;
            }
        }
        self.watch_registry();
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::SendList { exchange, attributes } => {
                let outgoing = Outgoing::list(attributes, self.now);
                self.respond(exchange, outgoing, None);
            }
            Action::AnswerFirstContact { exchange } => {
                let outgoing = Outgoing::bytes(FIRST_CONTACT_ANSWER.to_vec(), self.now);
                self.respond(exchange, outgoing, None);
            }
            Action::SendFile { exchange, name } => self.send_file(exchange, name),
            Action::Close { exchange } => self.close_exchange(exchange),
            Action::SayDone { exchange, done } => self.say_done(exchange, &done),
            Action::Refuse { exchange, reason } => {
                self.refuse_exchange(exchange, reason.told(), reason.reason(), &reason);
            }
            Action::Dial { exchange, to, messages, expect, connect_max } => {
                self.dial(exchange, to, Task::Messages { messages, expect, connect_max });
            }
            Action::SendRange { exchange, file, offset, length } => self.send_range(exchange, &file, offset, length),
            Action::SendMetadata { exchange, file, b3 } => self.send_metadata(exchange, &file, b3),
            Action::Stream { exchange, to, messages, connect_max } => {
                self.stream(exchange, to, &messages, connect_max);
            }
            Action::Fetch { exchange, download, to, name, may_call_back, portion } => {
                self.fetch(exchange, name, may_call_back, Part { download, portion, from: to, begun: None });
            }
            Action::FetchMetadata { exchange, download, to, name, b3 } => {
                let request = Message::MetadataRequest { name };
                self.dial(exchange, to, Task::Metadata { request, download, wanted: b3 });
            }
            Action::Trim { exchange, groups_end } => self.trim(exchange, groups_end),
            Action::CallBack { exchange, to, name } => self.call_back(exchange, to, &name),
            Action::Abort { exchange } => self.abort(exchange),
            Action::Resolve { host } => self.helpers.submit(Job::Resolve(host)),
            Action::StartScan => self.start_scan(),
            Action::LookAt { names } => self.look_at(names),
            Action::ProbeTarget { download, spec, b3, size } => {
                self.order_part(download, PartOrder::Probe(self.part_request(spec, b3, size)));
            }
            Action::OpenPart { download, spec, b3, size } => {
                self.order_part(download, PartOrder::Open(self.part_request(spec, b3, size)));
            }
            Action::SetOutline { download, b3, size } => self.set_outline(download, b3, size),
            Action::CheckPart { download } => self.order_part(download, PartOrder::Check),
            Action::CommitPart { download } => self.order_part(download, PartOrder::Commit),
            Action::ClosePart { download } => self.order_part(download, PartOrder::Close),
            Action::DropPart { download, spec } => {
                self.order_part(download, PartOrder::Drop(self.part_request(spec, None, None)));
            }
            Action::HashFiles { files } => self.hash_files(files),
            Action::RememberDownload { record, revision } => self.remember_download(&record, revision),
            Action::ForgetDownload { download } => self.order_part(download, PartOrder::Forget),
            Action::Reply { client, call, outcome } => self.reply(client, &call, &outcome),
            Action::Notify { client, notice } => self.push_line(client, &encode_notice(&notice)),
            Action::RememberPeers(peers) => self.remember_peers(&peers),
            Action::Left => self.on_left(),
        }
    }

    fn perform_bootstrap(&mut self, action: BootstrapAction) {
        match action {
            BootstrapAction::SendPeerList { exchange, peers } => {
                let outgoing = Outgoing::bytes(encode_peer_list(&peers), self.now);
                self.respond(exchange, outgoing, None);
            }
            BootstrapAction::Close { exchange } => self.close_exchange(exchange),
            BootstrapAction::Check { to, p1 } => self.check_port(to, p1),
            BootstrapAction::Refuse { exchange, reason } => {
                self.node.note_refused();
                self.refuse_exchange(exchange, None, reason.reason(), &reason);
            }
        }
    }

    /// Starts to send a response; the name is that of a file.
    pub(super) fn respond(&mut self, exchange: ExchangeId, outgoing: Outgoing, name: Option<FileName>) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            inbound.send(outgoing, name, self.now);
            self.table.arm(key, &mut self.timers);
            self.table.make_ready(key);
        }
    }

    fn send_file(&mut self, exchange: ExchangeId, name: FileName) {
        let Some((key, requester)) = self.table.requester(exchange) else { return };
        match self.open_shared(&name, requester) {
            Ok(file) => {
                self.table.holds_file(key);
                self.respond(exchange, Outgoing::file(file, self.now), Some(name));
            }
            Err(fault) => {
                self.refuse_exchange(exchange, None, "file", &fault);
                let outcome = Err(ResponseFault::Disk(fault));
                self.inbox.push_back(Event::ResponseEnded { exchange, outcome });
            }
        }
    }

    /// Sends a range of a file, provided that it still is the file that the library knows.
    fn send_range(&mut self, exchange: ExchangeId, file: &ScannedFile, offset: u64, length: u64) {
        let Some((key, requester)) = self.table.requester(exchange) else { return };
        match self.open_shared_as(file, requester) {
            Ok(opened) => {
                self.table.holds_file(key);
                self.respond(exchange, Outgoing::range(opened, offset, length, self.now), None);
            }
            Err(fault) => self.fail_response(exchange, fault),
        }
    }

    /// Breaks a response off before its first byte.
    pub(super) fn fail_response(&mut self, exchange: ExchangeId, fault: DiskFault) {
        self.refuse_exchange(exchange, Some(fault.into()), "file", &fault);
        let outcome = Err(ResponseFault::Disk(fault));
        self.inbox.push_back(Event::ResponseEnded { exchange, outcome });
    }

    /// Opens a shared file as it was scanned, with a descriptor of the budget that the caller passes on.
    pub(super) fn open_shared_as(&mut self, file: &ScannedFile, requester: Requester) -> Result<SharedFile, DiskFault> {
        self.take_for_file(requester).map_err(|_| DiskFault::NoDescriptor)?;
        let opened = match &self.share {
            Some(share) => share.open_file_as(&file.name, &file.meta),
            None => Err(DiskFault::Missing),
        };
        opened.inspect_err(|_| self.table.give_back(Use::File))
    }

    /// Opens a shared file, with a descriptor of the budget that the caller passes on: as it was scanned, or as it is
    /// since, if it has not been changed for a while. A name that has left the library meanwhile is not served.
    fn open_shared(&mut self, name: &FileName, requester: Requester) -> Result<SharedFile, DiskFault> {
        self.take_for_file(requester).map_err(|_| DiskFault::NoDescriptor)?;
        let opened = match (&self.share, self.node.library().get(name.as_bytes())) {
            (Some(share), Some(known)) => share.open_file(name).and_then(|file| {
                let quiet = || file.quiet(self.hashing.volumes(), wall_ns());
                let serves = known.meta == *file.meta() || quiet() >= RECENT_MAX;
                if serves { Ok(file) } else { Err(DiskFault::Changed) }
            }),
            _ => Err(DiskFault::Missing),
        };
        opened.inspect_err(|_| self.table.give_back(Use::File))
    }

    fn close_exchange(&mut self, exchange: ExchangeId) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            inbound.close(self.now);
            self.table.arm(key, &mut self.timers);
            self.table.make_ready(key);
        }
    }

    fn say_done(&mut self, exchange: ExchangeId, done: &SearchDone) {
        if let Some(key) = self.table.key(exchange)
            && let Some(Connection::Inbound(inbound)) = self.table.get_mut(key)
        {
            inbound.say(&done.encode());
        }
    }

    /// Refuses: the connection ends in RST, or, where the requester can be told why, in a line that does (PROTOCOL,
    /// Refusals).
    pub(super) fn refuse_exchange(
        &mut self,
        exchange: ExchangeId,
        told: Option<RefusalReason>,
        reason: &'static str,
        detail: &dyn std::fmt::Display,
    ) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            let from = inbound.from();
            let is_told = told.is_some_and(|told| inbound.refuse_with(told, self.now));
            match inbound.asked_for() {
                Some(name) => self.logbook.refused(self.now, reason, Some(from), &format_args!("{name}: {detail}")),
                None => self.logbook.refused(self.now, reason, Some(from), detail),
            }
            if is_told {
                self.table.forget_exchange(key);
                self.table.arm(key, &mut self.timers);
                return self.table.make_ready(key);
            }
            inbound.socket_mut().end_in_reset();
        }
        self.close(key);
    }

    /// Begins an exchange. False when it is over at once.
    fn dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task) -> bool {
        let more = match task {
            Task::Fetch { may_call_back: true, .. } => CALL_BACK_DESCRIPTORS,
            // The file.
            Task::CallBack(_) => 1,
            _ => 0,
        };
        match self.try_dial(exchange, to, task, more) {
            Ok(()) => true,
            Err(fault) => {
                self.inbox.push_back(Event::DialEnded { exchange, outcome: Err(fault) });
                false
            }
        }
    }

    fn try_dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task, more: usize) -> Result<(), DialFault> {
        for taken in 0..=more {
            if self.take_displacing(Use::Own).is_err() {
                (0..taken).for_each(|_| self.table.give_back(Use::Own));
                return Err(DialFault::NoDescriptor);
            }
        }
        let token = self.table.next_token();
        match Outbound::dial(exchange, to, task, self.poll.registry(), token, self.now) {
            Ok(outbound) => {
                let key = self.table.insert(Connection::Outbound(Box::new(outbound)), Some(Use::Own), more);
                self.table.arm(key, &mut self.timers);
                Ok(())
            }
            Err(fault) => {
                (0..=more).for_each(|_| self.table.give_back(Use::Own));
                Err(fault)
            }
        }
    }

    /// Asks for a file, or for groups of it: of the first, only what is missing.
    fn fetch(&mut self, exchange: ExchangeId, name: FileName, may_call_back: bool, mut part: Part) {
        let Part { download, from, .. } = part;
        if let Portion::Groups(groups) = &part.portion {
            part.begun = self.desk.take_partial(download, groups.start, from).map(Rc::new);
        }
        let begun = part.begun.clone();
        let bytes = begun.as_ref().map_or(0, |begun| begun.len());
        let request = fetch_request(name, &part.portion, self.desk.size(download), bytes);
        let task = Task::Fetch { request, may_call_back, part };
        if self.dial(exchange, from, task) {
            self.inbox.extend((bytes > 0).then_some(Event::FetchResumed { exchange, bytes }));
        } else if let Some(begun) = begun {
            self.desk.take_remains(Remains::Partial(Rc::unwrap_or_clone(begun)));
        }
    }

    fn call_back(&mut self, exchange: ExchangeId, to: SocketAddr, name: &FileName) {
        match self.open_shared(name, Requester { addr: to, key: None }) {
            Ok(file) => {
                // Dialling takes a descriptor for the file anew.
                self.table.give_back(Use::File);
                self.dial(exchange, to, Task::CallBack(Outgoing::file(file, self.now)));
            }
            Err(fault) => {
                let outcome = Err(DialFault::Disk(fault));
                self.inbox.push_back(Event::DialEnded { exchange, outcome });
            }
        }
    }

    /// Lets a fetch of groups end earlier.
    fn trim(&mut self, exchange: ExchangeId, groups_end: u64) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Outbound(outbound)) = self.table.get_mut(key) {
            outbound.trim(groups_end);
            self.table.make_ready(key);
        }
    }

    /// Breaks an exchange off, whatever it does.
    fn abort(&mut self, exchange: ExchangeId) {
        let Some(key) = self.table.key(exchange) else {
            self.withdraw_from_streams(exchange);
            return;
        };
        let Some(connection) = self.table.get_mut(key) else { return };
        let progress = connection.progress();
        let ended = match connection {
            Connection::Inbound(inbound) => {
                inbound.socket_mut().end_in_reset();
                inbound.broken_off(ResponseFault::Aborted)
            }
            Connection::Outbound(outbound) => Some(outbound.ended(Err(DialFault::Aborted))),
            Connection::Stream(_) | Connection::Check(_) | Connection::Client(_) => return,
        };
        self.inbox.extend(progress.into_iter().chain(ended));
        self.close(key);
    }
}

/// The message that asks for a portion (PROTOCOL, the table of codes, and "Ranges and metadata").
/// `begun`: bytes of the first group that are there.
fn fetch_request(name: FileName, portion: &Portion, size: u64, begun: u64) -> Message {
    match portion {
        Portion::Stream { .. } | Portion::Whole => Message::DownloadRequest { name },
        Portion::Groups(groups) => {
            let span = groups_span(size, groups);
            let offset = span.start + begun;
            Message::RangeRequest { offset, length: span.end - offset, name }
        }
    }
}
