//! Orders for a request of a peer.

use super::exchange::Outgoing;
use super::{Net, Permit};
use crate::driver::cx::Cx;
use crate::fault::RefusalReason;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::wire::SearchReport;
use std::fmt::Display;

impl Net {
    /// Starts to send a response. `file`: the descriptor taken for a file, and its name if the whole file is sent.
    pub(crate) fn respond(
        &mut self,
        exchange: ExchangeId,
        outgoing: Outgoing,
        file: Option<(Permit, Option<FileName>)>,
        cx: &Cx,
    ) {
        let (permit, name) = file.unzip();
        if let Some((key, inbound)) = self.table.inbound(exchange) {
            inbound.send(outgoing, name.flatten(), cx.now);
            permit.into_iter().for_each(|permit| self.table.hold_file(key, permit));
            self.table.resume(key);
        }
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
        self.refusals.refused_file(cx.now, reason, from, file, detail);
        if is_told {
            self.table.forget_exchange(key);
            return self.table.resume(key);
        }
        inbound.socket_mut().end_in_reset();
        self.close(key);
    }
}
