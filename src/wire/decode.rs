//! Decoding a frame to a [`Message`] (PROTOCOL, part 1, the table of codes, and Fields; part 2, Ranges and metadata).

use super::attributes;
use super::error::{Field, WireError};
use super::message::{Message, Search, SearchResponse};
use super::{FIRST_CONTACT_TEXT, MESSAGE_BYTES_MAX, SEARCH_TEXT_BYTES_MAX};
use crate::id::QueryId;
use crate::name::has_control;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads one message. Strips every `\n`, `\r` and NUL at the end.
///
/// In codes 0 to 3 everything after a second `:` is ignored, as by the old server, except the field `p1`. IPv4-mapped IPv6
/// addresses become IPv4.
///
/// # Errors
///
/// Names the first field, or the rule, that was violated.
pub fn decode(frame: &[u8]) -> Result<Message, WireError> {
    let frame = strip_end(frame);
    if frame.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong);
    }
    let (code, fields) = match frame {
        [] => return Err(WireError::Empty),
        [code @ b'0'..=b'9', b':', fields @ ..] => (code - b'0', fields),
        _ => return Err(WireError::NoCode),
    };
    match code {
        0 => listening_port(fields).map(|(port, p1)| Message::Register { port, p1 }),
        1 => peers_max(fields).map(|(peers_max, p1)| Message::RequestPeerList { peers_max, p1 }),
        2 => listening_port(fields).map(|(port, p1)| Message::Unregister { port, p1 }),
        3 => listening_port(fields).map(|(port, p1)| Message::Keepalive { port, p1 }),
        4 => Ok(Message::DownloadRequest { name: attributes::parse_name(fields)? }),
        5 => Ok(Message::ListFiles { p1: fields == b"p1" }),
        6 => search(fields).map(search_or_first_contact),
        7 => search_response(fields).map(Message::SearchResponse),
        8 => range_request(fields),
        9 => Ok(Message::MetadataRequest { name: attributes::parse_name(fields)? }),
        _ => Err(WireError::UnknownCode(code)),
    }
}

/// For the log: the file that a message names, also if [`decode`] refuses it or it is incomplete. May be no valid file name.
pub fn named_file(frame: &[u8]) -> Option<&[u8]> {
    let [code, b':', fields @ ..] = strip_end(frame) else { return None };
    let name = match code {
        b'4' | b'9' => Some(fields),
        b'8' => take(fields).1.and_then(|rest| take(rest).1),
        b'7' => take(fields).1.and_then(|rest| split_ip(rest).1).and_then(|rest| take(rest).1),
        _ => None,
    };
    let name = name?.split(|&byte| byte == b'\t').next()?;
    (!name.is_empty()).then_some(name)
}

/// Without the bytes that end messages and lines (PROTOCOL, Where a message ends).
pub(super) fn strip_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | 0)).map_or(0, |at| at + 1);
    &bytes[..end]
}

/// An IP literal; IPv6 without brackets.
pub(super) fn ip_literal(bytes: &[u8]) -> Option<IpAddr> {
    let ip: IpAddr = str::from_utf8(bytes).ok()?.parse().ok()?;
    Some(ip.to_canonical())
}

/// The value of a field of only digits. Numbers too large for the type become its maximum.
pub(super) fn number(digits: &[u8]) -> Option<u32> {
    let value = |value: u32, digit: &u8| value.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then(|| digits.iter().fold(0, value))
}

fn listening_port(fields: &[u8]) -> Result<(u16, bool), WireError> {
    let (port, rest) = take(fields);
    Ok((parse_port(port, Field::ListeningPort)?, says_p1(rest)))
}

fn peers_max(fields: &[u8]) -> Result<(u32, bool), WireError> {
    let (digits, rest) = take(fields);
    Ok((parse_number(digits, Field::MaxPeers)?, says_p1(rest)))
}

/// Whether the first of these fields is `p1` (PROTOCOL, part 2, Towards bootstrap nodes).
fn says_p1(rest: Option<&[u8]>) -> bool {
    rest.is_some_and(|fields| take(fields).0 == b"p1")
}

