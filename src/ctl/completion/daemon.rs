//! What the daemon knows that fits at a place of the command line.

use super::Candidate;
use crate::control::{
    CallError, DownloadRow, DownloadState, DownloadsReply, FileRow, FilesReply, HitRow, HitsReply, LAST_SEARCH,
    PEER_PORT, PeerRow, RawText, Request, SearchRow, SearchesReply, WishRow, WishesReply,
};
use crate::ctl::connection::Connection;
use crate::ctl::locate;
use crate::ctl::rows::{bytes_of, is_stopped_by_disk, what};
use crate::ctl::text::{count, name, size, word};
use crate::ctl::values::{as_shown, is_ids};
use crate::name::unescaped;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Most rows that are read of one kind, but for the rest of a page: a shell shows no more with sense.
const ROWS_MAX: usize = 1000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// Ids of hits, of the last search or list before those of earlier ones.
    Hits,
    /// Ids of hits that are directories.
    FoundDirectories,
    /// Numbers of searches and lists.
    Searches,
    /// Ids of wishes.
    Wishes,
    /// Ids of downloads to which a command applies.
    Downloads { command: &'static str },
    /// Addresses, with this behind each.
    Peers { suffix: &'static str },
    /// The names at the peer that is written so.
    Names { peer: String },
    /// The directories on the way to these.
    DirectoriesOf { peer: String },
    /// Contents, as `b3=HASH`.
    Contents,
    /// Files of the own share whose names begin so.
    Shared { beginning: String },
    /// The directories on the way to such files that come next.
    SharedDirectories { beginning: String },
}

/// Asks the daemon, and sends what it knows as soon as that is there; `timeout` is for each wait.
pub(super) fn ask(
    socket: Option<&Path>,
    questions: &[Question],
    timeout: Duration,
    found: &Sender<Vec<Candidate>>,
) -> Result<(), CallError> {
    let mut daemon = Daemon { connection: locate::connect(socket, timeout)?, timeout };
    for question in questions {
        daemon.ask(question, found)?;
    }
    Ok(())
}

struct Daemon {
    connection: Connection,
    timeout: Duration,
}

impl Daemon {
    fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, CallError> {
        self.connection.call(request, self.timeout)
    }

    fn ask(&mut self, question: &Question, found: &Sender<Vec<Candidate>>) -> Result<(), CallError> {
        let candidates: Vec<Candidate> = match question {
            Question::Hits | Question::FoundDirectories => {
                let fits = |hit: &&HitRow| *question == Question::Hits || hit.directory.is_some();
                let of_hit = |hit: &HitRow| Candidate::new(hit.id.to_string(), about(hit));
                let last = self.hits(Some(LAST_SEARCH))?;
                // Nobody receives what comes too late; here and below.
                let _ = found.send(last.iter().filter(fits).map(of_hit).collect());
                self.hits(None)?.iter().filter(fits).map(of_hit).collect()
            }
            Question::Searches => {
                let page: SearchesReply = self.call(&Request::Searches { after: 0 })?;
                page.searches.iter().map(of_search).collect()
            }
            Question::Wishes => {
                let page: WishesReply = self.call(&Request::Wishes { after: 0 })?;
                let of_wish = |row: &WishRow| Candidate::new(row.id.to_string(), name(row.text.as_bytes()));
                page.wishes.iter().map(of_wish).collect()
            }
            Question::Downloads { command } => {
                let rows = self.downloads()?;
                rows.iter().filter(|row| applies(command, row)).map(of_download).collect()
            }
            Question::Peers { suffix } => {
                let peers: Vec<PeerRow> = self.call(&Request::Peers)?;
                peers.iter().map(|peer| Candidate::new(format!("{}{suffix}", peer.addr), word(&peer.state))).collect()
            }
            Question::Names { peer } => {
                let files = self.names_of(peer)?;
                directories_of(&files, peer).chain(files.iter().cloned()).collect()
            }
            Question::DirectoriesOf { peer } => directories_of(&self.names_of(peer)?, peer).collect(),
            Question::Contents => {
                let content = |hit: &HitRow| Some(Candidate::new(format!("b3={}", hit.b3.as_ref()?), about(hit)));
                self.hits(None)?.iter().filter_map(content).collect()
            }
            Question::Shared { beginning } => self.shared(beginning)?,
            Question::SharedDirectories { beginning } => self.shared_directories(beginning)?,
        };
        let _ = found.send(candidates);
        Ok(())
    }

    fn shared(&mut self, beginning: &str) -> Result<Vec<Candidate>, CallError> {
        let typed = as_shown(beginning.strip_prefix("./").unwrap_or(beginning).into());
        // In the order of names, those that begin so follow what they begin with.
        let after = Some(RawText::new(typed.clone())).filter(|typed| !typed.as_bytes().is_empty());
        let page: FilesReply = self.call(&Request::Files { after })?;
        let fitting = page.files.iter().take_while(|file| file.name.as_bytes().starts_with(&typed));
        Ok(fitting
            .filter(|file| file.b3.is_some())
            .filter_map(|file| of_shared(file, beginning.starts_with("./")))
            .collect())
    }

    fn shared_directories(&mut self, beginning: &str) -> Result<Vec<Candidate>, CallError> {
        let files = self.shared(beginning)?;
        let end = |word: &str| {
            // `./` is written before a name that would be read as an id or an option, and is no directory of it: the slash that
            // ends the next directory comes after that.
            let from = if word.starts_with("./") { beginning.len().max("./".len()) } else { beginning.len() };
            word.get(from..)?.find('/').map(|at| from + at + 1)
        };
        let directories: BTreeSet<&str> = files.iter().filter_map(|file| file.word.get(..end(&file.word)?)).collect();
        Ok(directories.into_iter().map(|word| Candidate::new(word, "directory")).collect())
    }

    fn names_of(&mut self, peer: &str) -> Result<Vec<Candidate>, CallError> {
        let Some(addr) = literal(peer) else { return Ok(Vec::new()) };
        Ok(self.hits(None)?.iter().flat_map(|hit| names_at(addr, peer, hit)).collect())
    }

    fn hits(&mut self, search: Option<u32>) -> Result<Vec<HitRow>, CallError> {
        let (mut hits, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after.filter(|_| hits.len() < ROWS_MAX) {
            let page: HitsReply = self.call(&Request::Hits { search, after: from })?;
            hits.extend(page.hits);
            after = page.next;
        }
        Ok(hits)
    }

    fn downloads(&mut self) -> Result<Vec<DownloadRow>, CallError> {
        let (mut downloads, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after.filter(|_| downloads.len() < ROWS_MAX) {
            let page: DownloadsReply = self.call(&Request::Downloads { after: from })?;
            downloads.extend(page.downloads);
            after = page.next;
        }
        Ok(downloads)
    }
}

/// Whether a command changes a download as it is now, or shows it.
fn applies(command: &str, row: &DownloadRow) -> bool {
    use DownloadState::{Active, Cancelled, Done, Failed, Paused, Queued, Retrying, Verifying};
    match command {
        "pause" => matches!(row.state, Queued | Active | Verifying | Retrying) || is_stopped_by_disk(row),
        "resume" => row.state == Paused,
        "retry" => matches!(row.state, Retrying | Failed) || is_stopped_by_disk(row),
        "cancel" => matches!(row.state, Queued | Active | Verifying | Paused | Retrying | Failed),
        "follow" | "wait" => !matches!(row.state, Done | Failed | Cancelled),
        "move" => row.state == Queued,
        "link" => row.directory.as_ref().map_or(row.b3.is_some(), |directory| directory.manifest.is_some()),
        "forget" => matches!(row.state, Done | Failed | Cancelled),
        _ => true,
    }
}

/// A file of the share, as `link` takes it; `None` if it cannot be typed.
fn of_shared(file: &FileRow, is_marked: bool) -> Option<Candidate> {
    let shown = typeable(file.name.as_bytes())?;
    let is_other = is_ids(&shown) || ["b3=", "./", "-"].iter().any(|other| shown.starts_with(other));
    let mark = if is_marked || is_other { "./" } else { "" };
    Some(Candidate::new(format!("{mark}{shown}"), file.size.map_or_else(String::new, size)))
}

/// A name as it can be typed. Names with control bytes among others have no such form.
fn typeable(bytes: &[u8]) -> Option<String> {
    let shown = name(bytes);
    unescaped(shown.as_bytes()).is_some_and(|meant| meant == bytes).then_some(shown)
}

fn of_search(row: &SearchRow) -> Candidate {
    Candidate::new(row.id.to_string(), what(row))
}

fn of_download(row: &DownloadRow) -> Candidate {
    Candidate::new(row.id.to_string(), format!("{}, {}", word(&row.state), name(row.name.as_bytes())))
}

/// A hit in some words.
fn about(hit: &HitRow) -> String {
    let files = hit.directory.map_or_else(String::new, |directory| format!(", {}", count(directory.files, "file")));
    let size = bytes_of(hit).map_or_else(String::new, |bytes| format!(", {}", size(bytes)));
    name(hit.name.as_bytes()) + &files + &size
}

/// A peer that is named by its address: no host name is looked up while a user types.
fn literal(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PEER_PORT));
    text.parse().or(ip).ok()
}

/// The directories on the way to files of a peer.
fn directories_of<'a>(files: &'a [Candidate], peer: &'a str) -> impl Iterator<Item = Candidate> + 'a {
    let directories: BTreeSet<&str> = files.iter().flat_map(|file| above(&file.word, peer)).collect();
    directories.into_iter().map(|word| Candidate::new(word, "directory"))
}

/// The directories on the way to a name at a peer, as they are typed.
fn above<'a>(word: &'a str, peer: &str) -> impl Iterator<Item = &'a str> {
    let of_peer = peer.len() + 1;
    word.match_indices('/').filter_map(move |(at, _)| word.get(..=at)).filter(move |above| above.len() > of_peer)
}

/// The names under which a peer has a content, as far as a hit tells: of several names only the first is known to be at one
/// source, which is the first.
fn names_at(addr: SocketAddr, peer: &str, hit: &HitRow) -> Vec<Candidate> {
    let at_all = hit.names.len() == 1 || hit.sources.len() == 1;
    let names: &[RawText] = match hit.sources.contains(&addr) {
        // It is above the files that were found in it.
        _ if hit.directory.is_some() => &[],
        true if at_all => &hit.names,
        true if hit.sources.first() == Some(&addr) => std::slice::from_ref(&hit.name),
        _ => &[],
    };
    let of_name = |bytes: &[u8]| {
        let shown = typeable(bytes)?;
        Some(Candidate::new(format!("{peer}/{shown}"), hit.size.map_or_else(String::new, size)))
    };
    names.iter().filter_map(|raw| of_name(raw.as_bytes())).collect()
}
