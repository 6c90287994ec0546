//! Orders of the node and the bootstrap node on their way to the parts, and what the parts report on its way back; control
//! calls and their replies among these.

use super::Driver;
use super::cx::Output;
use super::disk::PartOrder;
use super::net::{Outgoing, Part, Task};
use super::open_parts::Written;
use crate::bootstrap::BootstrapAction;
use crate::content::WrittenManifest;
use crate::control::{CallError, CallId, ExitCode, Reply, Request, encode_notice};
use crate::fault::DiskFault;
use crate::id::{ClientId, ContentHash, ExchangeId, TransferId};
use crate::node::contract::{PartSpec, Refusal};
use crate::node::{Action, Event};
use crate::store::PartRequest;
use crate::time::Instant;
use crate::wire::{FIRST_CONTACT_ANSWER, FileInfo, Message, encode_info, encode_peer_list};
use std::ops::Range;
use std::rc::Rc;

/// The watched directory, which orders what a control client would. No client has this number: they count up.
const WATCHER: ClientId = ClientId(u64::MAX);

impl Driver {
    /// Executes every action that is ordered, and reports its outcome at once, until there is none.
    ///
    /// Ends, because the node's queues are bounded and no immediate event orders without limit.
    pub(super) fn carry_out(&mut self) {
        loop {
            if let Some(action) = self.node.poll_action() {
                self.execute(action);
            } else if let Some(action) = self.bootstrap.as_mut().and_then(|bootstrap| bootstrap.poll_action()) {
                self.execute_bootstrap(action);
            } else if let Some(output) = self.cx.out.pop() {
                self.report(output);
            } else if self.disk.has_writes() {
                self.disk.write_parts(&mut self.cx);
            } else if let Some(order) = self.cx.reads.pop() {
                self.disk.read_shared(order);
            } else if self.disk.has_changed_records(self.cx.now) {
                self.disk.maintain_records();
            } else {
                break;
            }
        }
        if let Some(bootstrap) = &self.bootstrap {
            self.disk.watch_registry(bootstrap, &self.cx);
        }
    }

    /// Tells whom it concerns what a part reports.
    fn report(&mut self, output: Output) {
        let now = self.cx.now;
        match output {
            Output::Event(event) => {
                if let Event::RequestGone { .. } = event {
                    self.note_requester_gone();
                }
                self.node.handle(now, event);
            }
            Output::Registrar(exchange, from, message) => {
                let Some(bootstrap) = &mut self.bootstrap else { return };
                bootstrap.handle(now, exchange, from, message);
                let (limited, counted) = (self.node.limited_mut(), bootstrap.limited());
                (limited.registrations_displaced, limited.registrations_refused) = (counted.displaced, counted.refused);
            }
            Output::Checked(to, answered) => {
                self.bootstrap.iter_mut().for_each(|bootstrap| bootstrap.on_checked(now, to, answered));
            }
            Output::Call(client, call, request) => self.on_call(client, call, request),
            Output::Links(what, manifest) => {
                if let Some(manifest) = manifest {
                    self.node.handle(now, Event::ManifestGiven { client: WATCHER, manifest });
                }
                let request = Request::Download { what, output: None };
                self.node.handle(now, Event::Call { client: WATCHER, call: CallId::Number(0), request });
            }
            Output::Scrape(slot) => {
                let text = self.metrics().text();
                self.front.answer_scrape(slot, &text);
            }
            Output::Written(exchange, written) => {
                if !self.net.on_written(exchange, &written) {
                    self.on_written_late(&written);
                }
            }
            Output::SharedOpened(name, outcome) => self.on_shared_opened(&name, outcome),
            Output::MetadataRead(b3, body) => self.on_metadata_read(b3, body.as_ref()),
            Output::SharedRead(exchange, read, outcome) => self.net.take_read(exchange, read, outcome, &self.cx),
            Output::ConfigurationRead => self.on_configuration_read(),
            Output::Refused => self.node.note_refused(),
            Output::Limited(counter) => *counter(self.node.limited_mut()) += 1,
        }
    }

