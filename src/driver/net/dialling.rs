//! Orders to connect to a peer, and to abort an exchange.

use super::exchange::{Outbound, Part, Task};
use super::table::Connection;
use super::{CALL_BACK_DESCRIPTORS, Net};
use crate::content::groups_span;
use crate::driver::cx::Cx;
use crate::driver::open_parts::{OpenParts, Remains};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::node::Event;
use crate::node::contract::{Portion, ResponseFault};
use crate::wire::Message;
use std::net::SocketAddr;
use std::rc::Rc;

impl Net {
    /// Begins an exchange. Returns false if it failed at once.
    pub(crate) fn dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task, cx: &mut Cx) -> bool {
        let fault = self.try_dial(exchange, to, task, cx).err();
        cx.out.extend(fault.map(|fault| Event::DialEnded { exchange, outcome: Err(fault) }));
        fault.is_none()
    }

    fn try_dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task, cx: &mut Cx) -> Result<(), DialFault> {
        let more = match task {
            Task::Fetch { may_call_back: true, .. } => CALL_BACK_DESCRIPTORS,
            _ => 0,
        };
        let permit = self.take_own(1 + more, cx).ok_or(DialFault::NoDescriptor)?;
        let token = self.table.next_token();
        let outbound = Outbound::dial(exchange, to, task, self.poll.registry(), token, cx.now)?;
        self.table.insert(Connection::Outbound(Box::new(outbound)), permit);
        Ok(())
    }

    /// Requests a file, or groups of it; of the first group, only the bytes that are missing.
    pub(crate) fn fetch(
        &mut self,
        exchange: ExchangeId,
        name: FileName,
        may_call_back: bool,
        mut part: Part,
        parts: &mut OpenParts,
        cx: &mut Cx,
    ) {
        let Part { download, from, .. } = part;
        if let Portion::Groups(groups) = &part.portion {
            part.begun = parts.take_partial(download, groups.start, from).map(Rc::new);
        }
        let begun = part.begun.clone();
        let bytes = begun.as_ref().map_or(0, |begun| begun.len());
        let request = fetch_request(name, &part.portion, parts.size(download), bytes);
        if self.dial(exchange, from, Task::Fetch { request, may_call_back, part }, cx) {
            cx.out.extend((bytes > 0).then_some(Event::FetchResumed { exchange, bytes }));
        } else if let Some(begun) = begun {
            parts.take_remains(Remains::Partial(Rc::unwrap_or_clone(begun)));
        }
    }

    /// Makes a fetch of groups end before this group.
    pub(crate) fn trim(&mut self, exchange: ExchangeId, groups_end: u64) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Outbound(outbound)) = self.table.get_mut(key) {
            outbound.trim(groups_end);
            self.table.make_ready(key);
        }
    }

    pub(crate) fn abort(&mut self, exchange: ExchangeId, parts: &mut OpenParts, cx: &mut Cx) {
        let Some(key) = self.table.key(exchange) else { return self.withdraw(exchange, cx) };
        let Some(connection) = self.table.get_mut(key) else { return };
        let progress = connection.progress();
        let ended = match connection {
            Connection::Inbound(inbound) => {
                inbound.socket_mut().end_in_reset();
                inbound.broken_off(ResponseFault::Aborted)
            }
            Connection::Outbound(outbound) => Some(outbound.ended(Err(DialFault::Aborted))),
            Connection::Stream(_) | Connection::Check(_) => return,
        };
        cx.out.extend(progress.into_iter().chain(ended));
        self.close_with_remains(key, parts);
    }

    /// Closes a connection, and keeps the bytes of a group that it received in part.
    pub(super) fn close_with_remains(&mut self, key: usize, parts: &mut OpenParts) {
        if let Some(Connection::Outbound(mut outbound)) = self.close(key) {
            outbound.flush(parts);
            parts.take_remains(outbound.into_remains());
        }
    }
}

/// The message that requests a portion (PROTOCOL, the table of codes, and "Ranges and metadata").
/// `begun`: bytes of the first group that we have.
fn fetch_request(name: FileName, portion: &Portion, size: u64, begun: u64) -> Message {
    match portion {
        Portion::Stream { .. } | Portion::Whole => Message::DownloadRequest { name },
        Portion::Groups(groups) => {
            let span = groups_span(size, groups);
            let offset = span.start + begun;
            Message::RangeRequest { offset, length: span.end - offset, name }
        }
    }
}
