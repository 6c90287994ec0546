//! Keys, from the bytes that a terminal sends for them (ECMA-48; the sequences are those that xterm, the console of Linux, tmux
//! and screen agree on).
//!
//! The reader of crossterm is not used: it reads a blocking terminal until a sequence is complete, so that neither a signal nor
//! the daemon would be noticed meanwhile, and loops without end where the terminal is gone.

/// A sequence is not longer than this; what is longer is dropped.
const SEQUENCE_BYTES_MAX: usize = 32;

const ESCAPE: u8 = 0x1b;

/// Ends a text that is pasted.
const PASTE_END: &[u8] = b"\x1b[201~";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A character that is no control character.
    Char(char),
    /// The same in a text that was pasted, which is no command.
    Pasted(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    BackTab,
    Enter,
    Escape,
    Backspace,
    /// With the letter in lower case.
    Control(char),
}

/// The bytes that came, and are no whole key yet.
#[derive(Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    is_pasting: bool,
}

/// What a beginning of the bytes is.
enum Front {
    /// A key of so many bytes; `None` if it stands for nothing that we know.
    Whole(usize, Option<Key>),
    PasteBegins(usize),
    /// More bytes are needed.
    Partial,
}

impl Keys {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether bytes wait for others that make them a key. An escape byte may stand alone: whether it does, only time tells.
    /// In a text that is pasted it does not, however long its end takes.
    pub(super) fn is_partial(&self) -> bool {
        !self.is_pasting && !self.bytes.is_empty()
    }

    /// The next key, as far as its bytes are there.
    pub(super) fn next(&mut self) -> Option<Key> {
        loop {
            // Only the end of the text is looked for, which may follow what looks like the beginning of a sequence.
            if self.is_pasting && self.bytes.first() == Some(&ESCAPE) {
                if self.bytes.starts_with(PASTE_END) {
                    self.is_pasting = false;
                    self.bytes.drain(..PASTE_END.len());
                } else if PASTE_END.starts_with(&self.bytes) {
                    return None;
                } else {
                    self.bytes.remove(0);
                }
                continue;
            }
            let (bytes, key) = match front(&self.bytes)? {
                Front::Whole(bytes, key) => (bytes, key),
                Front::PasteBegins(bytes) => {
                    self.is_pasting = true;
                    (bytes, None)
                }
                Front::Partial if self.bytes.len() > SEQUENCE_BYTES_MAX => (self.bytes.len(), None),
                Front::Partial => return None,
            };
            self.bytes.drain(..bytes);
            match key {
                // Where the end of a paste is lost, this is the way out.
                Some(Key::Control('c')) => {
                    self.is_pasting = false;
                    return key;
                }
                Some(Key::Char(c)) if self.is_pasting => return Some(Key::Pasted(c)),
                Some(key) if !self.is_pasting => return Some(key),
                _ => {}
            }
        }
    }

    /// No byte has followed: an escape byte was the key of that name, and any other beginning is dropped.
    pub(super) fn settle(&mut self) -> Option<Key> {
        if self.is_pasting {
            return None;
        }
        let is_escape = self.bytes == [ESCAPE];
        self.bytes.clear();
        is_escape.then_some(Key::Escape)
    }
}

/// What the bytes begin with; `None` if there are none.
fn front(bytes: &[u8]) -> Option<Front> {
    let whole = |key| Front::Whole(1, Some(key));
    Some(match *bytes.first()? {
        ESCAPE => match bytes.get(1) {
            None => Front::Partial,
            Some(b'[') => control_sequence(bytes),
            Some(b'O') => match bytes.get(2) {
                None => Front::Partial,
                Some(&last) => Front::Whole(3, arrow(last)),
            },
            Some(_) => whole(Key::Escape),
        },
        b'\r' | b'\n' => whole(Key::Enter),
        b'\t' => whole(Key::Tab),
        0x7f | 0x08 => whole(Key::Backspace),
        byte @ 0x01..=0x1a => whole(Key::Control(char::from(byte - 1 + b'a'))),
        0..0x20 => Front::Whole(1, None),
        _ => character(bytes),
    })
}

/// `ESC [`, parameters, and a last byte that says what it is.
fn control_sequence(bytes: &[u8]) -> Front {
    let Some(end) = bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte)).map(|at| at + 2) else {
        return Front::Partial;
    };
    let parameters = &bytes[2..end];
    let first = parameters.split(|&byte| byte == b';').next().and_then(|first| std::str::from_utf8(first).ok());
    let key = match (bytes[end], first) {
        // Function keys of the console of Linux: one byte more.
        (b'[', _) => return if bytes.len() > end + 1 { Front::Whole(end + 2, None) } else { Front::Partial },
        (b'~', Some("200")) => return Front::PasteBegins(end + 1),
        (b'~', Some("1" | "7")) => Some(Key::Home),
        (b'~', Some("4" | "8")) => Some(Key::End),
        (b'~', Some("5")) => Some(Key::PageUp),
        (b'~', Some("6")) => Some(Key::PageDown),
        (b'Z', _) => Some(Key::BackTab),
        (last, _) => arrow(last),
    };
    Front::Whole(end + 1, key)
}

