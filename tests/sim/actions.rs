//! What nodes and bootstrap nodes want done, done by the world.

use crate::conn::{Taking, Want};
use crate::host::{HostId, Program};
use crate::world::{Occurrence, World};
use pyrate::bootstrap::{BootstrapAction, PEER_LIST_MAX};
use pyrate::content::groups_span;
use pyrate::control::{CallError, CallId, Reply};
use pyrate::id::{ClientId, ExchangeId, TransferId};
use pyrate::name::FileName;
use pyrate::node::contract::{Action, Event, Portion, WishRecord};
use pyrate::wire::{Message, PeerListReader, encode_peer_list};
use std::net::SocketAddr;

/// Files in one batch of a scan.
const SCAN_BATCH_FILES: usize = 50;

impl World {
    /// Does what a node wants.
    pub(crate) fn perform(&mut self, host: HostId, action: Action) {
        self.watch_action(host, &action);
        if self.hosts[host.0].left {
            self.violation(host, &format!("it has left, and wants {action:?}"));
        }
        let epoch = self.hosts[host.0].epoch;
        match action {
            Action::SendList { exchange, attributes, .. } => self.send_list(host, exchange, attributes),
            Action::SendFile { exchange, name, .. } => self.send_file(host, exchange, name),
            Action::SendRange { exchange, file, offset, length } => {
                self.send_range(host, exchange, file, offset, length);
            }
            Action::SendMetadata { exchange, file, b3 } => self.send_metadata(host, exchange, file, b3),
            Action::AnswerFirstContact { exchange } => self.answer_first_contact(host, exchange),
            Action::Close { exchange } => self.close(host, exchange),
            Action::Report { exchange, report } => self.report(host, exchange, report),
            Action::Refuse { exchange, reason } => self.refuse_with(host, exchange, reason.peer_reason()),
            Action::Dial { exchange, to, messages, expect, .. } => {
                self.dial(host, exchange, to, messages, expect.into());
            }
            Action::Stream { exchange, to, messages, .. } => self.stream(host, exchange, to, messages),
            Action::Fetch { exchange, download, to, name, may_call_back, portion } => {
                self.fetch(host, exchange, download, (to, name), may_call_back, portion);
            }
            Action::Trim { exchange, groups_end } => self.trim(host, exchange, groups_end),
            Action::FetchMetadata { exchange, download, to, name, b3 } => {
                let message = Message::MetadataRequest { name };
                let conn = self.dial(host, exchange, to, vec![message], Want::Metadata { download, b3 });
                self.writes_to(host, download, conn, false);
            }
            Action::CallBack { exchange, to, name } => self.call_back(host, exchange, to, &name),
            Action::Abort { exchange } => self.abort(host, exchange),
            Action::Resolve { host: name } => {
                let span = 1 + self.random.below(2_000);
                self.plan(span, Occurrence::Resolved(host, epoch, name));
            }
            Action::StartScan => self.start_scan(host),
            Action::LookAt { names } => self.plan(1, Occurrence::LookedAt(host, epoch, names)),
            Action::HashFiles { files } => self.hash_files(host, files),
            Action::ProbeTarget { download, spec, .. } => self.probe_target(host, download, spec),
            Action::MakeDirectories { download, spec, paths } => self.make_directories(host, download, spec, paths),
            Action::SendManifest { exchange, manifest, range, pending } => {
                self.send_manifest(host, exchange, &manifest, range, pending);
            }
            Action::Manifest { .. } => self.violation(host, "no user has given a manifest"),
            Action::OpenPart { download, spec, b3, size } => self.open_part(host, download, spec, b3, size),
            Action::SetOutline { download, b3, size } => self.set_outline(host, download, b3, size),
            Action::CheckPart { download, original } => self.check_part(host, download, original.as_deref()),
            Action::CommitPart { download } => self.commit_part(host, download),
            Action::ClosePart { download } => self.close_part(host, download),
            Action::DropPart { download, spec } => self.drop_part(host, download, &spec),
            Action::RememberDownload { record, revision } => self.remember_download(host, *record, revision),
            Action::RememberWish { wish, record, revision } => self.remember_wish(host, wish, record, revision),
            Action::ForgetDownload { download } => self.forget_download(host, download),
            Action::ForgetEvents { download, up_to } => self.hosts[host.0].disk.forget_events(download, up_to),
            Action::KeepEventsFrom { first } => self.hosts[host.0].disk.events_from = first,
            Action::Reply { client, call, outcome } => self.reply(host, client, call, outcome),
            Action::Notify { client, notice } => {
                if client != ClientId(1) {
                    self.violation(host, "a notice for a client that was never there");
                }
                self.watch_notice(host, &notice);
                self.hosts[host.0].notices.push(notice);
            }
            Action::RememberPeers(peers) => self.hosts[host.0].disk.peers = peers,
            Action::Left => self.hosts[host.0].left = true,
        }
    }

