//! Carrying out what the node and the bootstrap node ordered.

use super::Driver;
use super::budget::Use;
use super::exchange::{Outbound, Outgoing, Part, Task};
use super::helper::Job;
use super::table::Connection;
use crate::bootstrap::BootstrapAction;
use crate::control::encode_notice;
use crate::fault::{DialFault, DiskFault};
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::node::contract::ResponseFault;
use crate::node::{Action, Event};
use crate::wire::{Message, encode_peer_list};
use std::fs::File;
use std::net::SocketAddr;

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
            Action::SendFile { exchange, name } => self.send_file(exchange, name),
            Action::Close { exchange } => self.close_exchange(exchange),
            Action::Refuse { exchange, reason } => self.reset_exchange(exchange, reason.reason(), &reason),
            Action::Dial { exchange, to, messages, expect } => {
                self.dial(exchange, to, Task::Messages { messages, expect });
            }
            Action::SendRange { .. }
            | Action::SendMetadata { .. }
            | Action::Stream { .. }
            | Action::Trim { .. }
            | Action::FetchMetadata { .. }
            | Action::SetOutline { .. }
            | Action::CheckPart { .. }
            | Action::ClosePart { .. }
            | Action::HashFiles { .. }
            | Action::RememberDownload(_)
            | Action::ForgetDownload { .. } => {}
            Action::Fetch { exchange, download, to, name, form, portion } => {
                let crate::node::contract::Portion::Stream { size_max } = portion else { return };
                let request = Message::DownloadRequest { name };
                self.dial(exchange, to, Task::Fetch { request, form, part: Part { download, size_max } });
            }
            Action::CallBack { exchange, to, name } => self.call_back(exchange, to, &name),
            Action::Abort { exchange } => self.abort(exchange),
            Action::Resolve { host } => self.helpers.submit(Job::Resolve(host)),
            Action::StartScan => self.start_scan(),
            Action::OpenPart { download, spec, .. } => self.open_part(download, &spec.target),
            Action::CommitPart { download } => self.commit_part(download),
            Action::DropPart { download, .. } => self.drop_part(download),
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
            BootstrapAction::Refuse { exchange, reason } => {
                self.node.note_refused();
                self.reset_exchange(exchange, reason.reason(), &reason);
            }
        }
    }

    /// Starts to send a response; the name is that of a file.
    fn respond(&mut self, exchange: ExchangeId, outgoing: Outgoing, name: Option<FileName>) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            inbound.send(outgoing, name, self.now);
            self.table.arm(key, &mut self.timers);
            self.table.make_ready(key);
        }
    }

    fn send_file(&mut self, exchange: ExchangeId, name: FileName) {
        let Some(key) = self.table.key(exchange) else { return };
        match self.open_shared(&name) {
            Ok((file, size)) => {
                self.table.holds_file(key);
                self.respond(exchange, Outgoing::file(file, size, self.now), Some(name));
            }
            Err(fault) => {
                self.reset_exchange(exchange, "file", &format_args!("{name}: {fault}"));
                let outcome = Err(ResponseFault::Disk(fault));
                self.inbox.push_back(Event::ResponseEnded { exchange, outcome });
            }
        }
    }

    /// Opens a shared file, with a descriptor of the budget that the caller passes on.
    fn open_shared(&mut self, name: &FileName) -> Result<(File, u64), DiskFault> {
        self.table.take(Use::Own).map_err(|_| DiskFault::NoDescriptor)?;
        let opened = match &self.share {
            Some(share) => share.open_file(name),
            None => Err(DiskFault::Missing),
        };
        opened.inspect_err(|_| self.table.give_back(Use::Own))
    }

    fn close_exchange(&mut self, exchange: ExchangeId) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            inbound.close(self.now);
            self.table.arm(key, &mut self.timers);
            self.table.make_ready(key);
        }
    }

    /// Refuses: the connection ends in RST.
    fn reset_exchange(&mut self, exchange: ExchangeId, reason: &'static str, detail: &dyn std::fmt::Display) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            inbound.socket_mut().end_in_reset();
            let from = inbound.from();
            self.logbook.refused(self.now, reason, Some(from), detail);
        }
        self.close(key);
    }

    fn dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task) {
        // A fetch holds a part file too, and a call-back a listener or a file.
        let files = usize::from(!matches!(task, Task::Messages { .. }));
        if let Err(fault) = self.try_dial(exchange, to, task, files) {
            self.inbox.push_back(Event::DialEnded { exchange, outcome: Err(fault) });
        }
    }

    fn try_dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task, files: usize) -> Result<(), DialFault> {
        for taken in 0..=files {
            if self.table.take(Use::Own).is_err() {
                (0..taken).for_each(|_| self.table.give_back(Use::Own));
                return Err(DialFault::NoDescriptor);
            }
        }
        let token = self.table.next_token();
        match Outbound::dial(exchange, to, task, self.poll.registry(), token, self.now) {
            Ok(outbound) => {
                let key = self.table.insert(Connection::Outbound(Box::new(outbound)), Some(Use::Own), files);
                self.table.arm(key, &mut self.timers);
                Ok(())
            }
            Err(fault) => {
                (0..=files).for_each(|_| self.table.give_back(Use::Own));
                Err(fault)
            }
        }
    }

    fn call_back(&mut self, exchange: ExchangeId, to: SocketAddr, name: &FileName) {
        match self.open_shared(name) {
            Ok((file, size)) => {
                // Dialling takes a descriptor for the file anew.
                self.table.give_back(Use::Own);
                self.dial(exchange, to, Task::CallBack(Outgoing::file(file, size, self.now)));
            }
            Err(fault) => {
                let outcome = Err(DialFault::Disk(fault));
                self.inbox.push_back(Event::DialEnded { exchange, outcome });
            }
        }
    }

    /// Breaks an exchange off, whatever it does.
    fn abort(&mut self, exchange: ExchangeId) {
        let Some(key) = self.table.key(exchange) else { return };
        match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => {
                inbound.socket_mut().end_in_reset();
                if inbound.is_sending() {
                    let outcome = Err(ResponseFault::Aborted);
                    self.inbox.push_back(Event::ResponseEnded { exchange, outcome });
                }
            }
            Some(Connection::Outbound(outbound)) => self.inbox.push_back(outbound.ended(Err(DialFault::Aborted))),
            Some(Connection::Client(_)) | None => return,
        }
        self.close(key);
    }
}
