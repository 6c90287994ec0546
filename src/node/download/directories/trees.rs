//! Trees: where peers have the files of a directory. A peer that has one of the files, under a path with the same end, probably
//! has the files beside it. It becomes a source of these as well, so that not each file has to be searched for. So do further
//! peers that a link to the directory names, or that have it as a search has found.
//!
//! A few are offered at first. Each that comes from there lets more be offered, so that a guess that is wrong costs few requests.

use crate::id::TransferId;
use crate::link::LINK_PEERS_MAX;
use crate::name::FileName;
use crate::node::download::DownloadMachine;
use crate::node::download::source::{Origin, Source};
use crate::node::download::state::{Download, Life};
use crate::node::limits::{ORDER_DOWNLOADS_PER_SLICE, TREE_OFFERS_FIRST, TREE_OFFERS_MORE, TREES_MAX};
use crate::node::network::Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound;
use std::rc::Rc;

/// Where a peer may have the files of a directory.
#[derive(Debug)]
struct Tree {
    peer: SocketAddr,
    /// In place of the name of the directory; empty, or ends in `/`.
    prefix: Vec<u8>,
    /// Members to which the peer may still be offered.
    offers: u32,
    /// A member has come from there.
    has_sent: bool,
    /// Whoever ordered the directory has named the peer: no other takes its place.
    is_named: bool,
    /// The member that was looked at last.
    after: Option<FileName>,
    is_through: bool,
    /// Members to be looked at before the others: what they are is known since they were looked at.
    again: BTreeSet<TransferId>,
}

impl Tree {
    fn new(peer: SocketAddr, prefix: Vec<u8>) -> Self {
        Self {
            peer,
            prefix,
            offers: TREE_OFFERS_FIRST,
            has_sent: false,
            is_named: false,
            after: None,
            is_through: false,
            again: BTreeSet::new(),
        }
    }

    fn may_offer(&self) -> bool {
        self.offers > 0 && (!self.is_through || !self.again.is_empty())
    }

    /// The next member to be looked at.
    fn next_member(&mut self, members: &BTreeMap<FileName, TransferId>) -> Option<TransferId> {
        if let Some(member) = self.again.pop_first() {
            return Some(member);
        }
        let from = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = members.range::<FileName, _>((from, Bound::Unbounded)).next();
        self.is_through = next.is_none();
        let (name, member) = next?;
        self.after = Some(name.clone());
        Some(*member)
    }

    /// The name there of a member. `of`: the name of the directory.
    fn name_of(&self, member: &FileName, of: &FileName) -> Option<FileName> {
        let path = member.as_bytes().strip_prefix(of.as_bytes())?;
        FileName::from_bytes(&[&self.prefix, path].concat())
    }
}

/// What stands before the path of a member in a name that a peer has for it.
fn prefix_of(found: &FileName, member: &FileName, directory: &FileName) -> Option<Vec<u8>> {
    let path = member.as_bytes().strip_prefix(directory.as_bytes())?;
    let prefix = found.as_bytes().strip_suffix(path)?;
    (prefix.is_empty() || prefix.ends_with(b"/")).then(|| prefix.to_vec())
}

/// Those of one directory, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Trees(Vec<Tree>);

impl Trees {
    pub(super) fn may_offer(&self) -> bool {
        self.0.iter().any(Tree::may_offer)
    }

    /// Members were added.
    pub(super) fn begin_again(&mut self) {
        for tree in &mut self.0 {
            (tree.after, tree.is_through) = (None, false);
            tree.again.clear();
        }
    }

    /// The content of a member is known by now: each peer may be offered to it.
    pub(super) fn look_again(&mut self, member: TransferId) {
        for tree in &mut self.0 {
            tree.again.insert(member);
        }
    }

    fn of(&mut self, peer: SocketAddr, prefix: &[u8]) -> Option<&mut Tree> {
        self.0.iter_mut().find(|tree| tree.peer == peer && tree.prefix == prefix)
    }

    fn next_to_offer(&mut self) -> Option<&mut Tree> {
        self.0.iter_mut().find(|tree| tree.may_offer())
    }

    /// Adds a tree, if need be in place of the first from which nothing has come: whoever answers a search can name trees.
    fn add(&mut self, tree: Tree) {
        if self.0.iter().filter(|tree| !tree.is_named).count() >= TREES_MAX {
            let Some(at) = self.0.iter().position(|tree| !tree.has_sent && !tree.is_named) else { return };
            self.0.remove(at);
        }
        self.0.push(tree);
    }

    /// Adds a peer that has the directory under the same name.
    pub(super) fn add_named(&mut self, peer: SocketAddr, directory: &FileName) {
        if let Some(tree) = self.of(peer, directory.as_bytes()) {
            tree.is_named = true;
        } else if self.0.iter().filter(|tree| tree.is_named).count() < LINK_PEERS_MAX {
            self.0.push(Tree { is_named: true, ..Tree::new(peer, directory.as_bytes().to_vec()) });
        }
    }
}

