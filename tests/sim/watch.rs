//! Rules of the protocol that hold for every node at every moment, checked on what it says; and the trace of it.

use crate::conn::Want;
use crate::host::{HostId, Program};
use crate::world::World;
use pyrate::content::Manifest;
use pyrate::id::{ContentHash, QueryId};
use pyrate::node::contract::Action;
use pyrate::time::Instant;
use pyrate::wire::{MESSAGE_BYTES_MAX, Message, Search, SearchResponse};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// For so long a node remembers which searches it has seen.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// Most hits to a `p1` requester (PROTOCOL, Matching).
const HITS_MAX: usize = 50;

/// One search as one host sees it.
type Seen = (HostId, QueryId, SocketAddr);

/// What a host may do about a search, from what reached it.
#[derive(Debug)]
struct Sighting {
    /// When the search was last new to the host.
    first: Instant,
    /// The highest TTL since then, within the host's own limit.
    ttl: u8,
    /// The highest TTL ever.
    ttl_ever: u8,
    /// How often it may have been sent on to each neighbour.
    forwards: u32,
    /// How often it may have been answered.
    answers: u32,
}

/// What is remembered of what hosts have heard and said. Only looked things up in: its order shows nowhere.
#[derive(Default)]
pub(crate) struct Watch {
    sightings: HashMap<Seen, Sighting>,
    /// How often a host answered a search.
    answered: HashMap<Seen, u32>,
    /// How often a host sent a search to an endpoint.
    sent: HashMap<(Seen, SocketAddr), u32>,
    /// Who has shown a host that it speaks `p1`.
    pub(crate) shown: HashSet<(HostId, SocketAddr)>,
    /// Who has sent a host nothing when it was asked for a file.
    pub(crate) refused: HashSet<(HostId, SocketAddr)>,
    /// The manifests that nodes were sent.
    pub(crate) manifests: BTreeMap<ContentHash, Manifest>,
    /// Copies that nodes have sent of searches by text that users of nodes made.
    pub(crate) user_search_copies: u64,
    trace: Trace,
    /// Every action is printed.
    aloud: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { aloud: std::env::var_os("PYRATE_SIM_ALOUD").is_some(), ..Self::default() }
    }

    pub(crate) fn trace(&self) -> u64 {
        self.trace.0
    }

    /// A host started again and remembers nothing.
    pub(crate) fn forget(&mut self, host: HostId) {
        self.sightings.retain(|seen, _| seen.0 != host);
        self.answered.retain(|seen, _| seen.0 != host);
        self.sent.retain(|(seen, _), _| seen.0 != host);
    }
}

