//! One hit: a content with all names that its sources use, or a name with unknown content.

use super::row_shares::{Backing, Holder};
use crate::control::{HitRow, RawText};
use crate::id::{ContentHash, HitId, SearchId};
use crate::name::FileName;
use crate::node::answer::{Answer, Teller};
use crate::node::limits::{HIT_NAMES_MAX, HIT_ROW_NAMES_BYTES_MAX, HIT_SOURCES_MAX};
use crate::wire::Attributes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// Answers with the same key are one hit: by content if it is known, else by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum HitKey {
    Content { search: SearchId, b3: ContentHash, size: Option<u64> },
    Directory { search: SearchId, name: Rc<FileName> },
    Name { search: SearchId, name: Rc<FileName>, size: Option<u64> },
}

/// How answers become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grouping {
    /// For a search: one row for each content, or for each name whose hash is unknown.
    Content,
    /// For a listing: one row for each name, so that every file of the peer is shown.
    Name,
    /// For the directories that a search has found: one row for each path.
    Directory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The search has as many rows as wanted.
    Enough,
    /// Its sender has its share of the rows, and others need the rest.
    OverShare,
    NoRoom,
}

/// What the count of the files in one directory of one source takes, at most, roughly, beside the path.
const FILES_IN_BYTES: usize = 96;

#[derive(Debug, Clone)]
struct Offer {
    source: SocketAddr,
    /// One of the names of the hit.
    name: Rc<FileName>,
    /// The beginning of the name that is a directory which the search has found.
    directory: Option<Rc<FileName>>,
    /// As in [`Answer`].
    from: SocketAddr,
}

impl Offer {
    fn backing(&self) -> Backing {
        Backing::of(self.from, self.source)
    }

    fn teller(&self) -> Teller {
        Teller::of(self.from, self.source)
    }
}

#[derive(Debug, Clone)]
pub(in crate::node) struct Hit {
    search: SearchId,
    size: Option<u64>,
    b3: Option<ContentHash>,
    grouping: Grouping,
    /// Distinct; that of the first source is first. Never empty.
    names: Vec<Rc<FileName>>,
    /// Distinct sources; never empty.
    offers: Vec<Offer>,
}

impl Hit {
    pub(super) fn new(search: SearchId, grouping: Grouping, answer: Answer) -> Self {
        let Answer { file, responder, from } = answer;
        let Attributes { size, b3, .. } = file.attributes.unwrap_or_default();
        let name = Rc::new(file.name);
        let offers = vec![Offer { source: responder, name: Rc::clone(&name), directory: None, from }];
        Self { search, size, b3, grouping, names: vec![name], offers }
    }

    /// The same, of a file in a directory that the search has found.
    pub(super) fn in_directory(mut self, directory: Option<FileName>) -> Self {
        let directory = directory.map(Rc::new);
        self.offers.iter_mut().for_each(|offer| offer.directory.clone_from(&directory));
        self
    }

    pub(in crate::node) fn is_directory(&self) -> bool {
        self.grouping == Grouping::Directory
    }

    /// Of a file: the directories that the search has found, each with the source that has the file in it.
    pub(super) fn directories(&self) -> impl Iterator<Item = (SocketAddr, &Rc<FileName>)> {
        self.offers.iter().filter_map(|offer| Some((offer.source, offer.directory.as_ref()?)))
    }

    /// The name in the first source's share.
    pub(in crate::node) fn name(&self) -> &FileName {
        &self.names[0]
    }

    pub(in crate::node) fn size(&self) -> Option<u64> {
        self.size
    }

    pub(in crate::node) fn b3(&self) -> Option<ContentHash> {
        self.b3
    }

    pub(in crate::node) fn search(&self) -> SearchId {
        self.search
    }

