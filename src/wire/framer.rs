//! Framing (PROTOCOL, Where a message ends, and Streams).

use super::MESSAGE_BYTES_MAX;
use super::decode::strip_end;
use super::error::WireError;
use crate::lines::Lines;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    More,
    /// The sender has closed its direction.
    Fin,
    /// No byte came for [`SILENCE`](super::SILENCE).
    Silence,
}

/// Splits the inbound bytes of one connection into frames.
///
/// A frame ends at the first of `\n`, the sender's FIN, and silence; the last two only after a byte. After a frame that ended
/// in `\n`, silence ends no frame: what follows is a stream between two `p1` nodes, whose messages all end in `\n`. A frame
/// that ended by silence or FIN is the last; further bytes, such as a late terminator, are dropped.
///
/// Take all frames before pushing more bytes.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    lines: Lines,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// No frame has ended.
    #[default]
    First,
    /// A frame ended in `\n`.
    Stream,
    /// No frame follows.
    Over,
}

impl Framer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds received bytes. After the last frame, or an error, they are dropped.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Over {
            self.lines.push(bytes);
        }
    }

    /// The next frame, without its `\n`; call until `None`. In a stream, frames of only terminators are skipped.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], once, after more than [`MESSAGE_BYTES_MAX`] without an end; no frame follows it.
    pub(crate) fn next_frame(&mut self, end: End) -> Option<Result<Vec<u8>, WireError>> {
        loop {
            let first = self.state == State::First;
            let frame = self.cut(end)?;
            match frame {
                Ok(frame) if !first && strip_end(&frame).is_empty() => continue,
                _ => return Some(frame),
            }
        }
    }

    /// Received bytes that are not framed yet.
    pub(crate) fn pending(&self) -> usize {
        self.begun().len()
    }

    pub(crate) fn begun(&self) -> &[u8] {
        self.lines.rest()
    }

    pub(crate) fn silence_ends(&self) -> bool {
        self.state == State::First && self.pending() > 0
    }

    /// Whether a frame has ended in `\n`, so that more may follow.
    pub(crate) fn is_stream(&self) -> bool {
        self.state == State::Stream
    }

    fn cut(&mut self, end: End) -> Option<Result<Vec<u8>, WireError>> {
        if let Some(line) = self.lines.next(MESSAGE_BYTES_MAX) {
            let frame = line.map(<[u8]>::to_vec).map_err(|_| WireError::TooLong);
            self.state = State::Stream;
            if frame.is_err() {
                self.finish();
            }
            return Some(frame);
        }
        let ends = self.pending() > 0 && (end == End::Fin || end == End::Silence && self.silence_ends());
        ends.then(|| {
            let frame = self.begun().to_vec();
            self.finish();
            Ok(frame)
        })
    }

    fn finish(&mut self) {
        *self = Self { state: State::Over, ..Self::default() };
    }
}