impl DownloadMachine {
    /// A search has found a member of a directory under this name.
    pub(in crate::node::download) fn note_tree(&mut self, member: TransferId, peer: SocketAddr, found: &FileName) {
        let Some(row) = self.downloads.get(member).filter(|row| row.want.b3().is_some()) else { return };
        let Some(id) = row.directory else { return };
        let Some(directory) = self.directories.get_mut(id) else { return };
        let Some(prefix) = prefix_of(found, &row.name, &directory.name) else { return };
        match directory.trees.of(peer, &prefix) {
            Some(tree) => tree.offers = tree.offers.saturating_add(TREE_OFFERS_MORE),
            None => directory.trees.add(Tree::new(peer, prefix)),
        }
        self.directories.resume_offers(id);
    }

    /// A member of a directory is done: who has sent of it may have more.
    pub(super) fn credit_trees(&mut self, member: TransferId) {
        let Some(row) = self.downloads.get(member).filter(|row| matches!(row.life(), Life::Done { .. })) else {
            return;
        };
        let Some(id) = row.directory else { return };
        let Some(directory) = self.directories.get_mut(id) else { return };
        for source in row.sources.iter().filter(|source| Some(source.addr) != directory.peer) {
            let prefix = source.names.iter().find_map(|name| prefix_of(name, &row.name, &directory.name));
            let Some(prefix) = prefix else { continue };
            match directory.trees.of(source.addr, &prefix) {
                // Somebody else was sooner: it is offered to another member instead.
                Some(tree) if source.bytes == 0 => tree.offers += u32::from(source.asked_at.is_none()),
                None if source.bytes == 0 => {}
                Some(tree) => (tree.has_sent, tree.offers) = (true, tree.offers.saturating_add(TREE_OFFERS_MORE)),
                // It has given way to others before anything came from there.
                None => {
                    let tree = Tree::new(source.addr, prefix);
                    directory.trees.add(Tree { has_sent: true, offers: TREE_OFFERS_MORE, ..tree });
                }
            }
        }
        self.directories.resume_offers(id);
    }

    /// The content of a member is known by now: a peer may be a source of it.
    pub(in crate::node::download) fn offer_learnt_member(&mut self, member: TransferId) {
        let Some(id) = self.downloads.get(member).and_then(|row| row.directory) else { return };
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.trees.look_again(member);
        self.directories.resume_offers(id);
    }

    /// One slice of offering peers to members. Says whether there is more.
    pub(super) fn offer_trees(&mut self, net: &mut Net, id: TransferId) -> bool {
        for _ in 0..ORDER_DOWNLOADS_PER_SLICE {
            let Some(directory) = self.directories.get_mut(id) else { return false };
            let Some(tree) = directory.trees.next_to_offer() else { return false };
            let Some(member) = tree.next_member(&directory.members) else { continue };
            let Some(row) = self.downloads.get(member).filter(|row| gains_by(row, tree.peer)) else { continue };
            let Some(there) = tree.name_of(&row.name, &directory.name) else { continue };
            tree.offers -= 1;
            let source = Source { origin: Origin::Content, ..Source::new(tree.peer, Rc::new(there), None) };
            self.offer_source(net, member, source);
        }
        true
    }
}

/// Whether a peer would be a further source of a member.
fn gains_by(row: &Download, peer: SocketAddr) -> bool {
    !row.life().is_over() && row.want.b3().is_some() && row.sources.iter().all(|source| source.addr != peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_tree_is_where_the_path_ends_alike() {
        let prefix = |found| prefix_of(&name(found), &name("d/a/b.txt"), &name("d/")).map(String::from_utf8);
        let is = |text: &str| Some(Ok(text.to_owned()));
        assert_eq!(prefix("x/y/a/b.txt"), is("x/y/"));
        assert_eq!(prefix("a/b.txt"), is(""));
        assert_eq!([prefix("x/b.txt"), prefix("xa/b.txt"), prefix("b.txt")], [None, None, None]);
        let tree = Tree::new("192.0.2.1:9".parse().unwrap(), b"x/".to_vec());
        assert_eq!(tree.name_of(&name("d/c"), &name("d/")), Some(name("x/c")));
    }

    #[test]
    fn a_tree_from_which_something_has_come_stays() {
        let mut trees = Trees::default();
        let tree = |port: usize, has_sent| {
            let peer = SocketAddr::from(([192, 0, 2, 1], port as u16));
            Tree { has_sent, ..Tree::new(peer, Vec::new()) }
        };
        trees.add(tree(1, true));
        (2..=2 * TREES_MAX).for_each(|port| trees.add(tree(port, false)));
        let ports: Vec<usize> = trees.0.iter().map(|tree| usize::from(tree.peer.port())).collect();
        assert_eq!(ports, [vec![1], (TREES_MAX + 2..=2 * TREES_MAX).collect()].concat());
        trees.0.iter_mut().for_each(|tree| tree.has_sent = true);
        trees.add(tree(100, false));
        assert_eq!(trees.0.iter().filter(|tree| tree.peer.port() == 100).count(), 0);
    }
}
