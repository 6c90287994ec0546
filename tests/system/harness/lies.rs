//! The ways in which a source may fail its requester.

use super::p1::hang_up;
use super::{LIMIT, pause, reset};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What is done to a response. Counts are bytes of it that go out first.
#[derive(Debug, Clone)]
pub(crate) enum Vice {
    /// Nothing: it is the truth.
    None,
    /// RST without a byte.
    Refuses,
    /// RST in the middle.
    Dies(usize),
    /// So many bytes of all responses together, then RST for ever.
    Exhausts(Arc<AtomicUsize>),
    /// Silence in the middle, and the connection stays open.
    Stalls(usize),
    /// FIN in the middle, as if that were all.
    Truncates(usize),
    /// One bit of the byte at this place, or of the last one, is another.
    Corrupts(usize),
    /// More bytes than were asked for.
    Adds(usize),
    /// Ranges beyond the end are no matter: zeros follow the file.
    Pads,
    /// These bytes instead, then FIN.
    Says(Vec<u8>),
}

/// When a peer is false.
#[derive(Clone)]
pub(crate) enum Role {
    /// Whenever it is asked.
    Always,
    /// If it is the first of those that share the place to be asked this code: from then on, in everything.
    FirstAsked(char, Arc<OnceLock<SocketAddr>>),
    /// If another of those that share the place was asked this code before.
    LaterAsked(char, Arc<OnceLock<SocketAddr>>),
}

impl Role {
    /// The role of all that share it: one of them is false, whichever is asked first.
    pub(crate) fn first_asked(code: char) -> Self {
        Self::FirstAsked(code, Arc::default())
    }

    /// The role of all that share it: one of them is true, whichever is asked first.
    pub(crate) fn later_asked(code: char) -> Self {
        Self::LaterAsked(code, Arc::default())
    }

    /// Whether the peer at this endpoint, which is asked this code now, is false.
    pub(super) fn is_false(&self, asked: char, me: SocketAddr) -> bool {
        let first = |code: char, place: &OnceLock<SocketAddr>| {
            if code == asked { Some(*place.get_or_init(|| me)) } else { place.get().copied() }
        };
        match self {
            Self::Always => true,
            Self::FirstAsked(code, place) => first(*code, place) == Some(me),
            Self::LaterAsked(code, place) => first(*code, place).is_some_and(|first| first != me),
        }
    }

    /// Who was asked first.
    pub(crate) fn first(&self) -> Option<SocketAddr> {
        match self {
            Self::Always => None,
            Self::FirstAsked(_, place) | Self::LaterAsked(_, place) => place.get().copied(),
        }
    }
}

/// Sends a response, as the vice makes it.
pub(super) fn speak(mut stream: TcpStream, truth: &[u8], vice: &Vice, rate: Option<u64>) {
    let mut bytes = truth.to_vec();
    let mut exhausted = false;
    match vice {
        Vice::None | Vice::Pads => {}
        Vice::Exhausts(left) => {
            let take = |left: usize| Some(left.saturating_sub(truth.len()));
            let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).expect("it always takes");
            exhausted = before < truth.len();
            bytes.truncate(before);
        }
        Vice::Refuses => return reset(stream),
        Vice::Dies(count) | Vice::Stalls(count) | Vice::Truncates(count) => bytes.truncate(*count),
        Vice::Corrupts(place) => {
            let last = bytes.len().saturating_sub(1);
            if let Some(byte) = bytes.get_mut((*place).min(last)) {
                *byte ^= 1;
            }
        }
        Vice::Adds(count) => bytes.extend(std::iter::repeat_n(b'+', *count)),
        Vice::Says(other) => bytes.clone_from(other),
    }
    if !send(&mut stream, &bytes, rate) {
        return;
    }
    match vice {
        Vice::Dies(_) => reset_late(stream),
        Vice::Exhausts(_) if exhausted => reset_late(stream),
        Vice::Stalls(_) => {
            let _ = stream.set_read_timeout(Some(LIMIT * 6));
            // Its requester may have half-closed: only a failing write would tell that it is gone.
            let _ = stream.read_to_end(&mut Vec::new());
            pause(LIMIT * 6);
        }
        _ => hang_up(stream),
    }
}

/// Closes by RST when the requester has had time to read what came before: a reset takes back what lies unread.
fn reset_late(stream: TcpStream) {
    pause(Duration::from_millis(150));
    reset(stream);
}

/// Sends at a rate, in pieces of a fiftieth of a second; says whether all went out.
fn send(stream: &mut TcpStream, bytes: &[u8], rate: Option<u64>) -> bool {
    let Some(rate) = rate else { return stream.write_all(bytes).is_ok() };
    let watch = super::Stopwatch::start();
    let mut sent = 0;
    for piece in bytes.chunks((rate / 50).max(1) as usize) {
        if stream.write_all(piece).is_err() {
            return false;
        }
        sent += piece.len() as u64;
        let due = Duration::from_millis(sent * 1_000 / rate);
        pause(due.saturating_sub(watch.elapsed()));
    }
    true
}
