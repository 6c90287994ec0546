//! Who is taken as a source of a download, and what each may be asked for.
//!
//! | a source | what it may do for a download of a name |
//! |---|---|
//! | chosen: the user named it, or a hit that it offers | everything; it alone may teach which content the name has |
//! | found by the hash that a chosen one has taught | everything: the hash proves what it sends |
//! | found by a search for the name alone | send all of it, in place of the chosen ones: unverified while no hash is known |
//!
//! Peers that have nothing to do with each other share other contents under the same name. So while no hash is known, a
//! source of the third kind is held in reserve until each chosen one has been given up, or was out of reach some times in
//! a row; and what it sends is never shown as verified. Once a hash is known it is dropped: who has that content is found
//! by the hash. A download of a content has no use for the difference: the hash proves everything.
//!
//! Who gives way when all places for the sources of a download are taken and another is found.
//!
//! | in this order | gives way to |
//! |---|---|
//! | who sent wrong bytes, or said no to everything | anybody |
//! | who failed and has brought nothing, most failures first | one whose network has no more places than its own |
//! | who was not asked yet, of the network that has most places | one whose network has fewer, or whom the user named |
//! | who was not asked yet and has not shown what it speaks | one that has, and whose network has fewer places |
//!
//! Who has brought anything that counts, or is asked now, stays. Who sent wrong bytes is remembered when its place goes, so
//! that it does not come back as if it were new. On the loopback network, where many peers share one address, each port
//! counts as a network.

use super::DownloadMachine;
use super::names::Names;
use super::source::{Charge, Doubt, Origin, Source, Standing, Task};
use super::state::{Download, Want};
use crate::id::TransferId;
use crate::name::FileName;
use crate::network::Network;
use crate::node::answer::{Answer, Teller};
use crate::node::cx::Subject;
use crate::node::limits::{HIT_SOURCES_MAX, LEFT_OUT_MAX, SOURCE_SILENCES_MAX};
use crate::node::network::{Net, Peers, canonical};
use crate::node::speech::Speech;
use crate::time::Instant;
use crate::wire::Listed;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// What a hit meant for a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing new.
    Known,
    /// A source has a further name.
    Changed,
    /// There is one more source to ask now.
    ToAsk,
}

/// What became of a source that wants a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// There is none for it.
    Refused,
    /// One was free.
    Added,
    /// Another source has given way.
    Displaced,
}

/// How little a source is worth its place; the greatest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// `unheard`: neither it nor a list has shown what it speaks.
    Untried { share: usize, unheard: bool },
    /// It was asked, and has brought nothing.
    Failing { failures: u32, share: usize },
    /// It sent wrong bytes, or said no to everything.
    Useless,
}

/// What shares the places.
fn sharer(addr: SocketAddr) -> (Network, u16) {
    let port = if addr.ip().to_canonical().is_loopback() { addr.port() } else { 0 };
    (Network::of(addr.ip()), port)
}

impl Source {
    /// A hit offers the content under this name.
    fn take_hit(
        &mut self,
        name: &Rc<FileName>,
        size: Option<u64>,
        teller: Teller,
        sought_at: Option<Instant>,
    ) -> Found {
        if matches!(self.standing, Standing::Corrupt) {
            return Found::Known;
        }
        let is_first = self.asked_at < sought_at;
        if is_first {
            self.names_told.reset();
        }
        let is_known = self.names.iter().any(|known| known == name);
        let may_ask = match teller {
            Teller::Source if self.names.is_refused(name) => is_first,
            // Names that others have told may have had it asked since.
            Teller::Source if self.names.was_its_own(name) && !self.names_told.are_of_others() => is_first,
            // It may have the content again under a name that had another, as long as it does not say so without end.
            Teller::Source => is_first || self.names.is_good(name) || self.names_told.allow(teller),
            // A name that is known once after each search, and new ones as long as they may all be remembered.
            Teller::Others if is_known => is_first,
            Teller::Others => is_first || self.names_told.allow(teller),
        };
        let is_news = may_ask && self.names.add(name, teller);
        // Who rests is asked again anyway, and may only be busy: a hit under the same name does not hasten that.
        let is_to_ask = match self.standing {
            Standing::Refused => is_news || is_first,
            Standing::Resting { .. } => is_news && !is_known,
            Standing::Idle | Standing::Reserve | Standing::Busy(_) | Standing::Corrupt => false,
        };
        if is_to_ask {
            self.size = size.or(self.size);
            self.give_another_chance();
            return Found::ToAsk;
        }
        if is_news { Found::Changed } else { Found::Known }
    }
}

impl Download {
    /// What makes who offers this file a source of this download: its content; or its exact name, as long as nobody says
    /// that the content or the size is another. `None` if nothing does.
    fn origin_of(&self, file: &Listed) -> Option<Origin> {
        let told = file.attributes.unwrap_or_default();
        let same_size = || told.size.is_none() || self.size().is_none() || told.size == self.size();
        match (self.want.b3(), told.b3) {
            (Some(wanted), Some(b3)) => (wanted == b3).then_some(Origin::Content),
            _ => (file.name == self.name && same_size()).then_some(Origin::Name),
        }
    }

