//! Metadata on their way to peers (PROTOCOL, "Ranges and metadata"): one copy in memory for each content, however many peers
//! ask for it, and a limit on all of them together.

use super::hashing::Hashing;
use crate::content::{ChainingValue, group_count};
use crate::control::LimitedReply;
use crate::id::ContentHash;
use crate::library::ScannedFile;
use crate::network::Network;
use crate::wire::encode_metadata;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// Bytes of all metadata on their way. Those of one larger content are sent while no other are.
const METADATA_BYTES_MAX: u64 = 64 << 20;

/// Of these, those that one network has asked for: others have the rest, also where it has those of one larger content.
const METADATA_BYTES_PER_NETWORK_MAX: u64 = METADATA_BYTES_MAX / 2;

/// Metadata up to this size, as of a file of 128 MiB, are always sent: they are bounded by the number of connections.
const METADATA_SMALL_BYTES: u64 = 4 << 10;

/// The metadata that some connection still sends. As many as there are connections, at most.
#[derive(Debug, Default)]
pub(super) struct MetadataBodies {
    by_content: BTreeMap<ContentHash, Body>,
}

/// Those of one content.
#[derive(Debug)]
struct Body {
    bytes: Weak<Vec<u8>>,
    /// Who asked for them first.
    network: Network,
}

impl MetadataBodies {
    /// Those of a content, if they are being sent.
    fn get(&self, b3: ContentHash) -> Option<Rc<Vec<u8>>> {
        self.by_content.get(&b3)?.bytes.upgrade()
    }

    /// Whether there is room for those of another content, of this size, that a network asks for.
    fn has_room(&mut self, bytes: u64, network: Network) -> bool {
        self.by_content.retain(|_, body| body.bytes.strong_count() > 0);
        let mut held: BTreeMap<Network, u64> = BTreeMap::new();
        for (network, body) in self.by_content.values().filter_map(|body| Some((body.network, body.bytes.upgrade()?))) {
            *held.entry(network).or_default() += body.len() as u64;
        }
        let ours = held.get(&network).copied().unwrap_or(0);
        // What a network has beyond its half does not count against others.
        let in_all: u64 = held.values().map(|held| (*held).min(METADATA_BYTES_PER_NETWORK_MAX)).sum();
        held.is_empty()
            || bytes <= METADATA_SMALL_BYTES
            || ours.saturating_add(bytes) <= METADATA_BYTES_PER_NETWORK_MAX
                && in_all.saturating_add(bytes) <= METADATA_BYTES_MAX
    }

    /// The same; counts what is refused.
    fn admits(&mut self, bytes: u64, network: Network, limited: &mut LimitedReply) -> bool {
        let admits = self.has_room(bytes, network);
        limited.metadata_refused += u64::from(!admits);
        admits
    }

    fn insert(&mut self, b3: ContentHash, network: Network, body: Vec<u8>) -> Rc<Vec<u8>> {
        let body = Rc::new(body);
        self.by_content.insert(b3, Body { bytes: Rc::downgrade(&body), network });
        body
    }

    /// Those of a file that a network asks for.
    pub(super) fn body(
        &mut self,
        file: &ScannedFile,
        b3: ContentHash,
        network: Network,
        hashing: &Hashing,
        limited: &mut LimitedReply,
    ) -> Result<Rc<Vec<u8>>, Unsent> {
        if let Some(body) = self.get(b3) {
            return Ok(body);
        }
        let groups = group_count(file.meta.size);
        let bytes = groups * size_of::<ChainingValue>() as u64;
        if !self.admits(bytes, network, limited) {
            return Err(Unsent::NoRoom);
        }
        let chain = if groups > 1 { hashing.chain(&file.meta, b3) } else { Some(Vec::new()) };
        let body = encode_metadata(file.meta.size, b3, &chain.ok_or(Unsent::NotHashed)?);
        Ok(self.insert(b3, network, body))
    }
}

pub(crate) enum Unsent {
    /// Those of other contents fill the memory that there is for them.
    NoRoom,
    /// The hash cache lacks them.
    NotHashed,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn network(n: u8) -> Network {
        Network::of([192, 0, 2, n].into())
    }

    fn hash(n: u8) -> ContentHash {
        ContentHash([n; 32])
    }

    #[test]
    fn many_that_ask_for_one_content_share_one_copy() {
        let mut bodies = MetadataBodies::default();
        let first = bodies.insert(hash(1), network(1), vec![0; 40 * MIB]);
        let all: Vec<_> = (0..250).map(|_| bodies.get(hash(1)).unwrap()).collect();
        assert!(all.iter().all(|body| Rc::ptr_eq(body, &first)));
        assert_eq!(Rc::strong_count(&first), 251);
    }

    #[test]
    fn those_of_other_contents_are_let_in_while_there_is_room_and_again_when_some_are_sent() {
        let mut bodies = MetadataBodies::default();
        assert!(bodies.has_room(u64::MAX, network(1)), "a larger one alone");
        let one = bodies.insert(hash(1), network(1), vec![0; 30 * MIB]);
        let two = bodies.insert(hash(2), network(2), vec![0; 30 * MIB]);
        assert!(bodies.has_room(4 * MIB as u64, network(3)));
        assert!(!bodies.has_room(4 * MIB as u64 + 1, network(3)));
        let three = bodies.insert(hash(3), network(3), vec![0; 4 * MIB]);
        assert!(bodies.has_room(METADATA_SMALL_BYTES, network(4)));
        assert!(!bodies.has_room(METADATA_SMALL_BYTES + 1, network(4)));
        drop(three);
        drop(two);
        assert!(bodies.has_room(32 * MIB as u64, network(3)));
        assert_eq!(bodies.by_content.len(), 1, "what is sent is forgotten");
        drop(one);
        assert!(bodies.get(hash(1)).is_none() && bodies.has_room(u64::MAX, network(1)));
    }

    #[test]
    fn one_network_has_half_and_what_is_refused_is_counted() {
        let (mut bodies, mut limited) = (MetadataBodies::default(), LimitedReply::default());
        let mut held = Vec::new();
        for n in 0..64 {
            if bodies.admits(MIB as u64, network(1), &mut limited) {
                held.push(bodies.insert(hash(n), network(1), vec![0; MIB]));
            }
        }
        assert_eq!((held.len(), limited.metadata_refused), (32, 32));
        assert!(bodies.admits(32 * MIB as u64, network(2), &mut limited), "another has the other half");
        held.clear();
        held.push(bodies.insert(hash(100), network(1), vec![0; 200 * MIB]));
        assert!(bodies.admits(32 * MIB as u64, network(2), &mut limited), "also beside one that is larger than all");
        assert!(!bodies.admits(MIB as u64, network(1), &mut limited));
        assert_eq!(limited.metadata_refused, 33);
    }
}
