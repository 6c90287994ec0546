//! A peer that speaks part 2 of the protocol, written here from its text, and as false as a test wants it.
//!
//! It keeps every byte that each connection brought, from the moment it came.

use super::lies::{Role, Vice, speak};
use super::{LIMIT, content_hash, metadata};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a message that was begun waits for its next byte.
const SILENCE: Duration = Duration::from_millis(400);

/// How a peer behaves. In the beginning: honest, fast, and all its files hashed.
#[derive(Clone)]
pub(crate) struct Manners {
    /// It knows part 1 only: lists and hits are bare, and codes 8 and 9 are refused.
    pub(crate) base: bool,
    /// It knows the hashes of its files, tells them, and answers code 9.
    pub(crate) hashed: bool,
    /// It tells hashes, and refuses codes 8 and 9 all the same: what it has comes by code 4 alone.
    pub(crate) wholes_only: bool,
    /// It tells sizes that are larger than the truth by so much, in lists and hits.
    pub(crate) boasts: u64,
    /// It tells this size in lists and hits, whatever the truth is.
    pub(crate) claims: Option<u64>,
    /// Bytes a second of each response.
    pub(crate) rate: Option<u64>,
    /// When the vices below are in force.
    pub(crate) role: Role,
    /// How it answers code 8.
    pub(crate) ranges: Vice,
    /// How it answers code 9.
    pub(crate) metadata: Vice,
    /// How it answers code 4.
    pub(crate) files: Vice,
}

impl Default for Manners {
    fn default() -> Self {
        let (ranges, metadata, files) = (Vice::None, Vice::None, Vice::None);
        Self {
            base: false,
            hashed: true,
            wholes_only: false,
            boasts: 0,
            claims: None,
            rate: None,
            role: Role::Always,
            ranges,
            metadata,
            files,
        }
    }
}

/// What one connection brought so far.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) bytes: Vec<u8>,
    /// The other side ended it.
    pub(crate) ended: bool,
}

impl Connection {
    /// The messages on it, without their ends.
    pub(crate) fn messages(&self) -> Vec<String> {
        let pieces = self.bytes.split(|&byte| byte == b'\n').filter(|piece| !piece.is_empty());
        pieces.map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    }
}

struct Inner {
    files: Mutex<Vec<(String, Arc<Vec<u8>>)>>,
    manners: Mutex<Manners>,
    connections: Mutex<Vec<Connection>>,
    /// The open ends of the connections that brought searches or hits, by their place among all.
    streams: Mutex<BTreeMap<usize, TcpStream>>,
    gone: AtomicBool,
}

/// A peer in a thread of its own.
pub(crate) struct P1Peer {
    pub(crate) addr: SocketAddr,
    inner: Arc<Inner>,
}

impl P1Peer {
    /// Shares one file.
    pub(crate) fn sharing(name: &str, content: &[u8], manners: Manners) -> Self {
        Self::sharing_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), name, content, manners)
    }

    /// As [`Self::sharing`], at an endpoint of choice.
    pub(crate) fn sharing_at(addr: SocketAddr, name: &str, content: &[u8], manners: Manners) -> Self {
        let listener = TcpListener::bind(addr).expect("the endpoint is free");
        let addr = listener.local_addr().expect("it is bound");
        let inner = Arc::new(Inner {
            files: Mutex::new(vec![(name.to_owned(), Arc::new(content.to_vec()))]),
            manners: Mutex::new(manners),
            connections: Mutex::default(),
            streams: Mutex::default(),
            gone: AtomicBool::new(false),
        });
        let serving = Arc::clone(&inner);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if serving.gone.load(Ordering::SeqCst) {
                    return;
                }
                let inner = Arc::clone(&serving);
                let key = inner.begin();
                std::thread::spawn(move || {
                    inner.converse(stream, key, addr);
                    inner.streams.lock().expect("no writer panicked").remove(&key);
                });
            }
        });
        Self { addr, inner }
    }

    /// Shares a file more.
    pub(crate) fn add(&self, name: &str, content: &[u8]) {
        self.inner.files.lock().expect("no writer panicked").push((name.to_owned(), Arc::new(content.to_vec())));
    }

    /// Changes its manners, for what is asked from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.inner.manners.lock().expect("no writer panicked"));
    }

    /// What each connection brought so far, in the order of arrival; those that brought nothing are left out.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let connections = self.inner.connections.lock().expect("no writer panicked");
        connections.iter().filter(|connection| !connection.bytes.is_empty()).cloned().collect()
    }

    /// Ends the streams that are open: in order, or by RST.
    pub(crate) fn end_streams(&self, in_order: bool) {
        for stream in self.inner.streams.lock().expect("no writer panicked").values() {
            // Either way its reader wakes up, and drops it.
            let _ = if in_order {
                stream.shutdown(Shutdown::Both)
            } else {
                SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("linger can be set");
                stream.shutdown(Shutdown::Read)
            };
        }
    }

    /// How many streams are open.
    pub(crate) fn streams_open(&self) -> usize {
        self.inner.streams.lock().expect("no writer panicked").len()
    }

    /// All messages that begin so, one connection after the other.
    pub(crate) fn asked(&self, prefix: &str) -> Vec<String> {
        let messages = self.connections().into_iter().flat_map(|connection| connection.messages());
        messages.filter(|message| message.starts_with(prefix)).collect()
    }
}