    /// Takes a source that a search found, or a further name of one that is known.
    fn add_found(
        &mut self,
        addr: SocketAddr,
        file: &Listed,
        teller: Teller,
        origin: Origin,
        peers: &Peers,
    ) -> (Found, Placed) {
        let told = file.attributes.unwrap_or_default();
        let name = Rc::new(file.name.clone());
        let sought_at = self.seek.sought_at;
        if let Some(known) = self.sources.iter_mut().find(|source| source.addr == addr) {
            if known.origin == Origin::Name {
                known.origin = origin;
            }
            return (known.take_hit(&name, told.size, teller, sought_at), Placed::Refused);
        }
        let in_reserve = origin == Origin::Name && self.want == Want::Name;
        let standing = if in_reserve { Standing::Reserve } else { Standing::Idle };
        let names = Names::new(Rc::clone(&name), teller);
        let source = Source { names, origin, standing, ..Source::new(addr, name, told.size) };
        let placed = self.place_source(source, false, peers);
        let found = match (placed, in_reserve && !self.needs_reserve()) {
            (Placed::Refused, _) => Found::Known,
            (_, false) => Found::ToAsk,
            (_, true) => Found::Changed,
        };
        (found, placed)
    }

    /// Whether no source that the user chose can give the file of this name: each was given up, or is out of reach and was
    /// some times in a row.
    pub(super) fn needs_reserve(&self) -> bool {
        let mut chosen = self.sources.iter().filter(|source| source.origin == Origin::Chosen);
        chosen.all(|source| match source.standing {
            Standing::Refused | Standing::Corrupt => true,
            Standing::Resting { .. } => source.silences >= SOURCE_SILENCES_MAX,
            Standing::Idle | Standing::Reserve | Standing::Busy(_) => false,
        })
    }

    /// Calls who is in reserve if nobody else can help, and sends them back otherwise.
    pub(super) fn call_reserve(&mut self) {
        if self.want != Want::Name {
            return;
        }
        let is_needed = self.needs_reserve();
        for source in self.sources.iter_mut().filter(|source| source.origin == Origin::Name) {
            match source.standing {
                Standing::Reserve if is_needed => source.standing = Standing::Idle,
                Standing::Idle if !is_needed => source.standing = Standing::Reserve,
                _ => {}
            }
        }
    }

    /// Begins again with the name alone: who was found by a content that counts no more is no source, and who was chosen
    /// was chosen for this name.
    pub(super) fn return_to_chosen(&mut self) {
        self.keep_chosen();
        self.want = Want::Name;
        let name = Rc::new(self.name.clone());
        for source in &mut self.sources {
            source.names = Names::new(Rc::clone(&name), Teller::Source);
            source.doubt = None;
        }
    }

    /// Takes a source at an address that has none, in a free place or in that of one that gives way.
    pub(super) fn place_source(&mut self, source: Source, by_user: bool, peers: &Peers) -> Placed {
        let is_known = self.sources.iter().any(|known| known.addr == source.addr);
        if is_known || self.left_out.contains(&source.addr) && !by_user {
            return Placed::Refused;
        }
        if self.sources.len() < HIT_SOURCES_MAX {
            self.sources.push(source);
            return Placed::Added;
        }
        let Some(place) = self.place_for(source.addr, by_user, peers) else { return Placed::Refused };
        let gone = std::mem::replace(&mut self.sources[place], source);
        if matches!(gone.standing, Standing::Corrupt) {
            if self.left_out.len() >= LEFT_OUT_MAX {
                self.left_out.pop_front();
            }
            self.left_out.push_back(gone.addr);
        }
        Placed::Displaced
    }

    /// The place that a newcomer takes.
    fn place_for(&self, newcomer: SocketAddr, by_user: bool, peers: &Peers) -> Option<usize> {
        let mut shares: BTreeMap<_, usize> = BTreeMap::new();
        self.sources.iter().for_each(|source| *shares.entry(sharer(source.addr)).or_default() += 1);
        let share_of = |addr| shares.get(&sharer(addr)).copied().unwrap_or(0);
        let own = share_of(newcomer);
        let is_heard = |addr| peers.speech(addr) != Speech::Unheard;
        let heard = is_heard(newcomer);
        let gives_way = |worth: Worth| match worth {
            Worth::Useless => true,
            Worth::Failing { share, .. } => own <= share || by_user,
            Worth::Untried { share, unheard } => own + 1 < share || heard && unheard && own < share || by_user,
        };
        let worths = self.sources.iter().enumerate().filter_map(|(at, source)| {
            let unheard = !source.p1 && !is_heard(source.addr);
            let worth = self.worth(source, share_of(source.addr), unheard)?;
            gives_way(worth).then_some((worth, Reverse(at)))
        });
        worths.max().map(|(_, Reverse(at))| at)
    }

