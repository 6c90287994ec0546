//! Orders for a request of a peer.

use super::Net;
use super::exchange::Outgoing;
use super::table::Connection;
use crate::driver::cx::Cx;
use crate::driver::shared_files::{Ordered, ReadOutcome};
use crate::fault::RefusalReason;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::wire::SearchReport;
use std::fmt::Display;

impl Net {
    /// Starts to send a response. `name`: of a file that is sent as a whole.
    pub(crate) fn respond(&mut self, exchange: ExchangeId, outgoing: Outgoing, name: Option<FileName>, cx: &Cx) {
        if let Some((key, inbound)) = self.table.inbound(exchange) {
            inbound.send(outgoing, name, cx.now);
            self.table.resume(key);
        }
    }

    /// A read that an exchange ordered has ended.
    pub(crate) fn take_read(&mut self, exchange: ExchangeId, read: Ordered, outcome: ReadOutcome, cx: &Cx) {
        let Some(key) = self.table.key(exchange) else { return };
        match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => inbound.take_read(read, outcome, cx.now),
            Some(Connection::Outbound(outbound)) => outbound.take_read(read, outcome, cx.now),
            Some(Connection::Stream(_) | Connection::Check(_)) | None => return,
        }
        self.table.resume(key);
    }

    pub(crate) fn close_request(&mut self, exchange: ExchangeId, cx: &Cx) {
        if let Some((key, inbound)) = self.table.inbound(exchange) {
            inbound.close(cx.now);
            self.table.resume(key);
        }
    }

    /// Reports the state of a search on the stream of the request.
    pub(crate) fn report(&mut self, exchange: ExchangeId, report: &SearchReport) {
        if let Some((_, inbound)) = self.table.inbound(exchange) {
            inbound.send_line(&report.encode());
        }
    }

    /// Refuses: sends `told` if the requester understands a reason (PROTOCOL, Refusals), otherwise resets the connection.
    pub(crate) fn refuse_request(
        &mut self,
        exchange: ExchangeId,
        told: Option<RefusalReason>,
        reason: &'static str,
        detail: &dyn Display,
        cx: &Cx,
    ) {
        let Some((key, inbound)) = self.table.inbound(exchange) else { return };
        let from = inbound.from;
        let is_told = told.is_some_and(|told| inbound.refuse_with(told, cx.now));
        let file = inbound.requested_file().map(FileName::as_bytes);
        self.refusals.refused_file(cx.now, reason, Some(from), file, detail);
        if is_told {
            self.table.forget_exchange(key);
            return self.table.resume(key);
        }
        inbound.socket_mut().end_in_reset();
        self.close(key);
    }
}