impl Drop for P1Peer {
    fn drop(&mut self) {
        self.inner.gone.store(true, Ordering::SeqCst);
        // Wakes the thread, which then drops the listener.
        let _ = TcpStream::connect_timeout(&self.addr, LIMIT);
    }
}

impl Inner {
    fn begin(&self) -> usize {
        let mut connections = self.connections.lock().expect("no writer panicked");
        connections.push(Connection { bytes: Vec::new(), ended: false });
        connections.len() - 1
    }

    fn record(&self, key: usize, bytes: &[u8]) {
        let mut connections = self.connections.lock().expect("no writer panicked");
        connections[key].bytes.extend_from_slice(bytes);
        connections[key].ended |= bytes.is_empty();
    }

    /// Reads messages as part 1 ends them, and answers each; one with a response is the last.
    fn converse(&self, mut stream: TcpStream, key: usize, local: SocketAddr) {
        let mut unread: Vec<u8> = Vec::new();
        let mut part = vec![0; 1 << 16];
        loop {
            let complete = match unread.iter().position(|&byte| byte == b'\n') {
                Some(end) => Some(unread.drain(..=end).collect::<Vec<u8>>()),
                None => {
                    let wait = if unread.is_empty() { LIMIT * 6 } else { SILENCE };
                    stream.set_read_timeout(Some(wait)).expect("a timeout can be set");
                    match stream.read(&mut part) {
                        Ok(0) => {
                            self.record(key, &[]);
                            let last = std::mem::take(&mut unread);
                            if !last.is_empty() {
                                self.answer(stream, last.trim_ascii_end(), local);
                            }
                            return;
                        }
                        Ok(count) => {
                            self.record(key, &part[..count]);
                            unread.extend_from_slice(&part[..count]);
                            None
                        }
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                            Some(std::mem::take(&mut unread))
                        }
                        Err(_) => return self.record(key, &[]),
                    }
                }
            };
            match complete {
                None => {}
                Some(message) if message.is_empty() => return,
                Some(message) if matches!(message[0], b'6' | b'7') => {
                    let end = stream.try_clone().expect("a descriptor is left");
                    self.streams.lock().expect("no writer panicked").insert(key, end);
                    self.on_notice(message.trim_ascii_end(), local);
                }
                Some(message) => return self.answer(stream, message.trim_ascii_end(), local),
            }
        }
    }

    /// A message without a response.
    fn on_notice(&self, message: &[u8], local: SocketAddr) {
        let text = String::from_utf8_lossy(message);
        if text.starts_with("6:") {
            self.on_search(&text, local);
        }
    }

    fn on_search(&self, text: &str, local: SocketAddr) {
        let Some((id, wanted, requester)) = search_fields(text) else { return };
        let manners = self.manners();
        let found = self.found(&wanted, &manners);
        if found.is_empty() {
            return;
        }
        let p1 = id.starts_with("p1-") && !manners.base;
        let shown = if p1 { &found[..] } else { &found[..1] };
        let hits: Vec<String> = shown
            .iter()
            .map(|(name, content)| {
                let attributes = if p1 { attributes_of(content, &manners) } else { String::new() };
                format!("7:{id}:{}:{}:{name}{attributes}", local.ip(), local.port())
            })
            .collect();
        let text = if p1 { hits.join("\n") + "\n" } else { hits.concat() };
        if let Ok(mut to) = TcpStream::connect(requester) {
            let _ = to.write_all(text.as_bytes());
        }
    }

    /// The files that a search means.
    fn found(&self, wanted: &str, manners: &Manners) -> Vec<(String, Arc<Vec<u8>>)> {
        let files = self.files.lock().expect("no writer panicked");
        let by_hash = wanted.strip_prefix("b3=").filter(|_| manners.hashed && !manners.base);
        let meant = files.iter().filter(|(name, content)| match by_hash {
            Some(hash) => content_hash(content) == hash,
            None => name.contains(wanted),
        });
        meant.cloned().collect()
    }

    /// A message with a response. Whatever else was said ends the connection.
    fn answer(&self, stream: TcpStream, message: &[u8], local: SocketAddr) {
        let text = String::from_utf8_lossy(message).into_owned();
        let manners = self.manners();
        let file = |name: &str| {
            let files = self.files.lock().expect("no writer panicked");
            files.iter().find(|(known, _)| known == name).map(|(_, content)| Arc::clone(content))
        };
        let (code, rest) = text.split_once(':').unwrap_or((&text, ""));
        let vice = |code: char, vice: &Vice| if manners.role.is_false(code, local) { vice.clone() } else { Vice::None };
        let refuse = (Vec::new(), Vice::Refuses);
        let (response, vice) = match code {
            "4" => file(rest).map_or(refuse, |content| (content.to_vec(), vice('4', &manners.files))),
            "5" => (self.list(rest == "p1" && !manners.base, &manners), Vice::None),
            "6" if !manners.base && asks_what_it_speaks(rest) => (b"p1\n".to_vec(), Vice::None),
            "6" | "7" => return self.on_notice(message, local),
            "8" if !manners.base && !manners.wholes_only => {
                let vice = vice('8', &manners.ranges);
                range(rest, file, &vice).map_or(refuse, |bytes| (bytes, vice))
            }
            "9" if !manners.base && !manners.wholes_only && manners.hashed => {
                file(rest).map_or(refuse, |content| (metadata(&content), vice('9', &manners.metadata)))
            }
            _ => refuse,
        };
        speak(stream, &response, &vice, manners.rate);
    }

    fn list(&self, p1: bool, manners: &Manners) -> Vec<u8> {
        let files = self.files.lock().expect("no writer panicked");
        let lines = files.iter().map(|(name, content)| {
            let attributes = if p1 { attributes_of(content, manners) } else { String::new() };
            format!("{name}{attributes}\n")
        });
        lines.collect::<String>().into_bytes()
    }

    fn manners(&self) -> Manners {
        self.manners.lock().expect("no writer panicked").clone()
    }
}

