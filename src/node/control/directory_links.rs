//! Links to directories, and their manifests: a call for one is answered when the manifest is made, or when the peer has told its
//! hash or sent it.

use super::Calls;
use super::manifest_pages::ManifestPages;
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
use std::rc::Rc;

/// Who is to be answered.
struct Caller {
    client: ClientId,
    call: CallId,
    wants: Wants,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Link,
    /// The manifest itself.
    Text,
}

/// The calls that wait.
#[derive(Default)]
pub(in crate::node) struct DirectoryLinks {
    /// For manifests of our own.
    own: BTreeMap<FileName, Vec<Caller>>,
    /// For answers of peers.
    asked: BTreeMap<ExchangeId, Asked>,
    pages: ManifestPages,
}

struct Asked {
    caller: Caller,
    /// Ends in `/`.
    name: FileName,
    step: Step,
}

/// What a peer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// What it speaks.
    Contact,
    Hash,
    Manifest,
}

/// The row of a link to a content.
pub(super) fn row_of(link: ContentLink) -> ContentLinkRow {
    ContentLinkRow {
        link: link.to_string(),
        b3: link.b3.to_string(),
        size: link.size,
        name: RawText::new(link.name.as_ref().map_or(&b""[..], FileName::as_bytes)),
        peers: link.peers,
        audience: None,
    }
}

fn reply(cx: &mut Cx, Caller { client, call, .. }: Caller, outcome: Result<Reply, Problem>) {
    cx.out.act(Action::Reply { client, call, outcome: outcome.map_err(Into::into) });
}

fn link_to(b3: ContentHash, size: u64, name: FileName, peers: Vec<SocketAddr>) -> ContentLink {
    ContentLink { b3, size: Some(size), name: Some(name), peers }
}

/// The answer about a directory of our own, as far as its manifest is made.
fn answer_of_own(
    (cx, network): (&Cx, &NetworkMachine),
    share: &mut ShareMachine,
    pages: &mut ManifestPages,
    caller: &Caller,
    name: &FileName,
) -> Option<Reply> {
    let manifest = share.manifest_as_told(Requester::Owner, name)?;
    if caller.wants == Wants::Text {
        return Some(Reply::Manifest(pages.begin(caller.client, manifest.b3, Rc::clone(&manifest.text))));
    }
    let peers = network.advertised(cx).into_iter().collect();
    let row = row_of(link_to(manifest.b3, manifest.text.len() as u64, name.clone(), peers));
    Some(Reply::Link(ContentLinkRow { audience: cx.config.audiences.of(name.as_bytes()).ranges(), ..row }))
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
        self.ask_for_manifest(Caller { client, call: call.clone(), wants: Wants::Link }, peer, text)?;
        Ok(true)
    }

    /// Takes a call for a page of a manifest. The first one may have to wait for it.
    pub(super) fn call_manifest(
        &mut self,
        client: ClientId,
        call: &CallId,
        (peer, name): (Option<SocketAddr>, &RawText),
        (b3, after): (Option<&str>, u64),
    ) -> Result<Option<Reply>, Problem> {
        let Some(b3) = b3 else {
            self.ask_for_manifest(Caller { client, call: call.clone(), wants: Wants::Text }, peer, name)?;
            return Ok(None);
        };
        let b3 = ContentHash::from_hex(b3.as_bytes());
        let page = b3.and_then(|b3| self.directory_links.pages.go_on(client, b3, after));
        page.map(|page| Some(Reply::Manifest(page))).ok_or(Problem::ManifestNotKept)
    }

    fn ask_for_manifest(&mut self, caller: Caller, peer: Option<SocketAddr>, text: &RawText) -> Result<(), Problem> {
        self.may_work()?;
        if self.directory_links.len() >= ORDERS_MAX {
            return Err(Problem::TooManyOrders(ORDERS_MAX));
        }
        let name = FileName::of_directory(text.as_bytes()).ok_or_else(|| Problem::NoFileName { name: text.clone() })?;
        match peer {
            None => self.ask_for_own(caller, name),
            Some(peer) => self.ask_for_directory(caller, peer, name),
        }
    }

    /// A hit that is a directory, at the peer that is named, or at the first of its peers.
    fn directory_of_hit(&self, what: &Linkable) -> Option<Linkable> {
        let &Linkable::Hit { id, peer } = what else { return None };
        let (name, peers) = self.search.hits().directory(HitId(id))?;
        let peer = peer.filter(|peer| peers.contains(peer)).or(peers.first().copied())?;
        Some(Linkable::Directory { peer, name: RawText::new(name.as_bytes()) })
    }

    fn ask_for_own(&mut self, caller: Caller, name: FileName) -> Result<(), Problem> {
        let pages = &mut self.directory_links.pages;
        if self.share.manifest(Requester::Owner, &name).is_some()
            && let Some(answer) = answer_of_own((self.cx, self.network), self.share, pages, &caller, &name)
        {
            reply(self.cx, caller, Ok(answer));
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
            Speech::Unheard | Speech::Base => return Err(no_manifest(caller.wants, peer, name, None)),
        };
        let exchange = match is_contact {
            true => self.download.ask_peer_what_it_speaks(net, peer, Purpose::DirectoryLink),
            false => ask_for_hash(net, peer, &name),
        };
        let exchange = exchange.ok_or(Problem::NoWorker)?;
        let step = if is_contact { Step::Contact } else { Step::Hash };
        self.directory_links.asked.insert(exchange, Asked { caller, name, step });
        Ok(())
    }
}

