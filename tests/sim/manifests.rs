//! Manifests of directories on their way: sent by nodes and rogues, and read as the loop reads them.

use crate::conn::{ConnId, Want};
use crate::content::Content;
use crate::flows::Ending;
use crate::host::HostId;
use crate::responses::{Metadata, Responding};
use crate::world::{Occurrence, World};
use pyrate::content::{EntryKind, Manifest, ManifestFault, ManifestReader, WrittenManifest};
use pyrate::fault::DialFault;
use pyrate::id::{ContentHash, ExchangeId};
use pyrate::node::contract::{Dialled, Response, ResponseFault};
use pyrate::wire::Message;
use std::ops::Range;

/// Most bytes of a manifest that arrive together.
const PIECE_BYTES_MAX: u64 = 4_000;

impl World {
    /// A node sends a manifest, or what it is.
    pub(crate) fn send_manifest(
        &mut self,
        host: HostId,
        exchange: ExchangeId,
        manifest: &WrittenManifest,
        range: Option<Range<usize>>,
        pending: u64,
    ) {
        let mut name = None;
        let is_asked_for = |asked: &Message| match (asked, &range) {
            (Message::MetadataRequest { name }, None) => name.as_bytes().ends_with(b"/"),
            (Message::RangeRequest { offset, length, name }, Some(range)) => {
                name.as_bytes().ends_with(b"/")
                    && (range.start as u64, range.end as u64) == (*offset, *offset + *length)
            }
            _ => false,
        };
        let id = self.owed_for(host, exchange, is_asked_for);
        if let Some(Message::MetadataRequest { name: of } | Message::RangeRequest { name: of, .. }) =
            &self.conns[&id].asked
        {
            name = Some(of.clone());
        }
        self.watch_told_manifest(host, name.as_ref().map_or(&[], |name| name.as_bytes()), manifest);
        match range {
            None => {
                let size = manifest.text.len() as u64;
                let metadata = Metadata { chain: Content { id: 0, size }, b3: manifest.b3, size, pending };
                self.begin_response(id, Responding::Metadata(Some(metadata)));
            }
            Some(range) => {
                self.begin_response(id, Responding::Manifest(manifest.text[range].to_vec(), Ending::Fin));
            }
        }
    }

    /// All of what is sent in place of a manifest arrives.
    pub(crate) fn respond_manifest(&mut self, id: ConnId, bytes: Vec<u8>, ending: Ending) {
        let ended = match ending {
            Ending::Fin => Ok(bytes.len() as u64),
            Ending::Reset(fault) => Err(ResponseFault::Disk(fault)),
            Ending::Silence => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.responding = Some(Responding::Manifest(bytes, ending));
                }
                return;
            }
        };
        let is_whole = ended.is_ok();
        self.server_ended(id, ended);
        if !is_whole {
            return self.break_off(id);
        }
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted && conn.dialer.is_some()) else { return };
        let (local, latency) = (conn.local, self.latency());
        let outcome = match &self.conns[&id].want {
            &Want::Manifest { b3, size } => self.read_manifest(&bytes, b3, size),
            _ => Err(DialFault::Malformed),
        };
        let outcome = outcome.map(|manifest| {
            self.watch.manifests.insert(manifest.b3, manifest.clone());
            Dialled { local, response: Response::Manifest(Box::new(manifest)) }
        });
        self.plan(latency, Occurrence::DialerEnds(id, outcome));
    }

    fn read_manifest(&mut self, bytes: &[u8], b3: ContentHash, size: u64) -> Result<Manifest, DialFault> {
        let mut reader = ManifestReader::default();
        let mut left = bytes;
        while !left.is_empty() {
            let count = (1 + self.random.below(PIECE_BYTES_MAX)).min(left.len() as u64);
            if reader.bytes() + count > size {
                return Err(DialFault::TooLong);
            }
            let (piece, rest) = left.split_at(count as usize);
            reader.push(piece).map_err(fault_of)?;
            left = rest;
        }
        match reader.bytes() {
            // A refusal, of which nothing else shows.
            0 => Err(DialFault::Reset),
            read => {
                let manifest = reader.finish().map_err(fault_of)?;
                if read == size && manifest.b3 == b3 { Ok(manifest) } else { Err(DialFault::Corrupt) }
            }
        }
    }

    /// A manifest that a node sends: what it says was so in its share.
    fn watch_told_manifest(&self, host: HostId, directory: &[u8], manifest: &WrittenManifest) {
        let read = match Manifest::parse(&manifest.text) {
            Ok(read) if read.b3 == manifest.b3 => read,
            other => self.violation(host, &format!("it sends a manifest that is read as {other:?}")),
        };
        let disk = &self.hosts[host.0].disk;
        for entry in read.entries {
            let name = [directory, entry.path.as_bytes()].concat();
            let was_so = match entry.kind {
                EntryKind::EmptyDirectory => disk.shared_tree.empty_ever.contains(&name[..]),
                EntryKind::File { size, b3, .. } => disk
                    .shared_ever
                    .iter()
                    .any(|(other, content)| *other.as_bytes() == name && (content.size, content.b3()) == (size, b3)),
            };
            if !was_so {
                self.violation(host, &format!("its manifest has {entry:?}, which it never shared"));
            }
        }
    }
}

fn fault_of(fault: ManifestFault) -> DialFault {
    match fault {
        ManifestFault::TooLarge | ManifestFault::TooManyEntries => DialFault::TooLong,
        _ => DialFault::Malformed,
    }
}
