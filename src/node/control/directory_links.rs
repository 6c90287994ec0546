//! Links to directories: a call for one is answered when the manifest is made, or when the peer has told its hash.

use super::Calls;
use crate::audience::Requester;
use crate::content::MANIFEST_BYTES_MAX;
use crate::control::{CallId, ContentLinkRow, Linkable, Problem, RawText, Reply};
use crate::fault::{DialFault, Refusal};
use crate::id::{ClientId, ContentHash, ExchangeId, HitId};
use crate::link::ContentLink;
use crate::name::FileName;
use crate::node::contract::{Action, DialOutcome, Dialled, Expect, Response};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::Purpose;
use crate::node::download::DownloadMachine;
use crate::node::limits::{MANIFESTS_ASKED_MAX, ORDERS_MAX};
use crate::node::network::{Net, NetworkMachine};
use crate::node::share::ShareMachine;
use crate::node::speech::{Evidence, Speech};
use crate::wire::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;

type Caller = (ClientId, CallId);

/// The calls that wait.
#[derive(Default)]
pub(in crate::node) struct DirectoryLinks {
    /// For manifests of our own.
    own: BTreeMap<FileName, Vec<Caller>>,
    /// For answers of peers.
    asked: BTreeMap<ExchangeId, Asked>,
}

struct Asked {
    caller: Caller,
    /// Ends in `/`.
    name: FileName,
    /// Whether the peer is asked what it speaks, and not yet for the hash.
    is_contact: bool,
}

/// The row of a link to a content.
pub(super) fn row_of(link: ContentLink) -> ContentLinkRow {
    ContentLinkRow {
        link: link.to_string(),
        b3: link.b3.to_string(),
        size: link.size,
        name: RawText::new(link.name.as_ref().map_or(&b""[..], FileName::as_bytes)),
        peers: link.peers,
    }
}

fn reply(cx: &mut Cx, (client, call): Caller, outcome: Result<ContentLink, Problem>) {
    let outcome = outcome.map(|link| Reply::Link(row_of(link))).map_err(Into::into);
    cx.out.act(Action::Reply { client, call, outcome });
}

fn link_to(b3: ContentHash, size: u64, name: FileName, peers: Vec<SocketAddr>) -> ContentLink {
    ContentLink { b3, size: Some(size), name: Some(name), peers }
}

/// The link to a directory of our own, as far as its manifest is made.
fn link_to_own(cx: &Cx, network: &NetworkMachine, share: &mut ShareMachine, name: &FileName) -> Option<ContentLink> {
    let manifest = share.manifest_as_told(Requester::Owner, name)?;
    let peers = network.advertised(cx).into_iter().collect();
    Some(link_to(manifest.b3, manifest.text.len() as u64, name.clone(), peers))
}

impl Calls<'_> {
    /// Takes a call for a link to a directory. Says whether it was one.
    pub(super) fn call_link_to_directory(
        &mut self,
        client: ClientId,
        call: &CallId,
        what: &Linkable,
    ) -> Result<bool, Problem> {
        let of_hit = self.directory_of_hit(what);
        let (peer, text) = match of_hit.as_ref().unwrap_or(what) {
            Linkable::Shared { name } if name.as_bytes().ends_with(b"/") => (None, name),
            Linkable::Directory { peer, name } => (Some(*peer), name),
            _ => return Ok(false),
        };
        self.may_work()?;
        if self.directory_links.len() >= ORDERS_MAX {
            return Err(Problem::TooManyOrders(ORDERS_MAX));
        }
        let name = FileName::of_directory(text.as_bytes()).ok_or_else(|| Problem::NoFileName { name: text.clone() })?;
        let caller = (client, call.clone());
        match peer {
            None => self.link_to_own_directory(caller, name)?,
            Some(peer) => self.ask_for_directory(caller, peer, name)?,
        }
        Ok(true)
    }

    /// A hit that is a directory, at the peer that is named, or at the first of its peers.
    fn directory_of_hit(&self, what: &Linkable) -> Option<Linkable> {
        let &Linkable::Hit { id, peer } = what else { return None };
        let (name, peers) = self.search.hits().directory(HitId(id))?;
        let peer = peer.filter(|peer| peers.contains(peer)).or(peers.first().copied())?;
        Some(Linkable::Directory { peer, name: RawText::new(name.as_bytes()) })
    }

    fn link_to_own_directory(&mut self, caller: Caller, name: FileName) -> Result<(), Problem> {
        if self.share.manifest(Requester::Owner, &name).is_some()
            && let Some(link) = link_to_own(self.cx, self.network, self.share, &name)
        {
            reply(self.cx, caller, Ok(link));
            return Ok(());
        }
        let asked_by = self.cx.config.listen;
        self.share
            .make_manifest(self.cx, Requester::Owner, &name, asked_by)
            .map_err(|refusal| problem_of(refusal, name.clone()))?;
        self.directory_links.own.entry(name).or_default().push(caller);
        Ok(())
    }

    fn ask_for_directory(&mut self, caller: Caller, peer: SocketAddr, name: FileName) -> Result<(), Problem> {
        let peer = self.network.peer_of_user(self.cx, peer)?;
        let net = &mut Net { cx: self.cx, network: self.network };
        let is_contact = match net.network.peers().speech(peer) {
            Speech::P1 => false,
            Speech::Unheard if self.download.may_ask_what_peer_speaks(net, peer) => true,
            Speech::Unheard | Speech::Base => return Err(Problem::NoManifest { peer, name, fault: None }),
        };
        let exchange = match is_contact {
            true => self.download.ask_peer_what_it_speaks(net, peer, Purpose::DirectoryLink),
            false => ask_for_hash(net, peer, &name),
        };
        let exchange = exchange.ok_or(Problem::NoWorker)?;
        self.directory_links.asked.insert(exchange, Asked { caller, name, is_contact });
        Ok(())
    }
}