/// A peer has none, and will not have one soon.
fn no_manifest(wants: Wants, peer: SocketAddr, name: FileName, fault: Option<DialFault>) -> Problem {
    match wants {
        Wants::Link => Problem::NoManifest { peer, name, fault },
        Wants::Text => Problem::HasNoManifest { peer, name, fault },
    }
}

fn no_manifest_now(wants: Wants, peer: SocketAddr, name: FileName, fault: DialFault) -> Problem {
    match wants {
        Wants::Link => Problem::NoLinkNow { peer, name, fault },
        Wants::Text => Problem::NoManifestNow { peer, name, fault },
    }
}

fn ask_for_text(
    net: &mut Net,
    peer: SocketAddr,
    name: &FileName,
    (b3, size): (ContentHash, u64),
) -> Option<ExchangeId> {
    let message = Message::RangeRequest { offset: 0, length: size, name: name.clone() };
    net.cx.dial_peer(peer, vec![message], Expect::Manifest { b3, size }, Purpose::DirectoryLink).ok()
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
            let answer = outcome.and_then(|()| {
                let answer = answer_of_own((net.cx, net.network), share, &mut self.pages, &caller, name);
                answer.ok_or(Refusal::TooLarge)
            });
            reply(net.cx, caller, answer.map_err(|refusal| problem_of(refusal, name.clone())));
        }
    }

    /// A client reads no further.
    pub(in crate::node) fn forget_client(&mut self, client: ClientId) {
        self.pages.forget(client);
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
        let Some(Asked { caller, name, step }) = self.asked.remove(&exchange) else { return };
        let wants = caller.wants;
        let fault = match (step, outcome) {
            (Step::Contact, Ok(dialled)) if dialled.speaks_p1() => {
                net.network.note_evidence(net.cx, peer, Evidence::Contact);
                let next = ask_for_hash(net, peer, &name);
                return self.await_next(net, next, Asked { caller, name, step: Step::Hash });
            }
            (Step::Hash, Ok(Dialled { response: Response::FileInfo { b3, size, .. }, .. }))
                if size <= MANIFEST_BYTES_MAX as u64 =>
            {
                if wants == Wants::Text {
                    let next = ask_for_text(net, peer, &name, (b3, size));
                    return self.await_next(net, next, Asked { caller, name, step: Step::Manifest });
                }
                return reply(net.cx, caller, Ok(Reply::Link(row_of(link_to(b3, size, name, vec![peer])))));
            }
            (Step::Hash, Ok(Dialled { response: Response::FileInfo { size, .. }, .. })) if wants == Wants::Text => {
                return reply(net.cx, caller, Err(Problem::ManifestOfPeerTooLarge { peer, name, bytes: size }));
            }
            (Step::Manifest, Ok(Dialled { response: Response::Manifest(manifest), .. })) => {
                let page = self.pages.begin(caller.client, manifest.b3, Rc::new(manifest.text()));
                return reply(net.cx, caller, Ok(Reply::Manifest(page)));
            }
            (_, Ok(_)) => None,
            (_, Err(fault)) => Some(fault),
        };
        match (step, fault) {
            (Step::Contact, Some(fault)) => download.on_contact_dial_ended(net, peer, &Err(fault)),
            (Step::Contact, None) => download.note_no_first_contact(peer),
            (Step::Hash, Some(DialFault::Reset)) => net.network.note_evidence(net.cx, peer, Evidence::Unexplained),
            _ => {}
        }
        let problem = match fault {
            Some(fault) if !fault.is_lack_of_manifest() || step == Step::Manifest => {
                no_manifest_now(wants, peer, name, fault)
            }
            fault => no_manifest(wants, peer, name, fault),
        };
        reply(net.cx, caller, Err(problem));
    }

    fn await_next(&mut self, net: &mut Net, exchange: Option<ExchangeId>, asked: Asked) {
        match exchange {
            Some(exchange) => drop(self.asked.insert(exchange, asked)),
            None => reply(net.cx, asked.caller, Err(Problem::NoWorker)),
        }
    }

    /// The node leaves: nothing is made or asked any more.
    pub(in crate::node) fn give_up(&mut self, cx: &mut Cx) {
        let own = std::mem::take(&mut self.own).into_values().flatten();
        let asked = std::mem::take(&mut self.asked).into_values().map(|asked| asked.caller);
        own.chain(asked).for_each(|caller| reply(cx, caller, Err(Problem::Leaving)));
    }
}