    fn remember_wish(&mut self, host: HostId, wish: TransferId, record: Option<Box<WishRecord>>, revision: u64) {
        self.hosts[host.0].disk.remember_wish(wish, record);
        self.recorded(host, wish, revision);
    }

    pub(crate) fn recorded(&mut self, host: HostId, download: TransferId, revision: u64) {
        let now = self.now;
        if let Program::Node(Some(node)) = &mut self.hosts[host.0].program {
            node.handle(now, Event::Recorded { download, revision, outcome: Ok(()) });
        }
    }

    /// Does what a bootstrap node wants.
    pub(crate) fn perform_bootstrap(&mut self, host: HostId, action: BootstrapAction) {
        match action {
            BootstrapAction::SendPeerList { exchange, peers } => {
                if peers.len() > PEER_LIST_MAX {
                    self.violation(host, "a list is too long");
                }
                // Through bytes and back, as on the wire.
                let mut reader = PeerListReader::default();
                let read = reader.push(&encode_peer_list(&peers)).and_then(|()| reader.finish());
                if read.as_ref() != Ok(&peers) {
                    self.violation(host, &format!("{peers:?} was read as {read:?}"));
                }
                self.send_peer_list(host, exchange, peers);
            }
            BootstrapAction::Close { exchange } => self.close(host, exchange),
            BootstrapAction::Refuse { exchange, .. } => self.refuse(host, exchange),
            BootstrapAction::Check { to, .. } => {
                self.violation(host, &format!("{to} is dialled, and nobody wanted that"))
            }
        }
    }

    fn start_scan(&mut self, host: HostId) {
        if std::mem::replace(&mut self.hosts[host.0].scanning, true) {
            self.violation(host, "two scans at once");
        }
        let epoch = self.hosts[host.0].epoch;
        let files = self.hosts[host.0].disk.scanned();
        let mut after = 1;
        for batch in files.chunks(SCAN_BATCH_FILES) {
            after += self.random.below(20);
            self.plan(after, Occurrence::Scanned(host, epoch, batch.to_vec()));
        }
        self.plan(after + 1, Occurrence::Scanned(host, epoch, Vec::new()));
    }

    fn fetch(
        &mut self,
        host: HostId,
        exchange: ExchangeId,
        download: TransferId,
        (to, name): (SocketAddr, FileName),
        may_call_back: bool,
        portion: Portion,
    ) {
        let outline = self.hosts[host.0].disk.file_of(download).and_then(|file| file.outline);
        let wrong = match (&portion, outline) {
            (Portion::Stream { .. }, None) => None,
            (Portion::Stream { .. }, Some(_)) => Some("unchecked bytes are to go where groups are"),
            (Portion::Whole | Portion::Groups(_), None) => Some("groups are asked for, and there is no outline"),
            (Portion::Groups(_), Some(_)) if may_call_back => Some("groups come on the connection that asks"),
            (Portion::Groups(groups), Some(outline)) => {
                (groups.is_empty() || groups.end > outline.groups()).then_some("no such groups")
            }
            (Portion::Whole, Some(_)) => None,
        };
        if let Some(wrong) = wrong {
            self.violation(host, &format!("{download:?}: {wrong}"));
        }
        if !may_call_back {
            self.watch_answers_directly(host, to);
        }
        let (message, groups) = match (&portion, outline) {
            (Portion::Groups(groups), Some(outline)) => {
                let span = groups_span(outline.size, groups);
                let message = Message::RangeRequest { offset: span.start, length: span.end - span.start, name };
                (message, groups.clone())
            }
            _ => (Message::DownloadRequest { name }, 0..u64::MAX),
        };
        let alone = matches!(portion, Portion::Stream { .. });
        let (group, groups_end) = (groups.start, groups.end);
        let taking =
            Taking { download, may_call_back, portion, groups_end, group, received: 0, told: 0, told_at: None };
        let conn = self.dial(host, exchange, to, vec![message], Want::File(taking));
        self.writes_to(host, download, conn, alone);
    }

    /// Lets a fetch end sooner, unless it is there already.
    fn trim(&mut self, host: HostId, exchange: ExchangeId, end: u64) {
        let found = self.exchanges.get(&(host, exchange)).copied();
        let Some(id) = found else { self.violation(host, &format!("{exchange:?} is trimmed, and does not exist")) };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Want::File(Taking { portion: Portion::Groups(_), group, groups_end, .. }) = &mut conn.want else {
            self.violation(host, &format!("{exchange:?} is trimmed, and fetches no groups"))
        };
        if end > *group {
            *groups_end = end.min(*groups_end);
        }
    }

    fn reply(&mut self, host: HostId, client: ClientId, call: CallId, outcome: Result<Reply, CallError>) {
        let CallId::Number(number) = call else { self.violation(host, "an answer to a call that nobody made") };
        let known = client == ClientId(1) && self.hosts[host.0].calls.get(&number) == Some(&None);
        if !known {
            self.violation(host, &format!("an answer to call {number}, which waits for none"));
        }
        self.hosts[host.0].calls.insert(number, Some(outcome));
    }
}
