//! A listener whose behaviour is a closure: the raw material of all independent peers in these tests.

use super::LIMIT;
use socket2::{Domain, Socket, Type};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How much of a connection is read before the behaviour sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// One `read`, as the old programs do.
    Once,
    /// Everything up to FIN.
    Whole,
}

/// One connection that came in.
pub(crate) struct Visit {
    pub(crate) stream: TcpStream,
    pub(crate) from: SocketAddr,
    /// Our own endpoint.
    pub(crate) local: SocketAddr,
    pub(crate) message: Vec<u8>,
    gone: Arc<AtomicBool>,
}

impl Visit {
    /// Closes the connection; what it returns ends the whole program, so that it does not accept any more.
    pub(crate) fn close(self) -> impl FnOnce() {
        let Self { gone, local, .. } = self;
        move || {
            gone.store(true, Ordering::SeqCst);
            // Wakes the thread, which then drops the listener.
            let _ = TcpStream::connect_timeout(&local, LIMIT);
        }
    }
}

/// A listener in a thread of its own, with a log of what it heard.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    gone: Arc<AtomicBool>,
}

impl Fake {
    /// Listens on a port that the system picks; every visit runs in a thread.
    pub(crate) fn serve(reading: Reading, behaviour: impl Fn(Visit) + Send + Sync + 'static) -> Self {
        Self::serve_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), reading, behaviour)
    }

    /// As [`Self::serve`], at an endpoint of choice.
    pub(crate) fn serve_at(
        addr: SocketAddr,
        reading: Reading,
        behaviour: impl Fn(Visit) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).expect("the endpoint is free");
        let addr = listener.local_addr().expect("it is bound");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let gone = Arc::new(AtomicBool::new(false));
        let (log, stop, behaviour) = (Arc::clone(&heard), Arc::clone(&gone), Arc::new(behaviour));
        std::thread::spawn(move || {
            while let Ok((stream, from)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (log, behaviour, stop) = (Arc::clone(&log), Arc::clone(&behaviour), Arc::clone(&stop));
                std::thread::spawn(move || {
                    if let Some(visit) = read_visit(stream, from, reading, stop) {
                        log.lock().expect("no writer panicked").push(visit.message.clone());
                        behaviour(visit);
                    }
                });
            }
        });
        Self { addr, heard, gone }
    }

    /// Hears, says nothing, closes in order.
    pub(crate) fn ear() -> Self {
        Self::serve(Reading::Whole, drop)
    }

    /// Whether a behaviour has ended the program.
    pub(crate) fn has_ended(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// All it heard so far, one entry a connection, in the order of arrival.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().expect("no writer panicked").clone()
    }

    /// What it heard that begins so, as text.
    pub(crate) fn heard_beginning(&self, prefix: &str) -> Vec<String> {
        let texts = self.heard().into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        texts.filter(|text| text.starts_with(prefix)).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // Wakes the thread, which then drops the listener.
        let _ = TcpStream::connect_timeout(&self.addr, LIMIT);
    }
}

/// A listener at every address of this machine whose queue is full: connections to it are neither made nor refused.
pub(crate) struct Unaccepting {
    listener: Socket,
    /// What fills the queue.
    _queued: Vec<Socket>,
}

impl Unaccepting {
    pub(crate) fn new() -> Self {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = socket();
        listener.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).expect("a free port");
        listener.listen(0).expect("it listens");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&listener)));
        let connect = || {
            let socket = socket();
            socket.connect_timeout(&addr.into(), Duration::from_millis(200)).is_ok().then_some(socket)
        };
        Self { _queued: std::iter::from_fn(connect).collect(), listener }
    }

    pub(crate) fn port(&self) -> u16 {
        port_of(&self.listener)
    }
}

fn port_of(listener: &Socket) -> u16 {
    listener.local_addr().ok().and_then(|addr| addr.as_socket()).expect("it is bound").port()
}

/// Reads a connection's message; `None` if nothing was said.
fn read_visit(mut stream: TcpStream, from: SocketAddr, reading: Reading, gone: Arc<AtomicBool>) -> Option<Visit> {
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let local = stream.local_addr().ok()?;
    let mut message = vec![0; 4096];
    match reading {
        Reading::Once => {
            let count = stream.read(&mut message).ok()?;
            message.truncate(count);
        }
        Reading::Whole => {
            message.clear();
            stream.read_to_end(&mut message).ok()?;
        }
    }
    (!message.is_empty()).then_some(Visit { stream, from, local, message, gone })
}