/// `ID:FileString:RequestingIP:RequestingPort:TTL`: the ID from the left, the rest from the right, because the file string may
/// contain `:`.
fn search(fields: &[u8]) -> Result<Search, WireError> {
    let (id, rest) = take(fields);
    let id = query_id(id)?;
    let (rest, ttl) = take_last(rest.ok_or(WireError::Missing(Field::FileString))?);
    let (rest, port) = take_last(rest.ok_or(WireError::Missing(Field::RequestingPort))?);
    let rest = rest.ok_or(WireError::Missing(Field::RequestingIp))?;
    let ttl = u8::try_from(parse_number(ttl, Field::Ttl)?).unwrap_or(u8::MAX);
    let port = parse_port(port, Field::RequestingPort)?;
    let (text, ip) = match rest.iter().rposition(|&b| b == b'[') {
        // The literal contains `:`, which otherwise ends the field.
        Some(at) if rest.ends_with(b"]") => (rest[..at].strip_suffix(b":"), &rest[at..]),
        _ => take_last(rest),
    };
    let ip = parse_ip(ip, Field::RequestingIp)?;
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return Err(WireError::Missing(Field::FileString));
    }
    if text.len() > SEARCH_TEXT_BYTES_MAX || has_control(text) {
        return Err(WireError::Malformed(Field::FileString));
    }
    Ok(Search { id, text: text.into(), requester: SocketAddr::new(ip, port), ttl })
}

/// A first contact has the form of a search.
fn search_or_first_contact(search: Search) -> Message {
    if search.ttl == 0 && search.id.is_p1() && *search.text == *FIRST_CONTACT_TEXT {
        return Message::FirstContact { id: search.id, requester: search.requester };
    }
    Message::Search(search)
}

/// `ID:RespondingIP:RespondingPort:Filename`, and perhaps attributes.
fn search_response(fields: &[u8]) -> Result<SearchResponse, WireError> {
    let (id, rest) = take(fields);
    let id = query_id(id)?;
    let rest = rest.ok_or(WireError::Missing(Field::RespondingIp))?;
    let (ip, rest) = split_ip(rest);
    let ip = parse_ip(ip, Field::RespondingIp)?;
    let (port, name) = take(rest.ok_or(WireError::Missing(Field::RespondingPort))?);
    let port = parse_port(port, Field::RespondingPort)?;
    let file = attributes::parse(name.ok_or(WireError::Missing(Field::FileName))?)?;
    Ok(SearchResponse { id, responder: SocketAddr::new(ip, port), file })
}

/// The IP literal at the beginning, and what follows its `:`.
fn split_ip(fields: &[u8]) -> (&[u8], Option<&[u8]>) {
    match fields.iter().position(|&b| b == b']') {
        Some(at) if fields.starts_with(b"[") => (&fields[..=at], fields[at + 1..].strip_prefix(b":")),
        _ => take(fields),
    }
}

/// `Offset:Length:Filename`. The range need not be inside the file, but its end must not overflow.
fn range_request(fields: &[u8]) -> Result<Message, WireError> {
    let (offset, rest) = take(fields);
    let offset = parse_bytes(offset, Field::Offset)?;
    let (length, name) = take(rest.ok_or(WireError::Missing(Field::Length))?);
    let length = parse_bytes(length, Field::Length)?;
    if offset.checked_add(length).is_none() {
        return Err(WireError::Malformed(Field::Length));
    }
    let name = attributes::parse_name(name.ok_or(WireError::Missing(Field::FileName))?)?;
    Ok(Message::RangeRequest { offset, length, name })
}

fn query_id(bytes: &[u8]) -> Result<QueryId, WireError> {
    Field::QueryId.parsed(bytes, QueryId::from_bytes(bytes))
}

/// An IPv4 literal, or an IPv6 literal in brackets.
fn parse_ip(bytes: &[u8], field: Field) -> Result<IpAddr, WireError> {
    let parse = |text: &str| match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().map(IpAddr::from).ok(),
        None => text.parse::<Ipv4Addr>().map(IpAddr::from).ok(),
    };
    let ip = str::from_utf8(bytes).ok().and_then(parse);
    field.parsed(bytes, ip.map(|ip| ip.to_canonical()))
}

fn parse_port(bytes: &[u8], field: Field) -> Result<u16, WireError> {
    if bytes.is_empty() {
        return Err(WireError::Missing(field));
    }
    let port = number(bytes).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
    port.ok_or(WireError::BadPort(field))
}

fn parse_number(bytes: &[u8], field: Field) -> Result<u32, WireError> {
    field.parsed(bytes, number(bytes))
}

/// A number of bytes. Unlike a number of peers it is not clamped.
fn parse_bytes(bytes: &[u8], field: Field) -> Result<u64, WireError> {
    field.parsed(bytes, attributes::parse_size(bytes))
}

/// The field before the first `:`, and what follows it if there is one.
fn take(fields: &[u8]) -> (&[u8], Option<&[u8]>) {
    match fields.iter().position(|&b| b == b':') {
        Some(at) => (&fields[..at], Some(&fields[at + 1..])),
        None => (fields, None),
    }
}

/// What precedes the last `:` if there is one, and the field after it.
fn take_last(fields: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match fields.iter().rposition(|&b| b == b':') {
        Some(at) => (Some(&fields[..at]), &fields[at + 1..]),
        None => (None, fields),
    }
}
