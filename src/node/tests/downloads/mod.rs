//! Downloads, from the order to the file.

mod chaos;
mod chosen;
mod claims;
mod contacts;
mod contents;
mod copying;
mod crawling;
mod crowding;
mod described;
mod directories;
mod directory_hits;
mod directory_links;
mod disks;
mod events;
mod forgetting;
mod given_manifests;
mod links;
mod member_searches;
mod moving;
mod names;
mod orders;
mod other_contents;
mod paced;
mod past;
mod pending;
mod precedence;
mod progress;
mod queue;
mod races;
mod recalling;
mod refusals;
mod remembering;
mod requests;
mod resumed;
mod retrying;
mod sources;
mod stalling;
mod streams;
mod unsourced;

use super::rig::*;
use crate::content::{Groups, group_count};
use crate::control::{DownloadRow, DownloadState, DownloadsReply, RawText, Reply, Request, Selector};
use crate::fault::{DialFault, DiskFault};
use crate::id::{ContentHash, ExchangeId, QueryId, TransferId};
use crate::node::answer::Answer;
use crate::node::contract::{
    Action, CheckedPart, CommittedPart, DownloadRecord, Event, Expect, NodeConfig, OpenedPart, Portion, Remembered,
    Response, Target,
};
use crate::wire::{Attributes, Listed, Message, SearchResponse};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// The content that most of these tests are about.
const B3: ContentHash = ContentHash([7; 32]);

/// A fetch as ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fetch {
    exchange: ExchangeId,
    to: SocketAddr,
    may_call_back: bool,
    portion: Portion,
}