/// What follows a name towards a `p1` node.
fn attributes_of(content: &[u8], manners: &Manners) -> String {
    let size = manners.claims.unwrap_or(content.len() as u64 + manners.boasts);
    let size = format!("\tsize={size}");
    if manners.hashed { format!("{size}\tb3={}", content_hash(content)) } else { size }
}

/// The bytes that a range request means; `None` if they are not wholly inside the file.
fn range(fields: &str, file: impl Fn(&str) -> Option<Arc<Vec<u8>>>, vice: &Vice) -> Option<Vec<u8>> {
    let mut fields = fields.splitn(3, ':');
    let mut number = || fields.next()?.parse::<usize>().ok();
    let (offset, length) = (number()?, number()?);
    let content = file(fields.next()?)?;
    if matches!(vice, Vice::Pads) {
        return Some(content.iter().copied().chain(std::iter::repeat(0)).skip(offset).take(length).collect());
    }
    content.get(offset..offset.checked_add(length)?).map(<[u8]>::to_vec)
}

/// ID, file string and requester of a search.
pub(crate) fn search_fields(text: &str) -> Option<(String, String, SocketAddr)> {
    let (rest, _ttl) = text.strip_prefix("6:")?.rsplit_once(':')?;
    let (rest, port) = rest.rsplit_once(':')?;
    let (rest, ip) = rest.rsplit_once(':')?;
    let (id, wanted) = rest.split_once(':')?;
    Some((id.to_owned(), wanted.to_owned(), format!("{ip}:{port}").parse().ok()?))
}

/// Says nothing more, and waits until the other side has ended the connection too.
pub(crate) fn hang_up(mut stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(LIMIT));
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A first contact: a search for the hash of 64 zeros that goes no further (PROTOCOL, part 2, First contact).
fn asks_what_it_speaks(fields: &str) -> bool {
    let text = format!(":b3={}:", "0".repeat(64));
    fields.starts_with("p1-") && fields.contains(&text) && fields.ends_with(":0")
}
