//! Identifiers of connections, transfers, hits and contents, for all modules.

use std::fmt;

/// One connection: a request and perhaps its response.
///
/// The side that begins an exchange numbers it: the loop those it accepts, the node those it dials. A number is never
/// used again in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeId {
    /// Accepted by a listener.
    Inbound(u64),
    /// Dialled on the node's order.
    Outbound(u64),
}

/// A client of the control socket, as long as it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// One search or listing that this node made for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SearchId(pub u32);

/// One remembered hit, as users type it. Counts up from 1 and is not reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HitId(pub u32);

/// One download, as users type it. Counts up from 1 and is not reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u32);

/// A filesystem, as far as the system tells one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilesystemId {
    /// Its type, as statfs(2) numbers them.
    pub kind: u64,
    /// Its own number. Some filesystems have the same at every mount, others that of the device.
    pub number: u64,
}

impl FilesystemId {
    /// Reads the form that [`FilesystemId`] is shown in.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        Some(Self { kind: hex(kind)?, number: hex(number)? })
    }
}

impl fmt::Display for FilesystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}", self.kind, self.number)
    }
}

/// Longest query ID taken from the network, in bytes (PROTOCOL, Fields).
pub(crate) const QUERY_ID_BYTES_MAX: usize = 128;

/// The first three digits of the ID of a first contact whose sender no search has come to.
const LACKING_SEARCHES_MARK: u64 = 0xb00;

/// The first three hex digits of a `p1` ID that names a number of hits in the next three.
const HITS_MAX_MARK: u64 = 0xa00;

/// The largest number that three hex digits can name.
const HITS_MAX_NAMED: u64 = 0xfff;

/// The ID of a query on the wire: opaque bytes without `:` or control bytes, forwarded unchanged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(Box<[u8]>);

impl QueryId {
    /// Takes an ID from the wire. `None` if it is empty, longer than [`QUERY_ID_BYTES_MAX`], or holds `:` or a
    /// control byte.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let good = !bytes.is_empty()
            && bytes.len() <= QUERY_ID_BYTES_MAX
            && !bytes.iter().any(|&b| b == b':' || b < 0x20 || b == 0x7f);
        good.then(|| Self(bytes.into()))
    }

    /// The form our own queries carry: `p1-` and 16 hex digits (PROTOCOL, part 2).
    pub fn p1(random: u64) -> Self {
        Self(format!("p1-{random:016x}").into_bytes().into())
    }

    /// A number for [`p1`](Self::p1) that names how many hits the requester takes of one peer (PROTOCOL, part 2, How many
    /// hits).
    pub(crate) fn naming_hits_max(random: u64, hits_max: u32) -> u64 {
        let hits_max = u64::from(hits_max).min(HITS_MAX_NAMED);
        (HITS_MAX_MARK << 52) | (hits_max << 40) | (random & ((1 << 40) - 1))
    }

    /// How many hits the requester takes of one peer, if the ID says so.
    pub(crate) fn hits_max(&self) -> Option<u32> {
        let number = self.number()?;
        (number >> 52 == HITS_MAX_MARK).then_some(((number >> 40) & HITS_MAX_NAMED) as u32)
    }

    /// A number for [`p1`](Self::p1) in a first contact whose sender has received no search for a while (PROTOCOL, part 2, First
    /// contact).
    pub(crate) fn lacking_searches(random: u64) -> u64 {
        (LACKING_SEARCHES_MARK << 52) | (random & ((1 << 52) - 1))
    }

    /// Whether the ID of a first contact has such a number.
    pub(crate) fn lacks_searches(&self) -> bool {
        self.number().is_some_and(|number| number >> 52 == LACKING_SEARCHES_MARK)
    }

    /// The number of a [`p1`](Self::p1) ID.
    fn number(&self) -> Option<u64> {
        let digits = str::from_utf8(self.0.get(3..)?).ok().filter(|_| self.is_p1())?;
        u64::from_str_radix(digits, 16).ok()
    }

    /// The form of a query whose end is asked for (PROTOCOL, part 2, The end of a search): its last digit is `d`.
    pub(crate) fn p1_ending(random: u64) -> Self {
        Self::p1(random & !0xf | 0xd)
    }

    /// Whether nodes are to say when they are done with the query.
    pub(crate) fn asks_for_end(&self) -> bool {
        self.is_p1() && self.0.ends_with(b"d")
    }

    /// Whether the ID shows that its requester speaks `p1`.
    pub fn is_p1(&self) -> bool {
        self.0.len() == 19 && self.0.starts_with(b"p1-") && self.0[3..].iter().all(u8::is_ascii_hexdigit)
    }

    /// The bytes as they stand on the wire.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A BLAKE3 hash of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// Reads 64 hex digits of either case.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let digits: &[u8; 2 * 32] = hex.try_into().ok()?;
        // In two passes without a branch, which take an eighth of the time: lists have a million of them.
        let values = digits.map(hex_value);
        let bits = values.iter().fold(0, |bits, value| bits | value);
        let bytes = std::array::from_fn(|at| values[2 * at] << 4 | values[2 * at + 1] & 0xf);
        (bits <= 0xf).then_some(Self(bytes))
    }
}