    /// Sources, their names for it, and who reported them.
    pub(in crate::node) fn offers(&self) -> impl Iterator<Item = (SocketAddr, &Rc<FileName>, Teller)> {
        self.offers.iter().map(|offer| (offer.source, &offer.name, offer.teller()))
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = SocketAddr> {
        self.offers.iter().map(|offer| offer.source)
    }

    /// The backings of its offers, if the rows of its search are divided among networks.
    pub(super) fn backings(&self) -> impl Iterator<Item = Backing> {
        self.offers.iter().filter(|_| self.grouping != Grouping::Name).map(Offer::backing)
    }

    pub(super) fn key(&self) -> HitKey {
        match (self.grouping, self.b3) {
            (Grouping::Content, Some(b3)) => HitKey::Content { search: self.search, b3, size: self.size },
            (Grouping::Content | Grouping::Name, _) => self.name_key(),
            (Grouping::Directory, _) => HitKey::Directory { search: self.search, name: Rc::clone(&self.names[0]) },
        }
    }

    pub(super) fn name_key(&self) -> HitKey {
        HitKey::Name { search: self.search, name: Rc::clone(&self.names[0]), size: self.size }
    }

    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.as_bytes().len()).sum();
        let of_directory = |(_, path): (SocketAddr, &Rc<FileName>)| path.as_bytes().len() + FILES_IN_BYTES;
        names + self.offers.len() * size_of::<Offer>() + self.directories().map(of_directory).sum::<usize>()
    }

    pub(super) fn is_offered_by(&self, source: SocketAddr) -> bool {
        self.offers.iter().any(|offer| offer.source == source)
    }

    pub(super) fn is_only_source(&self) -> bool {
        self.offers.len() == 1
    }

    /// The only source has reported its hash.
    pub(super) fn set_b3(&mut self, b3: ContentHash) {
        self.b3 = Some(b3);
    }

    /// Removes a source, but not the last one: users may have seen the row.
    pub(super) fn remove_source(&mut self, source: SocketAddr) {
        if !self.is_only_source() {
            self.offers.retain(|offer| offer.source != source);
        }
    }

    /// Adds the source of another answer for the same row, or a further name of a source. Returns whether that was new.
    pub(super) fn add(&mut self, other: &Hit) -> bool {
        let Some(offer) = other.offers.first() else { return false };
        let known = self.names.iter().find(|known| **known == offer.name).cloned();
        let offered = self.offers.iter_mut().find(|other| other.source == offer.source);
        let is_offered = offered.is_some();
        // A report of the source itself replaces that of another peer, which may have invented the name.
        let mut is_renamed = false;
        if let Some(offered) = offered.filter(|offered| offer.backing().is_own() && offered.teller() == Teller::Others)
        {
            offered.from = offer.from;
            is_renamed = offer.teller() == Teller::Source && offered.name != offer.name;
        }
        let names_max = if is_offered { HIT_NAMES_MAX } else { HIT_SOURCES_MAX };
        let nothing_new = is_offered && known.is_some() && !is_renamed;
        if nothing_new || !is_offered && !self.make_room_for(offer) {
            return false;
        }
        if known.is_none() && self.names.len() >= names_max && !(is_renamed && self.drop_unused_name()) {
            return false;
        }
        let name = known.unwrap_or_else(|| {
            self.names.push(Rc::clone(&offer.name));
            Rc::clone(&offer.name)
        });
        if let Some(offered) = self.offers.iter_mut().find(|other| is_renamed && other.source == offer.source) {
            offered.name = Rc::clone(&name);
            offered.directory.clone_from(&offer.directory);
        }
        if !is_offered {
            self.offers.push(Offer { name, ..offer.clone() });
        }
        true
    }

    /// Drops the newest name that no offer uses, except the first, which is the row's. Returns whether there was one.
    fn drop_unused_name(&mut self) -> bool {
        let is_used = |name: &Rc<FileName>| self.offers.iter().any(|offer| Rc::ptr_eq(&offer.name, name));
        let Some(at) = self.names.iter().skip(1).rposition(|name| !is_used(name)) else { return false };
        self.names.remove(at + 1);
        true
    }

    /// Makes room for a further source: if there is none, drops the newest source of the sender with most of them, if that one
    /// still has more afterwards.
    fn make_room_for(&mut self, offer: &Offer) -> bool {
        if self.offers.len() < HIT_SOURCES_MAX {
            return true;
        }
        let mut places: BTreeMap<Holder, usize> = BTreeMap::new();
        self.offers.iter().for_each(|offer| *places.entry(offer.backing().sender).or_default() += 1);
        let held = places.get(&offer.backing().sender).copied().unwrap_or(0);
        let most = places.into_iter().map(|(holder, places)| (places, holder)).max();
        let Some((_, holder)) = most.filter(|(places, _)| held + 1 < *places) else { return false };
        let Some(at) = self.offers.iter().rposition(|offer| offer.backing().sender == holder) else { return false };
        let gone = self.offers.remove(at);
        // The first name is the row's.
        if !Rc::ptr_eq(&gone.name, &self.names[0])
            && self.offers.iter().all(|offer| !Rc::ptr_eq(&offer.name, &gone.name))
        {
            self.names.retain(|name| !Rc::ptr_eq(name, &gone.name));
        }
        true
    }

    pub(in crate::node) fn row(&self, id: HitId) -> HitRow {
        let mut bytes_left = HIT_ROW_NAMES_BYTES_MAX;
        let fits = |name: &&Rc<FileName>| {
            let fits = name.as_bytes().len() <= bytes_left;
            bytes_left = bytes_left.saturating_sub(name.as_bytes().len());
            fits
        };
        HitRow {
            id: id.0,
            name: RawText::new(self.name().as_bytes()),
            names: self.names.iter().take(HIT_NAMES_MAX).take_while(fits).map(|n| RawText::new(n.as_bytes())).collect(),
            size: self.size,
            b3: self.b3.map(|hash| hash.to_string()),
            sources: self.sources().collect(),
            truncated: false,
            directory: None,
            search: None,
        }
    }
}