    /// Answers a call that concerns the process, or hands it to the node.
    fn on_call(&mut self, client: ClientId, call: CallId, request: Request) {
        self.node.set_wall_clock(self.clock.wall());
        let outcome = match request {
            Request::Bootstrap { after } => Ok(self.bootstrap_reply(after)),
            Request::Metrics => Ok(Reply::Metrics(Box::new(self.metrics()))),
            Request::Limit { down, up, reset } => self.limit_rates(down, up, reset),
            Request::Reload => return self.begin_reload(Some((client, call))),
            Request::LogLevel { level } => match self.front.host().set_log_level(&level) {
                Ok(()) => Ok(Reply::Done {}),
                Err(error) => Err(CallError::new(ExitCode::Usage, error)),
            },
            Request::Stop => {
                self.reply(client, &call, &Ok(Reply::Done {}));
                self.leave("asked by a control client");
                return;
            }
            request => {
                self.node.limited_mut().log_lines_lost = self.front.host().log_lines_lost();
                self.node.handle(self.cx.now, Event::Call { client, call, request });
                return;
            }
        };
        self.reply(client, &call, &outcome);
    }

    /// Passes on a reply of the node, to whose status the loop adds what it alone knows.
    fn on_reply(&mut self, client: ClientId, call: &CallId, mut outcome: Result<Reply, CallError>) {
        if client == WATCHER {
            // It does not follow what it began.
            self.cx.out.event(Event::ClientGone { client });
            return self.disk.on_links_answered(outcome, &mut self.cx);
        }
        if let Ok(Reply::Status(status)) = &mut outcome {
            self.complete(status);
        }
        self.reply(client, call, &outcome);
    }

    pub(super) fn reply(&mut self, client: ClientId, call: &CallId, outcome: &Result<Reply, CallError>) {
        self.front.reply((client, call), outcome, &mut self.cx);
    }

    /// The exchange that had this written has ended meanwhile.
    fn on_written_late(&mut self, written: &Written) {
        let download = written.download;
        if let Some((b3, group, from)) = written.written_group() {
            self.disk.open_parts().discard_partial(download, group);
            self.cx.out.event(Event::GroupWritten { download, b3, group, from });
        } else if written.has_set_outline() {
            // The node does not know this outline, and opens the part file again.
            self.cx.out.event(Event::PartFailed { download, fault: DiskFault::Changed });
        }
    }

    fn execute(&mut self, action: Action) {
        let Self { net, disk, front, cx, .. } = self;
        match action {
            Action::SendList { exchange, to, attributes } => {
                net.respond(exchange, Outgoing::list(to, attributes, cx.now), None, cx)
            }
            Action::SendManifest { exchange, manifest, range, pending } => {
                net.respond(exchange, of_manifest(&manifest, range, pending, cx.now), None, cx);
            }
            Action::AnswerFirstContact { exchange } => {
                net.respond(exchange, Outgoing::bytes(FIRST_CONTACT_ANSWER.to_vec(), cx.now), None, cx);
            }
            order @ (Action::SendFile { .. }
            | Action::SendRange { .. }
            | Action::SendMetadata { .. }
            | Action::CallBack { .. }) => self.order_response(order),
            Action::Close { exchange } => net.close_request(exchange, cx),
            Action::Report { exchange, report } => net.report(exchange, &report),
            Action::Refuse { exchange, reason } => self.refuse(exchange, reason),
            Action::Dial { exchange, to, messages, expect, connect_max } => {
                net.dial(exchange, to, Task::Messages { messages, expect, connect_max }, cx);
            }
            Action::Stream { exchange, to, messages, connect_max } => {
                net.stream(exchange, to, &messages, connect_max, cx);
            }
            Action::Fetch { exchange, download, to, name, may_call_back, portion } => {
                let part = Part { download, portion, from: to, begun: None };
                net.fetch(exchange, name, may_call_back, part, disk.open_parts(), cx);
            }
            Action::FetchMetadata { exchange, download, to, name, b3 } => {
                let request = Message::MetadataRequest { name };
                net.dial(exchange, to, Task::Metadata { request, download, wanted: b3 }, cx);
            }
            Action::Trim { exchange, groups_end } => net.trim(exchange, groups_end),
            Action::Abort { exchange } => self.abort(exchange),
            Action::Resolve { host } => disk.resolve(host, net.interface()),
            Action::StartScan => disk.start_scan(front.host().log_files()),
            Action::LookAt { names } => disk.look_at(names),
            Action::ProbeTarget { download, spec, b3, size } => {
                self.order_part(download, (spec, b3, size), PartOrder::Probe);
            }
            Action::MakeDirectories { download, spec, paths } => {
                self.order_part(download, (spec, None, None), |part| PartOrder::MakeDirectories(part, paths));
            }
            Action::Manifest { b3, order } => disk.order_manifest(b3, order),
            Action::OpenPart { download, spec, b3, size } => {
                self.order_part(download, (spec, b3, size), PartOrder::Open);
            }
            Action::DropPart { download, spec } => self.order_part(download, (spec, None, None), PartOrder::Drop),
            Action::SetOutline { download, b3, size } => disk.set_outline(download, b3, size, cx),
            Action::CheckPart { download, original } => {
                disk.order_part(download, PartOrder::Check(original), net, cx);
            }
            Action::CommitPart { download } => disk.order_part(download, PartOrder::Commit, net, cx),
            Action::ClosePart { download } => disk.order_part(download, PartOrder::Close, net, cx),
            Action::ForgetDownload { download } => disk.order_part(download, PartOrder::Forget, net, cx),
            Action::HashFiles { files } => disk.hash_files(files),
            Action::ForgetEvents { download, up_to } => disk.forget_events(download, up_to, cx),
            Action::KeepEventsFrom { first } => disk.keep_events_from(first, self.cx.now),
            Action::RememberWish { wish, record, revision } => disk.remember_wish(wish, record, revision, cx),
            Action::RememberDownload { record, revision } => disk.remember_download(&record, revision, cx),
            Action::RememberPeers(peers) => disk.remember_peers(&peers),
            Action::Reply { client, call, outcome } => self.on_reply(client, &call, outcome),
            Action::Notify { client, notice } => front.push_line(client, &encode_notice(&notice), cx),
            Action::Left => self.on_left(),
        }
    }