impl Fetch {
    fn groups(&self) -> Range<u64> {
        match &self.portion {
            Portion::Groups(groups) => groups.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn fetches(rig: &mut Rig) -> Vec<Fetch> {
    rig.take(|order| match order {
        Action::Fetch { exchange, to, may_call_back, portion, .. } => {
            Some(Fetch { exchange: *exchange, to: *to, may_call_back: *may_call_back, portion: portion.clone() })
        }
        _ => None,
    })
}

fn fetch(rig: &mut Rig) -> Fetch {
    let mut fetches = fetches(rig);
    assert_eq!(fetches.len(), 1, "{fetches:?}");
    fetches.remove(0)
}

/// The requests for metadata: exchange, peer, and the hash to be proved.
fn metadata(rig: &mut Rig) -> Vec<(ExchangeId, SocketAddr, Option<ContentHash>)> {
    rig.take(|order| match order {
        Action::FetchMetadata { exchange, to, b3, .. } => Some((*exchange, *to, *b3)),
        _ => None,
    })
}

/// Answers the one request for metadata; returns the peer that was asked.
fn outline(rig: &mut Rig, size: u64) -> SocketAddr {
    let asked = metadata(rig);
    let [(exchange, to, _)] = asked[..] else { panic!("{asked:?}") };
    rig.succeed(exchange, Response::Metadata { b3: B3, size });
    to
}

/// The sources that are asked which content they have.
fn identifying(rig: &mut Rig) -> Vec<(ExchangeId, SocketAddr)> {
    rig.take(|order| match order {
        Action::Dial { exchange, to, expect: Expect::FileInfo, .. } => Some((*exchange, *to)),
        _ => None,
    })
}

/// The one source that is asked which content it has answers with this hash.
fn identify_as(rig: &mut Rig, b3: ContentHash) -> SocketAddr {
    let asked = identifying(rig);
    let [(exchange, to)] = asked[..] else { panic!("{asked:?}") };
    let size = row(rig, 1).size.unwrap_or(1);
    rig.succeed(exchange, Response::FileInfo { b3, size, pending: 0 });
    to
}

/// A source sends wrong bytes, and then answers that it has the content.
fn lie(rig: &mut Rig, exchange: ExchangeId) {
    rig.fail(exchange, DialFault::Corrupt);
    identify_as(rig, B3);
}

fn opened(rig: &mut Rig) -> Vec<(TransferId, Target)> {
    rig.take(|order| match order {
        Action::OpenPart { download, spec, .. } => Some((*download, spec.target.clone())),
        _ => None,
    })
}

fn ready(path: &str) -> Result<OpenedPart, DiskFault> {
    Ok(OpenedPart::Ready { path: path.into(), resumed: None, filesystem: None })
}

/// Opens the part files ordered.
fn open(rig: &mut Rig) {
    for (download, target) in opened(rig) {
        let path = match target {
            Target::Suggested { directory, name } => directory.join(name.to_string()),
            Target::Exact { path, .. } => path,
            Target::Within { directory, path, .. } => directory.join(path.to_string()),
        };
        rig.handle(Event::PartOpened {
            download,
            outcome: Ok(OpenedPart::Ready { path, resumed: None, filesystem: None }),
        });
    }
}

/// Opens the one part file ordered, with groups of an earlier run.
fn open_resumed(rig: &mut Rig, size: u64, held: impl IntoIterator<Item = u64>) {
    let [(download, _)] = opened(rig)[..] else { panic!("one part file") };
    let mut groups = Groups::none(group_count(size));
    held.into_iter().for_each(|group| assert!(groups.insert(group)));
    let part = OpenedPart::Ready { path: "/downloads/a.txt".into(), resumed: Some((size, groups)), filesystem: None };
    rig.handle(Event::PartOpened { download, outcome: Ok(part) });
}

fn dropped(rig: &mut Rig) -> usize {
    rig.take(|order| matches!(order, Action::DropPart { .. }).then_some(())).len()
}

fn closed(rig: &mut Rig) -> usize {
    rig.take(|order| matches!(order, Action::ClosePart { .. }).then_some(())).len()
}

fn aborted(rig: &mut Rig) -> Vec<ExchangeId> {
    rig.take(|order| match order {
        Action::Abort { exchange } => Some(*exchange),
        _ => None,
    })
}

fn remembered(rig: &mut Rig) -> Vec<DownloadRecord> {
    rig.take(|order| match order {
        Action::RememberDownload { record, .. } => Some(DownloadRecord::clone(record)),
        _ => None,
    })
}

fn forgotten(rig: &mut Rig) -> Vec<TransferId> {
    rig.take(|order| match order {
        Action::ForgetDownload { download } => Some(*download),
        _ => None,
    })
}

fn row(rig: &mut Rig, id: u32) -> DownloadRow {
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: id - 1 }) else { panic!("downloads") };
    reply.downloads.into_iter().next().unwrap()
}

fn state(rig: &mut Rig, id: u32) -> DownloadState {
    row(rig, id).state
}

fn download(rig: &mut Rig, what: Vec<Selector>) -> DownloadsReply {
    match rig.call(Request::Download { what, output: None }) {
        Ok(Reply::Downloads(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

fn file(peer: SocketAddr, name: &str) -> Selector {
    Selector::File { peer, name: RawText::new(name) }
}

fn hits(ids: &str) -> Vec<Selector> {
    vec![Selector::Hits(ids.into())]
}

/// A search whose hits are awaited.
fn searching(rig: &mut Rig) -> QueryId {
    rig.search_within("a", Some(0));
    let (_, _, Message::Search(query)) = rig.dial() else { panic!("a search") };
    query.id
}

/// Hit 1, offered by so many peers. With a size they are known to speak `p1`; nothing else is known of them.
fn with_hit(size: Option<u64>, sources: u8) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    (1..=sources).for_each(|n| rig.hit(&query, peer(n), listed("dir/a.txt", size)));
    rig.orders.clear();
    rig
}

/// Hit 1, offered by so many peers of which nothing is known: the hits were relayed.
fn with_relayed_hit(size: Option<u64>, sources: u8) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    for n in 1..=sources {
        let response = SearchResponse { id: query.clone(), responder: peer(n), file: listed("dir/a.txt", size) };
        rig.request(addr("10.0.9.9:50000"), Message::SearchResponse(response));
    }
    rig.orders.clear();
    rig
}

/// A file as a `p1` peer lists it.
fn of_content(name_text: &str, size: u64, b3: ContentHash) -> Listed {
    Listed { name: name(name_text), attributes: Some(Attributes { size: Some(size), b3: Some(b3), more: false }) }
}

fn with_hits(files: &[(u8, Listed)]) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    for (n, file) in files {
        rig.hit(&query, peer(*n), file.clone());
    }
    rig.orders.clear();
    rig
}

/// Hit 1: the content, of so many bytes, offered by so many peers that speak `p1`.
fn with_content(size: u64, sources: u8) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    (1..=sources).for_each(|n| rig.hit(&query, peer(n), of_content("dir/a.txt", size, B3)));
    rig.orders.clear();
    rig
}

/// The same, with its download begun: the part file is open, and the last group has proved the size of the outline. The
/// source that gave it is idle again, and the next fetches are among the orders.
fn begun(size: u64, sources: u8) -> Rig {
    let mut rig = with_content(size, sources);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let giver = outline(&mut rig, size);
    let proof = fetch(&mut rig);
    let last = group_count(size) - 1;
    assert_eq!((proof.to, proof.groups()), (giver, last..last + 1));
    bring(&mut rig, &proof);
    rig
}

/// The one source that is asked which content it has.
fn inquiry(rig: &mut Rig) -> ExchangeId {
    let asked = identifying(rig);
    let [(exchange, _)] = asked[..] else { panic!("{asked:?}") };
    exchange
}

/// The first contacts ordered: exchange and peer.
fn contacts(rig: &mut Rig) -> Vec<(ExchangeId, SocketAddr)> {
    rig.take(|order| match order {
        Action::Dial { exchange, to, expect: Expect::FirstContact, .. } => Some((*exchange, *to)),
        _ => None,
    })
}

/// The one first contact ordered.
fn contact(rig: &mut Rig) -> ExchangeId {
    let asked = contacts(rig);
    let [(exchange, to)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(to, peer(1));
    exchange
}

/// A group of a fetch comes in.
fn group(rig: &mut Rig, fetch: &Fetch, group: u64) {
    rig.handle(Event::GroupVerified { exchange: fetch.exchange, group });
}

/// All groups of a fetch come in.
fn bring(rig: &mut Rig, fetch: &Fetch) {
    let groups = fetch.groups();
    groups.clone().for_each(|at| group(rig, fetch, at));
    send(rig, fetch, (groups.end - groups.start) * MIB);
}

/// Delivers all groups that are requested, until none is; returns the last byte of the address of each source asked.
fn bring_everything(rig: &mut Rig) -> Vec<u8> {
    let mut asked = Vec::new();
    loop {
        let fetches = fetches(rig);
        if fetches.is_empty() {
            return asked;
        }
        for fetch in fetches {
            let SocketAddr::V4(to) = fetch.to else { panic!("{fetch:?}") };
            asked.push(to.ip().octets()[3]);
            rig.pass(Duration::from_millis(100));
            bring(rig, &fetch);
        }
    }
}

fn progress(rig: &mut Rig, fetch: &Fetch, bytes: u64) {
    rig.handle(Event::FetchProgress { exchange: fetch.exchange, bytes });
}

/// Ends a fetch in FIN after so many bytes.
fn send(rig: &mut Rig, fetch: &Fetch, bytes: u64) {
    rig.succeed(fetch.exchange, Response::File { bytes });
}

/// Answers the one check ordered.
fn check_as(rig: &mut Rig, b3: ContentHash, size: u64, bad: Vec<u64>) {
    let ordered = rig.take(|order| match order {
        Action::CheckPart { download, .. } => Some(*download),
        _ => None,
    });
    let [download] = ordered[..] else { panic!("{ordered:?}") };
    rig.handle(Event::PartChecked { download, outcome: Ok(CheckedPart { b3, size, bad }) });
}

fn check(rig: &mut Rig, size: u64) {
    check_as(rig, B3, size, Vec::new());
}

fn committing(rig: &mut Rig) -> TransferId {
    let ordered = rig.take(|order| match order {
        Action::CommitPart { download } => Some(*download),
        _ => None,
    });
    let [download] = ordered[..] else { panic!("{ordered:?}") };
    download
}

fn commit(rig: &mut Rig, path: &str) {
    let download = committing(rig);
    let outcome = Ok(CommittedPart { path: PathBuf::from(path), already: false });
    rig.handle(Event::PartCommitted { download, outcome });
}

fn order(rig: &mut Rig, request: Request) -> DownloadsReply {
    match rig.call(request) {
        Ok(Reply::Downloads(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

/// Lets a search for sources end without an answer.
fn wait_for_the_search(rig: &mut Rig) {
    rig.pass(Duration::from_secs(4));
}

/// A search finds a source of download 1, by a hit from its own address.
fn found(rig: &mut Rig, n: u8, file: &Listed) {
    told_of(rig, peer(n), peer(n), file);
    // What an event has changed is looked at before the event is over.
    rig.handle(Event::ClientGone { client: crate::id::ClientId(99) });
}

/// A search for sources of download 1 finds one, by a hit from this address.
fn told_of(rig: &mut Rig, from: SocketAddr, responder: SocketAddr, file: &Listed) {
    let found = Answer { file: file.clone(), responder, from };
    rig.on_source_found(TransferId(1), &found);
}

/// A peer shows that it speaks `p1`.
fn hear_of(rig: &mut Rig, n: u8) {
    rig.learn_peer(peer(n), crate::control::PeerSource::Hit);
    rig.note_evidence(peer(n), crate::node::speech::Evidence::Attributes);
}
