//! The programs of 2013 and 2014, as they were observed (PROTOCOL, "Old programs"): written here, in plain std.

use super::{Fake, LIMIT, Reading, Visit};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The C++ bootstrap server: reads once, 100 bytes; ignores everything after the second `:`; answers at once and
/// closes; repeats a peer in its list, includes the asker, and does not list a peer again on a keepalive.
pub(crate) struct OldBootstrap {
    pub(crate) fake: Fake,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl OldBootstrap {
    /// Knows these peers already.
    pub(crate) fn listing(known: &[SocketAddr]) -> Self {
        Self::listing_at(SocketAddr::from(([127, 0, 0, 1], 0)), known)
    }

    /// As [`Self::listing`], at an endpoint of choice.
    pub(crate) fn listing_at(addr: SocketAddr, known: &[SocketAddr]) -> Self {
        let peers = Arc::new(Mutex::new(known.to_vec()));
        let registry = Arc::clone(&peers);
        let fake = Fake::serve_at(addr, Reading::Once, move |visit| answer_as_bootstrap(visit, &registry));
        Self { fake, peers }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.fake.addr
    }

    /// Who is on its list.
    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().expect("no writer panicked").clone()
    }
}

fn answer_as_bootstrap(mut visit: Visit, registry: &Mutex<Vec<SocketAddr>>) {
    let text = String::from_utf8_lossy(&visit.message[..visit.message.len().min(100)]).into_owned();
    let mut fields = text.split(':');
    let (code, number) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let registrant = number.trim().parse().ok().map(|port| SocketAddr::new(visit.from.ip(), port));
    let mut peers = registry.lock().expect("no writer panicked");
    match (code, registrant) {
        ("0", Some(peer)) if !peers.contains(&peer) => peers.push(peer),
        ("2", Some(peer)) => peers.retain(|known| *known != peer),
        ("1", _) => {
            let repeated = peers.first().into_iter().chain(peers.iter());
            let list: String = repeated.map(|peer| format!("{},{}\n", peer.ip(), peer.port())).collect();
            let _ = visit.stream.write_all(list.as_bytes());
        }
        _ => {}
    }
}

/// A 2013 client that shares these files: one bare message a connection, which it reads to FIN and closes; exact names only.
///
/// It serves a download by connecting at once to the address and port that the request came from. If that connection is
/// refused, or it lacks the file, its server ends for good ([`Fake::has_ended`]).
pub(crate) fn old_peer(files: &[(&str, &[u8])]) -> Fake {
    let files: Vec<(String, Vec<u8>)> = files.iter().map(|(name, bytes)| ((*name).into(), bytes.to_vec())).collect();
    Fake::serve(Reading::Whole, move |visit| {
        let text = String::from_utf8_lossy(&visit.message).into_owned();
        let shared = |wanted: &str| files.iter().find(|(name, _)| name == wanted);
        if let Some(wanted) = text.strip_prefix("4:") {
            serve_by_calling_back(visit, shared(wanted).map(|(_, bytes)| bytes.as_slice()));
        } else if let Some(search) = text.strip_prefix("6:") {
            let (rest, _ttl) = search.rsplit_once(':').expect("a search ends in its TTL");
            let (rest, port) = rest.rsplit_once(':').expect("before it stands the port");
            let (rest, ip) = rest.rsplit_once(':').expect("before it stands the address");
            let (id, wanted) = rest.split_once(':').expect("the ID comes first");
            if shared(wanted).is_some() {
                let hit = format!("7:{id}:{}:{}:{wanted}", visit.local.ip(), visit.local.port());
                let mut to = TcpStream::connect(format!("{ip}:{port}")).expect("the requester listens");
                let _ = to.write_all(hit.as_bytes());
            }
        }
    })
}

/// It connects first, and only then opens the file.
fn serve_by_calling_back(visit: Visit, file: Option<&[u8]>) {
    let requester = visit.from;
    let end_program = visit.close();
    match (TcpStream::connect(requester), file) {
        (Ok(mut back), Some(bytes)) => drop(back.write_all(bytes)),
        (Err(_), _) | (Ok(_), None) => end_program(),
    }
}

/// Asks for a file as the 2013 client does: sends the request, closes the connection, and listens after `delay` on the same
/// local port, where it takes the file on the first connection.
pub(crate) fn call_back_download(peer: SocketAddr, name: &str, delay: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    call_back_stream(peer, name, delay).read_to_end(&mut bytes).expect("the file comes whole");
    bytes
}

/// The same, as far as the connection on which the file comes.
pub(crate) fn call_back_stream(peer: SocketAddr, name: &str, delay: Duration) -> TcpStream {
    let (asking, listening) = connect_to_be_called_back(peer);
    (&asking).write_all(format!("4:{name}").as_bytes()).expect("the request goes out");
    drop(asking);
    super::pause(delay);
    take_call_back(listening, peer)
}

/// The same, but it listens before it closes: for a server that calls back at once and does not try again.
pub(crate) fn call_back_download_early(peer: SocketAddr, name: &str) -> Vec<u8> {
    let (asking, listening) = connect_to_be_called_back(peer);
    listening.listen(1).expect("it can listen");
    (&asking).write_all(format!("4:{name}").as_bytes()).expect("the request goes out");
    drop(asking);
    let mut bytes = Vec::new();
    take_call_back(listening, peer).read_to_end(&mut bytes).expect("the file comes whole");
    bytes
}

/// A connection, and a socket bound to its local port, which does not listen yet. It keeps the port from other programs,
/// which may connect from it once the connection is closed.
pub(crate) fn connect_to_be_called_back(peer: SocketAddr) -> (TcpStream, Socket) {
    let reusable = |addr: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("the option is there");
        socket.bind(&addr.into()).expect("the port is free");
        socket
    };
    let asking = reusable(SocketAddr::from(([127, 0, 0, 1], 0)));
    asking.connect(&peer.into()).expect("the peer accepts");
    let local = asking.local_addr().expect("it is bound").as_socket().expect("an IP endpoint");
    (asking.into(), reusable(local))
}

/// Listens, and takes the first connection that comes in.
pub(crate) fn take_call_back(listening: Socket, peer: SocketAddr) -> TcpStream {
    listening.listen(1).expect("it can listen");
    let listener = TcpListener::from(listening);
    listener.set_nonblocking(true).expect("it can be polled");
    let (back, from) = super::wait_for("the call back", LIMIT, || listener.accept().ok());
    assert_eq!(from.ip(), peer.ip());
    back.set_nonblocking(false).expect("it can block");
    back
}
