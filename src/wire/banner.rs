//! Recognising other programs by their greetings and error pages.
//!
//! Uses only the first line of a response. Nearly any line can be a name in a base peer's list, so a greeting must have the
//! form that its protocol prescribes, with its line end or keywords.

use crate::fault::OtherProgram;

/// A greeting of a mail or FTP server that does not end in CRLF contains one of these.
const GREETING_WORDS: [&[u8]; 4] = [b"smtp", b"ftp", b"ready", b"service"];

/// The other program that sends this first line, if it is recognised. The line has no `\n`, but may end in `\r`.
pub(crate) fn other_program(line: &[u8]) -> Option<OtherProgram> {
    if is_web(line) {
        Some(OtherProgram::Web)
    } else if is_ssh(line) {
        Some(OtherProgram::Ssh)
    } else if is_greeting(line) {
        Some(OtherProgram::MailOrFtp)
    } else if is_database(line) {
        Some(OtherProgram::Database)
    } else if is_remote_desktop(line) {
        Some(OtherProgram::RemoteDesktop)
    } else if is_json(line) {
        Some(OtherProgram::Unknown)
    } else {
        None
    }
}

/// A JSON object in one line, which many services send after an unknown request.
fn is_json(line: &[u8]) -> bool {
    line.starts_with(b"{\"") && line.trim_ascii_end().ends_with(b"}")
}

/// The handshake of MySQL: a length of three bytes, the upper two 0, the number 0, and the protocol version 10, which is `\n`.
/// Or an error of Redis or memcached, which ends in CRLF.
fn is_database(line: &[u8]) -> bool {
    let is_handshake = matches!(line, [_, 0, 0, 0]);
    let errors = [&b"-NOAUTH "[..], b"-DENIED ", b"ERR ", b"ERROR\r"];
    is_handshake || (line.ends_with(b"\r") && errors.iter().any(|error| line.starts_with(error)))
}

/// The version of RFB (VNC): `RFB 003.008`, RFC 6143, section 7.1.1.
fn is_remote_desktop(line: &[u8]) -> bool {
    let Some([major @ .., b'.', _, _, _]) = line.strip_prefix(b"RFB ") else { return false };
    major.len() == 3 && line[4..].iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// A status line of HTTP, or an HTML page.
fn is_web(line: &[u8]) -> bool {
    let begins = |tag: &[u8]| line.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
    let status = line.strip_prefix(b"HTTP/").is_some_and(|rest| {
        let version = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        version > 0 && matches!(rest[version..], [b' ', b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', ..])
    });
    status || begins(b"<!doctype") || begins(b"<html")
}

/// `SSH-`, a version such as `2.0`, and `-`.
fn is_ssh(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"SSH-") else { return false };
    let version = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    version >= 3 && rest[..version].contains(&b'.') && rest.get(version) == Some(&b'-')
}

/// The greeting of a mail server (SMTP, POP3, IMAP) or an FTP server.
fn is_greeting(line: &[u8]) -> bool {
    let reply = [&b"220 "[..], b"220-", b"421 ", b"500 ", b"502 ", b"554 ", b"+OK", b"-ERR", b"* OK"];
    let has_word = || {
        let lower = line.to_ascii_lowercase();
        GREETING_WORDS.iter().any(|word| memchr::memmem::find(&lower, word).is_some())
    };
    reply.iter().any(|code| line.starts_with(code)) && (line.ends_with(b"\r") || has_word())
}