impl fmt::Display for ContentHash {
    /// 64 lower-case hex digits, as `b3sum` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// The value of a hex digit of either case; 0xff for another byte.
const fn hex_value(byte: u8) -> u8 {
    let (digit, letter) = (byte.wrapping_sub(b'0'), (byte | 0x20).wrapping_sub(b'a'));
    if digit < 10 {
        digit
    } else if letter < 6 {
        letter + 10
    } else {
        0xff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_query_ids_are_known_as_p1() {
        assert_eq!(QueryId::p1(0xab).as_bytes(), b"p1-00000000000000ab");
        assert!(QueryId::p1(u64::MAX).is_p1());
        assert!(QueryId::p1_ending(u64::MAX).is_p1() && QueryId::p1_ending(u64::MAX).asks_for_end());
        assert!(!QueryId::p1(0xdc).asks_for_end() && !QueryId::from_bytes(b"abcd").unwrap().asks_for_end());
        for other in [&b"p1-"[..], b"p1-00000000000000ag", b"p2-00000000000000ab", b"p1-00000000000000ab0"] {
            assert!(!QueryId::from_bytes(other).unwrap().is_p1());
        }
    }

    #[test]
    fn the_id_of_a_first_contact_may_show_that_its_sender_lacks_searches() {
        let id = QueryId::p1(QueryId::lacking_searches(u64::MAX));
        assert_eq!(id.as_bytes(), b"p1-b00fffffffffffff");
        assert!(id.lacks_searches() && id.hits_max().is_none());
        for other in [&b"p1-a00fffffffffffff"[..], b"p1-0b00ffffffffffff", b"p2-b00fffffffffffff", b"b00fffffffffffff"]
        {
            assert!(!QueryId::from_bytes(other).unwrap().lacks_searches());
        }
    }

    #[test]
    fn a_p1_id_may_name_how_many_hits_are_taken() {
        let id = |hits_max| QueryId::p1(QueryId::naming_hits_max(u64::MAX, hits_max));
        assert_eq!(id(1_000).as_bytes(), b"p1-a003e8ffffffffff");
        assert_eq!((id(0).hits_max(), id(1_000).hits_max(), id(5_000).hits_max()), (Some(0), Some(1_000), Some(4_095)));
        for other in [&b"p1-0000000000000001"[..], b"p1-a003e8fffffffff", b"a003e8ffffffffff", b"p1-a003e8fffffffffg"] {
            assert_eq!(QueryId::from_bytes(other).unwrap().hits_max(), None);
        }
    }

    #[test]
    fn query_ids_refuse_what_would_break_a_message() {
        for bad in [&b""[..], b"a:b", b"a\nb", &[b'a'; 129]] {
            assert_eq!(QueryId::from_bytes(bad), None);
        }
        assert!(QueryId::from_bytes(&[b'a'; 128]).is_some());
    }

    #[test]
    fn a_hash_reads_what_it_prints() {
        let hash = ContentHash(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(ContentHash::from_hex(hash.to_string().as_bytes()), Some(hash));
        assert_eq!(ContentHash::from_hex(b"ab"), None);
        assert_eq!(ContentHash::from_hex(&[b'g'; 64]), None);
    }

    #[test]
    fn hex_digits_of_either_case_are_read_and_nothing_else() {
        let hash = ContentHash(std::array::from_fn(|i| i as u8 * 7));
        let hex = hash.to_string().into_bytes();
        assert_eq!(ContentHash::from_hex(&hex.to_ascii_uppercase()), Some(hash));
        for at in 0..hex.len() {
            for byte in 0..=u8::MAX {
                let mut other = hex.clone();
                other[at] = byte;
                let expected = blake3::Hash::from_hex(&other).ok().map(|hash| ContentHash(hash.into()));
                assert_eq!(ContentHash::from_hex(&other), expected, "{byte} at {at}");
            }
        }
    }
}
