//! What the scenarios have in common: networks, and users who search and download.

use crate::content::Content;
use crate::host::HostId;
use crate::world::World;
use pyrate::control::{DownloadRow, DownloadState, HitRow, LinkState, Notice, RawText, Reply, Request, Selector};
use pyrate::node::contract::RecordState;
use pyrate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// A bootstrap node and so many peers, all of them up and registered.
pub(super) fn network(seed: u64, peers: usize) -> (World, HostId, Vec<HostId>) {
    let mut world = World::new(seed);
    let bootstrap = world.add_bootstrap();
    let nodes: Vec<HostId> = (0..peers).map(|_| world.add_node(&[bootstrap])).collect();
    nodes.iter().for_each(|&id| world.start(id));
    world.run_until("all are registered", seconds(30), |world| world.bootstrap(bootstrap).count() == peers);
    (world, bootstrap, nodes)
}

/// Nothing of an unfinished download is left on the disk.
#[track_caller]
pub(super) fn assert_clean(world: &World, id: HostId) {
    let disk = &world.hosts[id.0].disk;
    assert!(disk.parts.is_empty() && disk.files.is_empty(), "{:?} {:?}", disk.parts, disk.files.keys());
    // That one has failed is remembered, and nothing else.
    let failed = RecordState::Failed { keeps_part: false };
    assert!(disk.downloads.values().all(|record| record.state == failed), "{:?}", disk.downloads);
}

impl World {
    /// Waits until nodes have found each other: bootstrap nodes are asked again soon after a registration.
    pub(super) fn let_them_meet(&mut self) {
        self.run_for(seconds(30));
    }

    /// Puts a file on a disk, and has the node look at once if it runs.
    pub(super) fn share(&mut self, id: HostId, name: &str, content: Content) {
        self.hosts[id.0].disk.share(name, content);
        if self.hosts[id.0].up {
            self.ask(id, Request::Rescan).unwrap();
        }
    }

    /// Starts a node that is down, and has its user watch everything.
    pub(super) fn start_watched(&mut self, id: HostId) {
        self.start(id);
        self.ask(id, Request::Events).unwrap();
    }

    /// Waits until nodes know the hashes of all that they share.
    pub(super) fn let_them_hash(&mut self, ids: &[HostId]) {
        self.run_until("all hashes are known", minutes(5), |world| {
            ids.iter().all(|&id| {
                let (shared, library) = (world.hosts[id.0].disk.share.len() as u64, world.node(id).library());
                library.len() == shared && library.unhashed() == 0
            })
        });
    }

    /// The row of a download as the node has it now.
    pub(super) fn row(&mut self, id: HostId, download: u32) -> Option<DownloadRow> {
        match self.ask(id, Request::Downloads { after: download - 1 }) {
            Ok(Reply::Downloads(reply)) => reply.downloads.into_iter().find(|row| row.id == download),
            other => self.violation(id, &format!("downloads were answered with {other:?}")),
        }
    }

    pub(super) fn links(&self, id: HostId) -> Vec<LinkState> {
        self.node(id).links(self.now).iter().map(|link| link.state).collect()
    }

    /// The endpoints that a node searches, and which of them are up.
    pub(super) fn neighbours(&mut self, id: HostId) -> Vec<(SocketAddr, bool)> {
        let Ok(Reply::Peers(rows)) = self.ask(id, Request::Peers) else { self.violation(id, "no peers are told") };
        let neighbours = rows.into_iter().filter(|row| row.neighbour).map(|row| row.addr);
        neighbours.map(|addr| (addr, self.by_addr.get(&addr).is_some_and(|host| self.hosts[host.0].up))).collect()
    }

    /// Begins a search and gives its number.
    pub(super) fn begin_search(&mut self, id: HostId, text: &str) -> u32 {
        let request = Request::Search { text: RawText::new(text), max: None, ttl: None };
        match self.ask(id, request) {
            Ok(Reply::SearchStarted(started)) => started.search,
            other => self.violation(id, &format!("a search was answered with {other:?}")),
        }
    }

    /// Searches to the end, and gives the hits and the TTLs of the rings that went out.
    pub(super) fn search(&mut self, id: HostId, text: &str) -> (Vec<HitRow>, Vec<u8>) {
        let search = self.begin_search(id, text);
        let told = |world: &World| world.hosts[id.0].notices.clone();
        self.run_until("the search is done", seconds(60), |world| {
            let done = |notice: &Notice| matches!(notice, Notice::SearchDone { search: of, .. } if *of == search);
            world.hosts[id.0].notices.iter().any(|notice| done(notice))
        });
        let ring = |notice: &Notice| match notice {
            Notice::Ring { search: of, ttl, .. } if *of == search => Some(*ttl),
            _ => None,
        };
        let rings = told(self).iter().filter_map(|notice| ring(notice)).collect();
        (self.hits(id, search), rings)
    }

    /// The rows of one search or listing.
    pub(super) fn hits(&mut self, id: HostId, search: u32) -> Vec<HitRow> {
        let mut hits = Vec::new();
        let mut after = 0;
        loop {
            match self.ask(id, Request::Hits { search: Some(search), after }) {
                Ok(Reply::Hits(page)) => {
                    hits.extend(page.hits.iter());
                    match page.next {
                        Some(next) => after = next,
                        None => return hits,
                    }
                }
                other => self.violation(id, &format!("hits were answered with {other:?}")),
            }
        }
    }

    /// Begins the download of a hit and gives its number.
    pub(super) fn download_hit(&mut self, id: HostId, hit: u32) -> u32 {
        self.begin_download(id, Selector::Hits(hit.to_string()))
    }

    /// Begins the download of a peer's file and gives its number.
    pub(super) fn download_from(&mut self, id: HostId, peer: HostId, name: &str) -> u32 {
        let peer = self.addr(peer);
        self.download_at(id, peer, name)
    }

    /// The same by the peer's address.
    pub(super) fn download_at(&mut self, id: HostId, peer: SocketAddr, name: &str) -> u32 {
        self.begin_download(id, Selector::File { peer, name: RawText::new(name) })
    }

    /// Begins the download of a content among the hits and gives its number.
    pub(super) fn download_content(&mut self, id: HostId, content: Content) -> u32 {
        self.begin_download(id, Selector::Content(content.b3().to_string()))
    }

    pub(super) fn begin_download(&mut self, id: HostId, what: Selector) -> u32 {
        match self.ask(id, Request::Download { what: vec![what], output: None }) {
            Ok(Reply::Downloads(reply)) if reply.downloads.len() == 1 => reply.downloads[0].id,
            other => self.violation(id, &format!("a download was answered with {other:?}")),
        }
    }

    /// The row of a download as the last notice or answer told it.
    pub(super) fn download(&self, id: HostId, download: u32) -> Option<DownloadRow> {
        self.hosts[id.0].notices.iter().rev().find_map(|notice| match &**notice {
            Notice::Download { download: row } if row.id == download => Some(row.clone()),
            _ => None,
        })
    }

    /// Waits for a download to reach a state.
    #[track_caller]
    pub(super) fn await_download(&mut self, id: HostId, download: u32, state: DownloadState, span: Duration) {
        self.run_until(&format!("download {download} is {state:?}"), span, |world| {
            world.download(id, download).is_some_and(|row| row.state == state)
        });
    }

    /// Has a host send a message on its own: for rogues.
    pub(super) fn send(&mut self, from: HostId, to: HostId, message: Message) {
        let to = self.addr(to);
        self.send_all(from, vec![(to, vec![message])]);
    }
}
