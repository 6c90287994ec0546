//! `link`: what is known of a file as a link to its content.

use super::Calls;
use super::directory_links::row_of;
use crate::audience::Requester;
use crate::control::{ContentLinkRow, DownloadRow, Linkable, Problem, RawText, SourceState};
use crate::id::{ContentHash, HitId, TransferId};
use crate::link::{ContentLink, LINK_PEERS_MAX};
use crate::name::FileName;
use std::net::SocketAddr;

impl Calls<'_> {
    pub(super) fn call_link(&self, what: &Linkable) -> Result<ContentLinkRow, Problem> {
        let link = match what {
            Linkable::Shared { name } => {
                let row = row_of(self.link_of_shared(name)?);
                return Ok(ContentLinkRow { audience: self.cx.config.audiences.of(name.as_bytes()).ranges(), ..row });
            }
            Linkable::Hit { id, peer } => self.link_of_hit(HitId(*id), *peer)?,
            Linkable::Download { id } => self.link_of_download(TransferId(*id))?,
            // Taken before: it is answered later.
            Linkable::Directory { .. } => return Err(Problem::NotForNode),
        };
        Ok(row_of(link))
    }

    fn link_of_shared(&self, text: &RawText) -> Result<ContentLink, Problem> {
        let unknown = || Problem::NotShared { name: text.clone() };
        let name = FileName::from_bytes(text.as_bytes()).ok_or_else(unknown)?;
        let Some(file) = self.share.library().seen_by(Requester::Owner).get(name.as_bytes()) else {
            return Err(if self.share.is_being_written(Requester::Owner, &name) {
                Problem::StillWritten { name }
            } else if self.share.has_directory(Requester::Owner, &name) {
                Problem::IsDirectory { name }
            } else {
                unknown()
            });
        };
        let Some(b3) = file.b3 else { return Err(Problem::NotHashed { name }) };
        let peers = self.network.advertised(self.cx).into_iter().collect();
        Ok(ContentLink { b3, size: Some(file.meta.size), name: Some(name), peers })
    }

    fn link_of_hit(&self, id: HitId, first: Option<SocketAddr>) -> Result<ContentLink, Problem> {
        let hit = self.search.hits().get(id).ok_or_else(|| Problem::NoSuchHit { part: id.0.to_string() })?;
        let b3 = hit.b3().ok_or(Problem::HitWithoutHash { id: id.0 })?;
        let (mut peers, mut name): (Vec<SocketAddr>, _) = (Vec::new(), hit.name());
        for (addr, offered, _) in hit.offers() {
            if first == Some(addr) {
                peers.insert(0, addr);
                name = offered;
            } else {
                peers.push(addr);
            }
        }
        peers.truncate(LINK_PEERS_MAX);
        Ok(ContentLink { b3, size: hit.size(), name: Some(name.clone()), peers })
    }

    fn link_of_download(&self, id: TransferId) -> Result<ContentLink, Problem> {
        let row = self.download.row(self.cx, id).or_else(|| self.download.row_of_member(self.cx, id));
        let row = row.ok_or_else(|| Problem::NoSuchDownload { part: id.0.to_string() })?;
        if row.directory.is_some() {
            let described = self.download.described_directory(id);
            let (name, b3, peers) = described.ok_or(Problem::DownloadWithoutManifest { id: id.0 })?;
            return Ok(ContentLink { b3, size: None, name: Some(name), peers });
        }
        let b3 = row.b3.as_ref().and_then(|hex| ContentHash::from_hex(hex.as_bytes()));
        let Some(b3) = b3 else { return Err(Problem::DownloadWithoutHash { id: id.0, state: row.state }) };
        let sources = row.shares.iter().filter(|source| source.state != SourceState::Corrupt).map(|source| source.addr);
        let own = self.shared_name(&row, b3);
        let own_peer = own.as_ref().and_then(|_| self.network.advertised(self.cx));
        // Peers are asked by the name, which is that of the first.
        let name = own.filter(|_| own_peer.is_some()).or_else(|| FileName::from_bytes(row.name.as_bytes()));
        let peers = own_peer.into_iter().chain(sources).take(LINK_PEERS_MAX).collect();
        Ok(ContentLink { b3, size: row.size, name, peers })
    }

    /// The name under which this node shares what a download has saved.
    fn shared_name(&self, row: &DownloadRow, b3: ContentHash) -> Option<FileName> {
        let name = self.cx.config.shared_name(self.download.saved_at(TransferId(row.id))?)?;
        self.share
            .library()
            .seen_by(Requester::Owner)
            .get(name.as_bytes())
            .filter(|file| file.b3 == Some(b3))
            .map(|_| name)
    }
}
