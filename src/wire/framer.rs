//! Where a message ends (PROTOCOL, the section of that name, and Streams).

use super::MESSAGE_BYTES_MAX;
use super::decode::strip_end;
use super::error::WireError;
use crate::lines::Lines;

/// What is known of the bytes to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// More may follow.
    More,
    /// The sender has closed its direction.
    Fin,
    /// No byte came for [`SILENCE`](super::SILENCE).
    Silence,
}

/// Cuts the inbound bytes of one connection into frames.
///
/// A frame ends at the first of `\n`, the sender's FIN, and silence; the last two only if a byte was there. Once a
/// frame has ended in `\n`, silence ends none any more: what follows is a stream between two `p1` nodes, whose messages
/// all end in `\n`, and a pause in it is only a slow network. A frame that ended in silence or FIN is the connection's
/// last; what an old program still adds to it, such as a late terminator, is dropped.
///
/// Holds what was pushed since the last frame was taken: take all frames before pushing more.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    lines: Lines,
    state: State,
}

/// How far the connection is.
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
    /// For a connection that has just opened.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that came in. After the last frame, or an error, they are dropped.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Over {
            self.lines.push(bytes);
        }
    }

    /// The next frame, without the `\n` that ended it; call until `None`. Of a stream, frames of nothing but
    /// terminators are left out.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], once, when more than [`MESSAGE_BYTES_MAX`] came without an end; nothing follows it.
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

    /// Bytes that came and were not yet framed.
    pub(crate) fn pending(&self) -> usize {
        self.begun().len()
    }

    /// The bytes of [`pending`](Self::pending).
    pub(crate) fn begun(&self) -> &[u8] {
        self.lines.rest()
    }

    /// Whether silence would now end a frame, so that it is worth waiting for.
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