fn ask_for_hash(net: &mut Net, peer: SocketAddr, name: &FileName) -> Option<ExchangeId> {
    let message = Message::MetadataRequest { name: name.clone() };
    net.cx.dial_peer(peer, vec![message], Expect::FileInfo, Purpose::DirectoryLink).ok()
}

fn problem_of(refusal: Refusal, name: FileName) -> Problem {
    match refusal {
        Refusal::NotHashed => Problem::NotHashed { name },
        Refusal::BeingWritten => Problem::StillWritten { name },
        Refusal::TooLarge => Problem::ManifestTooLarge { name },
        Refusal::Busy => Problem::TooManyOrders(MANIFESTS_ASKED_MAX),
        _ => Problem::NotShared { name: RawText::new(name.as_bytes()) },
    }
}

impl DirectoryLinks {
    fn len(&self) -> usize {
        self.own.values().map(Vec::len).sum::<usize>() + self.asked.len()
    }

    /// Whether a call waits for the manifest of a directory of our own.
    pub(in crate::node) fn awaits_manifest(&self, name: &FileName) -> bool {
        self.own.contains_key(name)
    }

    /// A manifest of our own is made, or cannot be.
    pub(in crate::node) fn on_manifest_made(
        &mut self,
        net: &mut Net,
        share: &mut ShareMachine,
        name: &FileName,
        outcome: Result<(), Refusal>,
    ) {
        for caller in self.own.remove(name).unwrap_or_default() {
            let problem = |refusal| problem_of(refusal, name.clone());
            let link = outcome.and_then(|()| link_to_own(net.cx, net.network, share, name).ok_or(Refusal::TooLarge));
            reply(net.cx, caller, link.map_err(problem));
        }
    }

    /// A peer has answered, or has not.
    pub(in crate::node) fn on_dial_ended(
        &mut self,
        net: &mut Net,
        download: &mut DownloadMachine,
        exchange: ExchangeId,
        peer: SocketAddr,
        outcome: DialOutcome,
    ) {
        let Some(Asked { caller, name, is_contact }) = self.asked.remove(&exchange) else { return };
        let fault = match outcome {
            Ok(dialled) if is_contact && dialled.speaks_p1() => {
                net.network.note_evidence(net.cx, peer, Evidence::Contact);
                match ask_for_hash(net, peer, &name) {
                    Some(exchange) => {
                        drop(self.asked.insert(exchange, Asked { caller, name, is_contact: false }));
                    }
                    None => reply(net.cx, caller, Err(Problem::NoWorker)),
                }
                return;
            }
            Ok(Dialled { response: Response::FileInfo { b3, size }, .. }) if size <= MANIFEST_BYTES_MAX as u64 => {
                return reply(net.cx, caller, Ok(link_to(b3, size, name, vec![peer])));
            }
            Ok(_) => None,
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault.filter(|_| is_contact) {
            download.on_contact_dial_ended(net, peer, &Err(fault));
        } else if is_contact {
            download.note_no_first_contact(peer);
        } else if fault == Some(DialFault::Reset) {
            net.network.note_evidence(net.cx, peer, Evidence::Unexplained);
        }
        let problem = match fault {
            Some(fault) if !fault.is_lack_of_manifest() => Problem::NoLinkNow { peer, name, fault },
            fault => Problem::NoManifest { peer, name, fault },
        };
        reply(net.cx, caller, Err(problem));
    }

    /// The node leaves: nothing is made or asked any more.
    pub(in crate::node) fn give_up(&mut self, cx: &mut Cx) {
        let own = std::mem::take(&mut self.own).into_values().flatten();
        let asked = std::mem::take(&mut self.asked).into_values().map(|asked| asked.caller);
        own.chain(asked).for_each(|caller| reply(cx, caller, Err(Problem::Leaving)));
    }
}
