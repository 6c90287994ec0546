//! Metadata on their way to peers (PROTOCOL, "Ranges and metadata"): one copy in memory for each content, however many peers
//! ask for it, and a limit on all of them together.

use super::Driver;
use super::budget::Use;
use super::exchange::Outgoing;
use crate::content::{ChainingValue, group_count};
use crate::fault::{DiskFault, RefusalReason};
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScannedFile;
use crate::node::Event;
use crate::node::contract::ResponseFault;
use crate::wire::encode_metadata;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// Bytes of all metadata on their way. Those of one larger content are sent while no other are.
const METADATA_BYTES_MAX: u64 = 64 << 20;

/// Metadata up to this size, as of a file of 128 MiB, are always sent: they are bounded by the number of connections.
const METADATA_SMALL_BYTES: u64 = 4 << 10;

/// The metadata that some connection still sends. As many as there are connections, at most.
#[derive(Debug, Default)]
pub(super) struct MetadataBodies {
    by_content: BTreeMap<ContentHash, Weak<Vec<u8>>>,
}

impl MetadataBodies {
    /// Those of a content, if they are being sent.
    fn get(&self, b3: ContentHash) -> Option<Rc<Vec<u8>>> {
        self.by_content.get(&b3)?.upgrade()
    }

    /// Whether there is room for those of another content, which take so many bytes.
    fn has_room(&mut self, bytes: u64) -> bool {
        self.by_content.retain(|_, body| body.strong_count() > 0);
        let held: u64 = self.by_content.values().filter_map(Weak::upgrade).map(|body| body.len() as u64).sum();
        held == 0 || bytes <= METADATA_SMALL_BYTES || held.saturating_add(bytes) <= METADATA_BYTES_MAX
    }

    fn insert(&mut self, b3: ContentHash, body: Vec<u8>) -> Rc<Vec<u8>> {
        let body = Rc::new(body);
        self.by_content.insert(b3, Rc::downgrade(&body));
        body
    }
}

/// Why metadata are not sent.
enum Unsent {
    /// Those of other contents fill the memory that there is for them.
    NoRoom,
    /// The hash cache lacks them.
    NotHashed,
}

impl Driver {
    /// Sends the metadata of a file.
    pub(super) fn send_metadata(&mut self, exchange: ExchangeId, file: &ScannedFile, b3: ContentHash) {
        let Some((_, requester)) = self.table.requester(exchange) else { return };
        // A file that cannot be sent is not promised.
        match self.open_shared_as(file, requester) {
            Ok(_) => self.table.give_back(Use::File),
            Err(fault) => return self.fail_response(exchange, fault),
        }
        let (told, detail, fault) = match self.metadata_body(file, b3) {
            Ok(body) => return self.respond(exchange, Outgoing::bytes(body, self.now), None),
            Err(Unsent::NoRoom) => {
                self.node.limited_mut().metadata_refused += 1;
                (RefusalReason::Busy, "too many metadata are on their way", ResponseFault::NoMemory)
            }
            Err(Unsent::NotHashed) => {
                let fault = ResponseFault::Disk(DiskFault::Missing);
                (RefusalReason::NotHashed, "its metadata are not in the hash cache", fault)
            }
        };
        self.refuse_exchange(exchange, Some(told), "file", &detail);
        self.inbox.push_back(Event::ResponseEnded { exchange, outcome: Err(fault) });
    }

    fn metadata_body(&mut self, file: &ScannedFile, b3: ContentHash) -> Result<Rc<Vec<u8>>, Unsent> {
        if let Some(body) = self.metadata.get(b3) {
            return Ok(body);
        }
        let groups = group_count(file.meta.size);
        if !self.metadata.has_room(groups * size_of::<ChainingValue>() as u64) {
            return Err(Unsent::NoRoom);
        }
        let chain = if groups > 1 { self.hashing.chain(&file.meta, b3) } else { Some(Vec::new()) };
        let body = encode_metadata(file.meta.size, b3, &chain.ok_or(Unsent::NotHashed)?);
        Ok(self.metadata.insert(b3, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn many_that_ask_for_one_content_share_one_copy() {
        let mut bodies = MetadataBodies::default();
        let hash = ContentHash([1; 32]);
        let first = bodies.insert(hash, vec![0; 40 * MIB]);
        let all: Vec<_> = (0..250).map(|_| bodies.get(hash).unwrap()).collect();
        assert!(all.iter().all(|body| Rc::ptr_eq(body, &first)));
        assert_eq!(Rc::strong_count(&first), 251);
    }

    #[test]
    fn those_of_other_contents_are_let_in_while_there_is_room_and_again_when_some_are_sent() {
        let mut bodies = MetadataBodies::default();
        assert!(bodies.has_room(u64::MAX), "a larger one alone");
        let one = bodies.insert(ContentHash([1; 32]), vec![0; 40 * MIB]);
        let two = bodies.insert(ContentHash([2; 32]), vec![0; 20 * MIB]);
        assert!(bodies.has_room(4 * MIB as u64));
        assert!(!bodies.has_room(4 * MIB as u64 + 1));
        let three = bodies.insert(ContentHash([3; 32]), vec![0; 4 * MIB]);
        assert!(bodies.has_room(METADATA_SMALL_BYTES) && !bodies.has_room(METADATA_SMALL_BYTES + 1));
        drop(three);
        drop(two);
        assert!(bodies.has_room(24 * MIB as u64));
        assert_eq!(bodies.by_content.len(), 1, "what is sent is forgotten");
        drop(one);
        assert!(bodies.get(ContentHash([1; 32])).is_none() && bodies.has_room(u64::MAX));
    }
}
