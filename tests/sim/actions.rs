//! What nodes and bootstrap nodes want done, done by the world.

use crate::disk::{Part, Stage, Written};
use crate::host::HostId;
use crate::links::Want;
use crate::world::{Occurrence, World};
use pyrate::bootstrap::{BootstrapAction, PEER_LIST_MAX};
use pyrate::control::{CallError, CallId, Reply};
use pyrate::fault::DiskFault;
use pyrate::id::{ClientId, ExchangeId, TransferId};
use pyrate::name::FileName;
use pyrate::node::contract::{Action, Event};
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
            Action::SendList { exchange, attributes } => self.send_list(host, exchange, attributes),
            Action::SendFile { exchange, name } => self.send_file(host, exchange, &name),
            Action::Close { exchange } => self.close(host, exchange),
            Action::Refuse { exchange, .. } => self.refuse(host, exchange),
            Action::Dial { exchange, to, messages, expect } => self.dial(host, exchange, to, messages, expect.into()),
            Action::Fetch { exchange, download, to, name, form, size_max } => {
                let want = Want::File(download, form, size_max);
                self.fetch(host, exchange, download, to, name, want);
            }
            Action::CallBack { .. } => self.violation(host, "no requester closed before its file"),
            Action::Abort { exchange } => self.abort(host, exchange),
            Action::Resolve { host: name } => {
                let span = 1 + self.random.below(2_000);
                self.plan(span, Occurrence::Resolved(host, epoch, name));
            }
            Action::StartScan => self.start_scan(host),
            Action::OpenPart { download, target } => {
                let part = Part { target, stage: Stage::Opening, written: Written::Nothing, fetching: false };
                if self.hosts[host.0].disk.parts.insert(download, part).is_some() {
                    self.violation(host, &format!("the part file of {download:?} is opened twice"));
                }
                let span = 1 + self.random.below(20);
                self.plan(span, Occurrence::PartOpened(host, epoch, download));
            }
            Action::CommitPart { download } => self.commit_part(host, download),
            Action::DropPart { download } => self.drop_part(host, download),
            Action::Reply { client, call, outcome } => self.reply(host, client, call, outcome),
            Action::Notify { client, notice } => {
                if client != ClientId(1) {
                    self.violation(host, "a notice for a client that was never there");
                }
                self.hosts[host.0].notices.push(notice);
            }
            Action::RememberPeers(peers) => self.hosts[host.0].disk.remembered = peers,
            Action::Left => self.hosts[host.0].left = true,
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
                let mut reader = PeerListReader::new();
                let read = reader.push(&encode_peer_list(&peers)).and_then(|()| reader.finish());
                if read.as_ref() != Ok(&peers) {
                    self.violation(host, &format!("{peers:?} was read as {read:?}"));
                }
                self.send_peer_list(host, exchange, peers);
            }
            BootstrapAction::Close { exchange } => self.close(host, exchange),
            BootstrapAction::Refuse { exchange, .. } => self.refuse(host, exchange),
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
        to: SocketAddr,
        name: FileName,
        want: Want,
    ) {
        match self.hosts[host.0].disk.parts.get_mut(&download) {
            Some(part) if part.stage == Stage::Open && !part.fetching => {
                part.fetching = true;
                part.written = Written::Piece;
            }
            part => {
                let what = format!("a fetch for {download:?}, whose part file is {part:?}");
                self.violation(host, &what);
            }
        }
        self.dial(host, exchange, to, vec![Message::DownloadRequest { name }], want);
    }

    /// A part file is created, or cannot be.
    pub(crate) fn part_opened(&mut self, host: HostId, download: TransferId) {
        let disk = &mut self.hosts[host.0].disk;
        let Some(part) = disk.parts.get(&download).cloned() else { return };
        let mut outcome = match disk.fault {
            Some(fault) => Err(fault),
            None => disk.final_path(&part.target),
        };
        if part.stage == Stage::Dropped {
            disk.parts.remove(&download);
            outcome = outcome.or(Err(DiskFault::Missing));
        } else if outcome.is_err() {
            disk.parts.remove(&download);
        } else if let Some(part) = disk.parts.get_mut(&download) {
            part.stage = Stage::Open;
        }
        self.deliver(host, Event::PartOpened { download, outcome });
    }

    fn commit_part(&mut self, host: HostId, download: TransferId) {
        match self.hosts[host.0].disk.parts.get_mut(&download) {
            Some(Part { stage: stage @ Stage::Open, written: Written::Whole(_), fetching: false, .. }) => {
                *stage = Stage::Committing;
            }
            part => {
                let what = format!("{download:?} is committed, and its part file is {part:?}");
                self.violation(host, &what);
            }
        }
        let (span, epoch) = (1 + self.random.below(50), self.hosts[host.0].epoch);
        self.plan(span, Occurrence::PartCommitted(host, epoch, download));
    }

    /// A part file gets its final name, or cannot; in either case it is no part file any more.
    pub(crate) fn part_committed(&mut self, host: HostId, download: TransferId) {
        let disk = &mut self.hosts[host.0].disk;
        let Some(part) = disk.parts.remove(&download) else { return };
        let outcome = match (disk.fault, part.written) {
            (Some(fault), _) => Err(fault),
            (None, Written::Whole(content)) => disk.final_path(&part.target).map(|path| (path, content)),
            (None, _) => Err(DiskFault::Missing),
        };
        if let Ok((path, content)) = &outcome
            && self.hosts[host.0].disk.finished.insert(path.clone(), *content).is_some()
        {
            self.violation(host, &format!("{path:?} was replaced"));
        }
        self.deliver(host, Event::PartCommitted { download, outcome: outcome.map(|(path, _)| path) });
    }

    fn drop_part(&mut self, host: HostId, download: TransferId) {
        let parts = &mut self.hosts[host.0].disk.parts;
        match parts.get_mut(&download) {
            // What the world owes an event for stays until then.
            Some(part) if matches!(part.stage, Stage::Opening) => part.stage = Stage::Dropped,
            Some(part) if matches!(part.stage, Stage::Committing | Stage::Dropped) => {}
            Some(_) => drop(parts.remove(&download)),
            None => {}
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
