//! Raw exchanges over TCP, in every way in which a message may end (PROTOCOL, "Where a message ends").

use super::{LIMIT, Stopwatch, pause};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A search that every peer answers at once.
pub(crate) const FIRST_CONTACT: &[u8] =
    b"6:p1-0000000000000001:b3=0000000000000000000000000000000000000000000000000000000000000000:127.0.0.1:5000:0\n";

/// How the sender shows that its message is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// It half-closes.
    Fin,
    /// It ends the message with a newline and holds the connection open.
    Newline,
    /// It holds the connection open and waits.
    Silence,
    /// It sends byte by byte, then half-closes.
    Bytewise,
}

impl Framing {
    pub(crate) const ALL: [Self; 4] = [Self::Fin, Self::Newline, Self::Silence, Self::Bytewise];

    /// Sends a message so.
    pub(crate) fn send(self, stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Fin => {
                stream.write_all(message)?;
                stream.shutdown(Shutdown::Write)
            }
            Self::Newline => stream.write_all(&[message, b"\n"].concat()),
            Self::Silence => stream.write_all(message),
            Self::Bytewise => {
                stream.set_nodelay(true)?;
                for byte in message {
                    stream.write_all(&[*byte])?;
                    pause(Duration::from_millis(3));
                }
                stream.shutdown(Shutdown::Write)
            }
        }
    }
}

/// How the other side ended the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Fin,
    /// By RST: a refusal or a failure.
    Reset,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
    pub(crate) took: Duration,
}

/// Connects, says it, and reads to the end.
pub(crate) fn ask(to: SocketAddr, message: &[u8], framing: Framing) -> Answer {
    ask_over(TcpStream::connect(to).expect("the node accepts"), message, framing)
}

/// As [`ask`], from a loopback address of choice.
pub(crate) fn ask_from(from: Ipv4Addr, to: SocketAddr, message: &[u8]) -> Answer {
    ask_over(connect_from(from, to).expect("the node accepts"), message, Framing::Fin)
}

fn ask_over(mut stream: TcpStream, message: &[u8], framing: Framing) -> Answer {
    let watch = Stopwatch::start();
    // A refusal may be faster than the message: the reading below sees it.
    let _ = framing.send(&mut stream, message);
    let (bytes, end) = read_to_end(&mut stream);
    Answer { bytes, end, took: watch.elapsed() }
}

/// Delivers a search or a hit, which nothing answers: until the node closes, or for as long as the result is kept where
/// a newline leaves room for further messages of a stream.
pub(crate) fn deliver(to: SocketAddr, message: &[u8], framing: Framing) -> Option<TcpStream> {
    if framing == Framing::Newline {
        let mut stream = TcpStream::connect(to).expect("the node accepts");
        framing.send(&mut stream, message).expect("the node reads");
        return Some(stream);
    }
    let answer = ask(to, message, framing);
    assert_eq!((answer.bytes.len(), answer.end), (0, End::Fin), "{framing:?}");
    None
}

/// Reads until FIN or RST; fails the test if neither comes.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, End) {
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout can be set");
    let mut bytes = Vec::new();
    let mut part = vec![0; 1 << 16];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return (bytes, End::Fin),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return (bytes, End::Reset),
            Err(error) => panic!("neither FIN nor RST came after {} bytes: {error}", bytes.len()),
        }
    }
}

/// A shared file's bytes, which must come whole.
pub(crate) fn fetch(peer: SocketAddr, name: &[u8]) -> Vec<u8> {
    let answer = ask(peer, &[b"4:", name].concat(), Framing::Fin);
    assert_eq!(answer.end, End::Fin, "{} is served whole", String::from_utf8_lossy(name));
    answer.bytes
}

/// Whether asking for a name is answered by RST without a byte.
pub(crate) fn fetch_reset(peer: SocketAddr, name: &[u8]) -> bool {
    let answer = ask(peer, &[b"4:", name].concat(), Framing::Fin);
    answer.end == End::Reset && answer.bytes.is_empty()
}

/// The lines of a response; each ends in a newline.
pub(crate) fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let body = bytes.strip_suffix(b"\n").expect("the last line ends in a newline, too");
    body.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Connects from a loopback address of choice (Linux answers on all of 127/8).
pub(crate) fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into())?;
    socket.connect_timeout(&to.into(), LIMIT)?;
    Ok(socket.into())
}

/// Closes by RST.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger can be set");
}