/// FNV-1a over the text of every action.
struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl World {
    /// Adds an action to the trace.
    pub(crate) fn watch_action(&mut self, host: HostId, action: &Action) {
        let at = self.now.as_ms();
        if self.watch.aloud {
            println!("{at} {} {action:?}", host.0);
        }
        // Hashing cannot fail.
        let _ = write!(self.watch.trace, "{at} {} {action:?}", host.0);
    }

    /// A message reaches a node.
    pub(crate) fn watch_request(&mut self, host: HostId, from: SocketAddr, message: &Message) {
        self.watch_speech(host, from, message);
        let Message::Search(Search { id, requester, ttl, .. }) = message else { return };
        let (now, max_ttl) = (self.now, self.hosts[host.0].config.as_ref().map_or(u8::MAX, |config| config.max_ttl));
        let ttl = (*ttl).min(max_ttl);
        let new = || Sighting { first: now, ttl, ttl_ever: ttl, forwards: 1, answers: 1 };
        let sighting = match self.watch.sightings.entry((host, id.clone(), *requester)) {
            Entry::Vacant(vacant) => {
                vacant.insert(new());
                return;
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        sighting.ttl_ever = sighting.ttl_ever.max(ttl);
        if now.saturating_since(sighting.first) >= MEMORY {
            (sighting.first, sighting.ttl) = (now, ttl);
            sighting.forwards += 1;
            sighting.answers += 1;
        } else if ttl > sighting.ttl {
            sighting.ttl = ttl;
            sighting.forwards += 1;
        }
    }

    /// A node sends messages.
    pub(crate) fn watch_dial(
        &mut self,
        host: HostId,
        to: SocketAddr,
        to_bootstrap: bool,
        messages: &[Message],
        want: &Want,
    ) {
        if to == self.addr(host) {
            self.violation(host, "it sends to itself");
        }
        if messages.is_empty() {
            self.violation(host, "it dials and has nothing to say");
        }
        let hits = messages.iter().filter(|message| matches!(message, Message::SearchResponse(_))).count();
        if hits > HITS_MAX || (hits > 0 && hits < messages.len()) {
            self.violation(host, "hits are alone on their connection, and at most fifty");
        }
        for message in messages {
            if message.encode().len() > MESSAGE_BYTES_MAX {
                self.violation(host, "a message is too long");
            }
            match message {
                Message::Search(search) => self.watch_search(host, to, search),
                Message::SearchResponse(response) => self.watch_hit(host, to, response, messages.len()),
                Message::FirstContact { id, .. } if *want == Want::FirstContact && id.is_p1() => {}
                Message::DownloadRequest { .. } if matches!(want, Want::File(_)) => {}
                Message::ListFiles { .. } if *want == Want::FileList => {}
                Message::RangeRequest { .. } if matches!(want, Want::File(_) | Want::Manifest { .. }) => {
                    self.watch_part_2(host, to, message);
                }
                Message::MetadataRequest { .. } if matches!(want, Want::Metadata { .. } | Want::FileInfo) => {
                    self.watch_part_2(host, to, message);
                }
                _ if to_bootstrap => {}
                _ => self.violation(host, &format!("{to} is no bootstrap node, and is sent {message:?}")),
            }
        }
        if let Some(Message::SearchResponse(first)) = messages.first() {
            self.watch_answer(host, to, &first.id);
        }
    }

    /// TTLs never grow, and nobody gets the same search again unless it came again with a higher TTL.
    fn watch_search(&mut self, host: HostId, to: SocketAddr, search: &Search) {
        let is_of_node = |id: &HostId| matches!(self.hosts[id.0].program, Program::Node(_));
        if self.by_addr.get(&search.requester).is_some_and(is_of_node) && !search.text.starts_with(b"b3=") {
            self.watch.user_search_copies += 1;
        }
        let seen = (host, search.id.clone(), search.requester);
        let allowed = if search.requester == self.addr(host) {
            1
        } else {
            match self.watch.sightings.get(&seen) {
                Some(sighting) if search.ttl < sighting.ttl_ever => sighting.forwards,
                Some(_) => self.violation(host, "it forwards a search with a TTL that is not lower"),
                None => self.violation(host, "it forwards a search that it never received"),
            }
        };
        if to == search.requester {
            self.violation(host, "it forwards a search to its requester");
        }
        let sent = self.watch.sent.entry((seen, to)).or_default();
        *sent += 1;
        if *sent > allowed {
            self.violation(host, &format!("it sends {to} the same search again"));
        }
    }

    /// Hits go where a search asked for them, name the node itself, and a file that it shares.
    fn watch_hit(&mut self, host: HostId, to: SocketAddr, hit: &SearchResponse, hits: usize) {
        if hit.responder != self.addr(host) {
            self.violation(host, "a hit names somebody else as its responder");
        }
        if !self.watch.sightings.contains_key(&(host, hit.id.clone(), to)) {
            self.violation(host, "it answers a search that it never received");
        }
        if !hit.id.is_p1() && (hits > 1 || hit.file.attributes.is_some()) {
            self.violation(host, "it speaks p1 to a requester that did not show it");
        }
        if to.port() < 1024 {
            self.violation(host, "a hit goes to a system port");
        }
        self.watch_told_file(host, &hit.file);
    }

    /// A search is answered once, on one connection.
    fn watch_answer(&mut self, host: HostId, to: SocketAddr, id: &QueryId) {
        let seen = (host, id.clone(), to);
        let allowed = self.watch.sightings.get(&seen).map_or(0, |sighting| sighting.answers);
        let answered = self.watch.answered.entry(seen).or_default();
        *answered += 1;
        if *answered > allowed {
            self.violation(host, &format!("it answers {to} a second time"));
        }
    }
}