    /// `None` if it stays.
    fn worth(&self, source: &Source, share: usize, unheard: bool) -> Option<Worth> {
        let is_chosen = source.origin == Origin::Chosen && !matches!(self.want, Want::Content(_));
        let is_teacher = matches!(self.want, Want::NamedContent { from, .. } if from == source.addr);
        match source.standing {
            _ if is_teacher || source.fetch().is_some() => None,
            Standing::Refused | Standing::Corrupt => Some(Worth::Useless),
            _ if is_chosen || source.has_delivered() => None,
            _ if source.failures > 0 => Some(Worth::Failing { failures: source.failures, share }),
            _ => Some(Worth::Untried { share, unheard }),
        }
    }
}

impl DownloadMachine {
    /// Somebody offers a file, whoever asked: it is a source of the downloads of its content, and perhaps of the download for
    /// which it was sought.
    pub(in crate::node) fn on_found(&mut self, net: &mut Net, found: &Answer, sought: Option<TransferId>) {
        let of_content = found.b3().into_iter().flat_map(|b3| self.downloads.of_content(b3));
        let of_content: Vec<_> = of_content.map(|(id, _)| id).collect();
        let is_among_them = sought.is_some_and(|id| of_content.contains(&id));
        for id in of_content.into_iter().chain(sought.filter(|_| !is_among_them)) {
            self.on_source_found(net, id, found);
        }
    }

    /// A search for further sources of a download found a file.
    pub(in crate::node) fn on_source_found(&mut self, net: &mut Net, id: TransferId, found: &Answer) {
        let (peer, file) = (canonical(found.responder), &found.file);
        let teller = Teller::of(found.from, found.responder);
        let Some(download) = self.downloads.get(id).filter(|row| !row.life().is_over()) else { return };
        let Some(origin) = download.origin_of(file) else {
            return self.doubt_learnt(net, id, peer, file);
        };
        let size = file.attributes.and_then(|told| told.size);
        let found = self.downloads.change_sources(id, |row| {
            row.adopt(&file.name, size);
            row.add_found(peer, file, teller, origin, net.network.peers())
        });
        let (found, placed) = found.unwrap_or((Found::Known, Placed::Refused));
        net.cx.counters.limited.sources_displaced += u64::from(placed == Placed::Displaced);
        match found {
            Found::Known => {}
            Found::Changed => {
                if net.cx.may_log(Subject::FoundSource, peer.ip(), 0) {
                    log::debug!(id = id.0, peer:%, name:% = file.name; "a source was found under another name");
                }
                self.remember_download(net.cx, id);
                self.downloads.mark_dirty(id);
            }
            Found::ToAsk => {
                if net.cx.may_log(Subject::FoundSource, peer.ip(), 0) {
                    log::debug!(id = id.0, peer:%, name:% = file.name; "a source was found");
                }
                self.note_tree(id, peer, &file.name);
                self.on_sources_added(net, id);
            }
        }
    }

    /// A hit says that the source which has taught the hash has another content under the name asked for. Whoever relays
    /// a hit may have made it up: the source itself is asked, once after each search.
    fn doubt_learnt(&mut self, net: &mut Net, id: TransferId, peer: SocketAddr, file: &Listed) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let taught = matches!(download.want, Want::NamedContent { from, .. } if from == peer);
        if !taught || file.name != download.name || file.attributes.is_none_or(|told| told.b3.is_none()) {
            return;
        }
        let sought_at = download.seek.sought_at;
        let Some(source) = download.sources.iter_mut().find(|source| source.addr == peer) else { return };
        // Who is asked anyway shows by itself what it has.
        if !source.p1 || !matches!(source.standing, Standing::Refused) || source.asked_at >= sought_at {
            return;
        }
        source.give_another_chance();
        let name = Rc::new(file.name.clone());
        source.doubt = Some(Doubt { task: Task::Identify, name, charge: Charge::OtherByHit });
        self.on_sources_added(net, id);
    }

    /// A user names sources of the content of a download that is there already.
    pub(super) fn add_sources(&mut self, net: &mut Net, id: TransferId, sources: Vec<Source>) {
        let sources = sources.into_iter().map(|source| Source { origin: Origin::Content, ..source });
        let placed = self.downloads.change_sources(id, |download| {
            sources.map(|source| download.place_source(source, true, net.network.peers())).collect::<Vec<_>>()
        });
        let placed = placed.unwrap_or_default();
        let displaced = placed.iter().filter(|placed| **placed == Placed::Displaced).count();
        net.cx.counters.limited.sources_displaced += displaced as u64;
        if placed.iter().any(|placed| *placed != Placed::Refused) {
            self.on_sources_added(net, id);
        }
    }

    /// A peer that may have a file of a directory is a source of it.
    pub(super) fn offer_source(&mut self, net: &mut Net, id: TransferId, source: Source) {
        let placed =
            self.downloads.change_sources(id, |download| download.place_source(source, false, net.network.peers()));
        if placed.is_some_and(|placed| placed != Placed::Refused) {
            self.on_sources_added(net, id);
        }
    }

    fn on_sources_added(&mut self, net: &mut Net, id: TransferId) {
        self.learn_speech(net.network, id);
        self.remember_download(net.cx, id);
        if self.downloads.get(id).is_some_and(|row| row.life().is_waiting()) {
            self.requeue_download(net.cx, id);
        }
        self.downloads.mark_dirty(id);
    }
}
