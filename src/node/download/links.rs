//! What a link asks for.

use super::DownloadMachine;
use super::begin::{DownloadRequest, Wanted};
use super::directory_request::DirectoryRequest;
use super::source::Source;
use super::state::{Download, Life};
use crate::control::{PeerSource, Problem, RawText};
use crate::id::ContentHash;
use crate::link::ContentLink;
use crate::name::FileName;
use crate::node::answer::Teller;
use crate::node::cx::Cx;
use crate::node::limits::HIT_SOURCES_MAX;
use crate::node::network::Net;
use crate::node::search::SearchMachine;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

impl DownloadMachine {
    /// Contents for which a download is in the list that was not cancelled, or has begun as the event log tells; with when that
    /// was, in epoch seconds. One in the list counts for all times.
    pub(super) fn known_contents(&self, cx: &Cx) -> BTreeMap<ContentHash, u64> {
        let mut known: BTreeMap<ContentHash, u64> = BTreeMap::new();
        // The clock may have been set back in between.
        for (b3, time) in cx.downloads_begun() {
            known.entry(b3).and_modify(|last| *last = time.max(*last)).or_insert(time);
        }
        let is_known = |row: &&Download| row.directory.is_none() && !matches!(row.life(), Life::Cancelled { .. });
        let rows = self.downloads.iter().map(|(_, row)| row).filter(is_known);
        known.extend(rows.filter_map(|row| Some((row.want.b3()?, u64::MAX))));
        known.extend(self.directories.wanted().map(|b3| (b3, u64::MAX)));
        known
    }

    pub(super) fn read_link(
        &mut self,
        net: &mut Net,
        search: &SearchMachine,
        text: &[u8],
    ) -> Result<Option<Wanted>, Problem> {
        let link = ContentLink::parse(text).map_err(Problem::BadLink)?;
        if link.is_of_directory() {
            return self.read_link_to_directory(net, link).map(|request| Some(Wanted::Directory(Box::new(request))));
        }
        Ok(self.request_of_link(net, search, link).map(|request| Wanted::Named(Box::new(request))))
    }

    /// The first address that this node accepts as a peer; the others are asked in turn.
    fn read_link_to_directory(&mut self, net: &mut Net, link: ContentLink) -> Result<DirectoryRequest, Problem> {
        let (mut peers, mut problem): (Vec<SocketAddr>, _) = (Vec::new(), Problem::LinkWithoutPeer);
        for peer in link.peers {
            match net.network.peer_of_user(net.cx, peer) {
                Ok(peer) => peers.push(peer),
                Err(why) => problem = why,
            }
        }
        let Some((&first, others)) = peers.split_first() else { return Err(problem) };
        let name = RawText::new(link.name.as_ref().map_or(&b""[..], FileName::as_bytes));
        let request = self.read_directory(net, first, &name)?;
        others.iter().for_each(|peer| net.network.learn_peer(net.cx, *peer, PeerSource::User));
        Ok(DirectoryRequest { others: others.to_vec(), manifest: Some(link.b3), ..request })
    }

    /// A content under the name that a link has for it. Its peers are sources beside those that hits name.
    fn request_of_link(&mut self, net: &mut Net, search: &SearchMachine, link: ContentLink) -> Option<DownloadRequest> {
        let mut known = self.request_of_content(net.cx, search, link.b3)?;
        let size = link.size.or(known.size);
        // A peer is asked for a file by its name.
        let Some(name) = link.name else { return Some(DownloadRequest { size, ..known }) };
        let shared = Rc::new(name.clone());
        let mut sources: Vec<Source> = Vec::new();
        for peer in link.peers {
            // One that is no peer here, such as this node itself, may be one for others that have this link.
            let Ok(peer) = net.network.peer_of_user(net.cx, peer) else { continue };
            net.network.learn_peer(net.cx, peer, PeerSource::User);
            match known.sources.iter().position(|source| source.addr == peer) {
                Some(at) => {
                    let mut source = known.sources.remove(at);
                    // The name is that of the first peer; the others may have another.
                    source.names.add(&shared, Teller::Others);
                    sources.push(source);
                }
                // The size is for the sources to say: the hash proves one of them right.
                None => sources.push(Source::new(peer, Rc::clone(&shared), None)),
            }
        }
        sources.append(&mut known.sources);
        sources.truncate(HIT_SOURCES_MAX);
        Some(DownloadRequest { name, size, sources, ..known })
    }
}