    fn abort(&mut self, exchange: ExchangeId) {
        if !self.withdraw_call_back(exchange) && !self.keep_upload(exchange) {
            self.net.abort(exchange, self.disk.open_parts(), &mut self.cx);
        }
    }

    fn refuse(&mut self, exchange: ExchangeId, reason: Refusal) {
        if reason != Refusal::Leaving || !self.keep_request(exchange) {
            self.net.refuse_request(exchange, reason.peer_reason(), reason.reason(), &reason, &self.cx);
        }
    }

    /// Orders what names the target of a download, the hash of its content and its size, if they are known.
    fn order_part(
        &mut self,
        download: TransferId,
        (spec, b3, size): (PartSpec, Option<ContentHash>, Option<u64>),
        order: impl FnOnce(PartRequest) -> PartOrder,
    ) {
        let Self { net, disk, cx, .. } = self;
        let part = disk.part_request(spec, b3, size);
        disk.order_part(download, order(part), net, cx);
    }

    fn execute_bootstrap(&mut self, action: BootstrapAction) {
        let Self { net, cx, .. } = self;
        match action {
            BootstrapAction::SendPeerList { exchange, peers } => {
                net.respond(exchange, Outgoing::bytes(encode_peer_list(&peers), cx.now), None, cx);
            }
            BootstrapAction::Close { exchange } => net.close_request(exchange, cx),
            BootstrapAction::Check { to, p1 } => {
                let ours = self.facts.bootstrap.map_or(to.port(), |addr| addr.port());
                net.check_port(to, p1, ours, cx);
            }
            BootstrapAction::Refuse { exchange, reason } => {
                self.node.note_refused();
                net.refuse_request(exchange, None, reason.reason(), &reason, cx);
            }
        }
    }
}

/// The response to a request for a manifest: a range of it, or its metadata.
fn of_manifest(manifest: &WrittenManifest, range: Option<Range<usize>>, pending: u64, now: Instant) -> Outgoing {
    let Some(range) = range else {
        let info = FileInfo { size: manifest.text.len() as u64, b3: manifest.b3, pending };
        return Outgoing::bytes(encode_info(info, &manifest.chain), now);
    };
    Outgoing::bytes_range(Rc::clone(&manifest.text), range, now)
}
