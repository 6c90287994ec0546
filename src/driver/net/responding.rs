//! Orders for a request that a peer has made.

use super::exchange::Outgoing;
use super::table::Connection;
use super::{Net, Permit};
use crate::driver::cx::Cx;
use crate::fault::RefusalReason;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::wire::SearchReport;
use std::fmt::Display;

impl Net {
    /// Starts to send a response. For one from a file a descriptor was taken; the name is that of a whole one.
    pub(crate) fn respond(
        &mut self,
        exchange: ExchangeId,
        outgoing: Outgoing,
        file: Option<(Permit, Option<FileName>)>,
        cx: &Cx,
    ) {
        let Some(key) = self.table.key(exchange) else { return };
        let (permit, name) = file.unzip();
        permit.into_iter().for_each(|permit| self.table.hold_file(key, permit));
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            inbound.send(outgoing, name.flatten(), cx.now);
            self.table.arm(key);
            self.table.make_ready(key);
        }
    }

    /// Nothing is answered.
    pub(crate) fn close_request(&mut self, exchange: ExchangeId, cx: &Cx) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            inbound.close(cx.now);
            self.table.arm(key);
            self.table.make_ready(key);
        }
    }

    /// Says on the stream of a request how a search stands.
    pub(crate) fn report(&mut self, exchange: ExchangeId, report: &SearchReport) {
        if let Some(key) = self.table.key(exchange)
            && let Some(Connection::Inbound(inbound)) = self.table.get_mut(key)
        {
            inbound.say(&report.encode());
        }
    }

    /// Refuses: the connection ends in RST, or, where the requester can be told why, in a line that does (PROTOCOL,
    /// Refusals).
    pub(crate) fn refuse_request(
        &mut self,
        exchange: ExchangeId,
        told: Option<RefusalReason>,
        reason: &'static str,
        detail: &dyn Display,
        cx: &Cx,
    ) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) {
            let from = inbound.from();
            let is_told = told.is_some_and(|told| inbound.refuse_with(told, cx.now));
            let file = inbound.asked_for().map(FileName::as_bytes);
            self.refusals.refused_file(cx.now, reason, from, file, detail);
            if is_told {
                self.table.forget_exchange(key);
                self.table.arm(key);
                return self.table.make_ready(key);
            }
            inbound.socket_mut().end_in_reset();
        }
        self.close(key);
    }
}
