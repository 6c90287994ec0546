//! Metadata being sent to peers (PROTOCOL, "Ranges and metadata"): one copy in memory for each content, shared by all requests,
//! and a limit on all copies together.

use crate::content::{ChainingValue, group_count};
use crate::control::LimitedReply;
use crate::id::ContentHash;
use crate::library::ScannedFile;
use crate::network::Network;
use crate::wire::encode_metadata;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// Bytes of all metadata being sent. Larger metadata are sent only while there are no others.
const METADATA_BYTES_MAX: u64 = 64 << 20;

/// Of these, bytes for requests of one network.
const METADATA_BYTES_PER_NETWORK_MAX: u64 = METADATA_BYTES_MAX / 2;

/// Metadata up to this size (a file of 128 MiB) are always sent: the number of connections bounds them.
const METADATA_SMALL_BYTES: u64 = 4 << 10;

/// The metadata that some connection still sends.
#[derive(Debug, Default)]
pub(super) struct MetadataBodies {
    by_content: BTreeMap<ContentHash, Body>,
    /// What jobs read: for whom, and the bytes.
    coming: BTreeMap<ContentHash, (Network, u64)>,
}

#[derive(Debug)]
struct Body {
    bytes: Weak<Vec<u8>>,
    /// Who requested them first.
    network: Network,
}

impl MetadataBodies {
    /// The metadata of a content, if they are being sent.
    fn get(&self, b3: ContentHash) -> Option<Rc<Vec<u8>>> {
        self.by_content.get(&b3)?.bytes.upgrade()
    }

    /// Whether there is room for `bytes` more, requested by this network.
    fn has_room(&mut self, bytes: u64, network: Network) -> bool {
        self.by_content.retain(|_, body| body.bytes.strong_count() > 0);
        let mut held: BTreeMap<Network, u64> = BTreeMap::new();
        for (network, body) in self.by_content.values().filter_map(|body| Some((body.network, body.bytes.upgrade()?))) {
            *held.entry(network).or_default() += body.len() as u64;
        }
        for (network, bytes) in self.coming.values() {
            *held.entry(*network).or_default() += bytes;
        }
        let ours = held.get(&network).copied().unwrap_or(0);
        // Bytes of a network beyond its half do not count against others.
        let total: u64 = held.values().map(|held| (*held).min(METADATA_BYTES_PER_NETWORK_MAX)).sum();
        held.is_empty()
            || bytes <= METADATA_SMALL_BYTES
            || ours.saturating_add(bytes) <= METADATA_BYTES_PER_NETWORK_MAX
                && total.saturating_add(bytes) <= METADATA_BYTES_MAX
    }

    /// Counts a refusal.
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

    /// The metadata of a file, requested by a network.
    pub(super) fn body(
        &mut self,
        file: &ScannedFile,
        b3: ContentHash,
        network: Network,
        limited: &mut LimitedReply,
    ) -> Result<Metadata, Unsent> {
        if let Some(body) = self.get(b3) {
            return Ok(Metadata::Here(body));
        }
        if self.coming.contains_key(&b3) {
            return Ok(Metadata::Coming);
        }
        let groups = group_count(file.meta.size);
        let bytes = groups * size_of::<ChainingValue>() as u64;
        if !self.admits(bytes, network, limited) {
            return Err(Unsent::NoRoom);
        }
        if groups > 1 {
            self.coming.insert(b3, (network, bytes));
            return Ok(Metadata::ToRead);
        }
        let body = encode_metadata(file.meta.size, b3, &[]);
        Ok(Metadata::Here(self.insert(b3, network, body)))
    }

    /// A job has read them, or not found them in the cache.
    pub(super) fn on_read(&mut self, b3: ContentHash, body: Option<Vec<u8>>) -> Option<Rc<Vec<u8>>> {
        let (network, _) = self.coming.remove(&b3)?;
        Some(self.insert(b3, network, body?))
    }

    /// Nobody waits for them any more.
    pub(super) fn forget(&mut self, b3: ContentHash) {
        self.coming.remove(&b3);
    }
}

pub(crate) enum Metadata {
    Here(Rc<Vec<u8>>),
    /// A job reads them.
    Coming,
    /// A job is to read them.
    ToRead,
}

pub(crate) enum Unsent {
    /// [`METADATA_BYTES_MAX`] are being sent.
    NoRoom,
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
    fn requests_for_one_content_share_one_copy() {
        let mut bodies = MetadataBodies::default();
        let first = bodies.insert(hash(1), network(1), vec![0; 40 * MIB]);
        let all: Vec<_> = (0..250).map(|_| bodies.get(hash(1)).unwrap()).collect();
        assert!(all.iter().all(|body| Rc::ptr_eq(body, &first)));
        assert_eq!(Rc::strong_count(&first), 251);
    }

    #[test]
    fn other_contents_are_admitted_while_there_is_room_and_again_when_some_are_sent() {
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
        assert_eq!(bodies.by_content.len(), 1, "bodies that were sent are dropped");
        drop(one);
        assert!(bodies.get(hash(1)).is_none() && bodies.has_room(u64::MAX, network(1)));
    }

    #[test]
    fn one_network_has_half_and_refusals_are_counted() {
        let (mut bodies, mut limited) = (MetadataBodies::default(), LimitedReply::default());
        let mut held = Vec::new();
        for n in 0..64 {
            if bodies.admits(MIB as u64, network(1), &mut limited) {
                held.push(bodies.insert(hash(n), network(1), vec![0; MIB]));
            }
        }
        assert_eq!((held.len(), limited.metadata_refused), (32, 32));
        assert!(bodies.admits(32 * MIB as u64, network(2), &mut limited), "another network has the other half");
        held.clear();
        held.push(bodies.insert(hash(100), network(1), vec![0; 200 * MIB]));
        assert!(bodies.admits(32 * MIB as u64, network(2), &mut limited), "also beside one that exceeds the total");
        assert!(!bodies.admits(MIB as u64, network(1), &mut limited));
        assert_eq!(limited.metadata_refused, 33);
    }
}