fn arrow(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'H' => Key::Home,
        b'F' => Key::End,
        b'M' => Key::Enter,
        _ => return None,
    })
}

/// A character in UTF-8. Bytes that are none are passed over.
fn character(bytes: &[u8]) -> Front {
    let length = match bytes[0] {
        0..0x80 => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Front::Whole(1, None),
    };
    match std::str::from_utf8(&bytes[..length.min(bytes.len())]) {
        Ok(text) => Front::Whole(length, text.chars().next().filter(|c| !c.is_control()).map(Key::Char)),
        Err(error) if error.error_len().is_none() => Front::Partial,
        Err(_) => Front::Whole(1, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        keys.push(bytes);
        std::iter::from_fn(|| keys.next()).collect()
    }

    #[test]
    fn keys_are_told_from_their_bytes_also_byte_by_byte() {
        let bytes =
            "aé日\x1b[A\x1bOB\x1b[1;5A\x1b[5~\x1b[6~\x1b[H\x1b[4~\x1b[Z\t\r\x7f\x03\x1b[[Aq\x1b[11~z".as_bytes();
        let wanted = [
            Key::Char('a'),
            Key::Char('é'),
            Key::Char('日'),
            Key::Up,
            Key::Down,
            Key::Up,
            Key::PageUp,
            Key::PageDown,
            Key::Home,
            Key::End,
            Key::BackTab,
            Key::Tab,
            Key::Enter,
            Key::Backspace,
            Key::Control('c'),
            Key::Char('q'),
            Key::Char('z'),
        ];
        assert_eq!(keys(bytes), wanted);
        let mut slow = Keys::default();
        let mut came = Vec::new();
        for byte in bytes {
            slow.push(&[*byte]);
            came.extend(std::iter::from_fn(|| slow.next()));
        }
        assert_eq!(came, wanted);
    }

    #[test]
    fn an_escape_byte_alone_is_a_key_when_nothing_follows() {
        let mut keys = Keys::default();
        keys.push(b"\x1b");
        assert_eq!((keys.next(), keys.is_partial()), (None, true));
        assert_eq!((keys.settle(), keys.is_partial()), (Some(Key::Escape), false));
        keys.push(b"\x1b[");
        assert_eq!((keys.next(), keys.settle(), keys.next()), (None, None, None));
        assert_eq!(super::tests::keys(b"\x1bq"), [Key::Escape, Key::Char('q')]);
    }

    #[test]
    fn what_is_pasted_is_no_command() {
        let pasted = "cy\r".chars().filter(|c| !c.is_control()).map(Key::Pasted);
        let wanted: Vec<Key> = pasted.chain([Key::Char('q')]).collect();
        assert_eq!(keys(b"\x1b[200~cy\r\x1b[201~q"), wanted);
    }

    #[test]
    fn the_end_of_a_paste_is_found_however_it_comes() {
        let after = |parts: &[&[u8]]| {
            let mut keys = Keys::default();
            let mut came = Vec::new();
            for part in parts {
                keys.push(part);
                came.extend(std::iter::from_fn(|| keys.next()));
                assert!(!keys.is_partial(), "time has no part in it");
                came.extend(keys.settle());
            }
            came
        };
        let (text, q) = (Key::Pasted('a'), Key::Char('q'));
        assert_eq!(after(&[b"\x1b[200~a\x1b", b"[201~q"]), [text, q], "after a pause");
        assert_eq!(after(&[b"\x1b[200~a", b"\x1b[20", b"1~q"]), [text, q]);
        assert_eq!(after(&[b"\x1b[200~a\x1b[\x1b[201~q"]), [text, Key::Pasted('['), q], "after a text like it");
        assert_eq!(after(&[b"\x1b[200~a\x1b\x1b", b"[201~q"]), [text, q]);
        assert_eq!(after(&[b"\x1b[200~a\xe6\x1b[201~q"]), [text, q]);
        assert_eq!(after(&[b"\x1b[200~a", b"q\x03q"]), [text, Key::Pasted('q'), Key::Control('c'), q], "never");
    }

    #[test]
    fn no_bytes_are_kept_without_end() {
        for bytes in [&b"\xff\xfe\xc3\x28"[..], b"\x00\x1c", b"\x1b["] {
            let mut keys = Keys::default();
            keys.push(bytes);
            while keys.next().is_some() {}
            keys.push(&[b'1'; 2 * SEQUENCE_BYTES_MAX]);
            while keys.next().is_some() {}
            assert!(keys.bytes.len() <= SEQUENCE_BYTES_MAX, "{bytes:?}");
        }
        assert_eq!(keys("\u{9b}1\u{85}".as_bytes()), [Key::Char('1')], "no control character");
    }
}
