//! Taking descriptors. If none is free, an inbound connection is closed.

use super::Net;
use super::budget::{Exhausted, Permit, Use};
use super::table::{Connection, Requester};
use crate::driver::cx::{Cx, Output};
use crate::network::Network;
use crate::node::contract::ResponseFault;

impl Net {
    /// Takes descriptors for connections that we dial and for part files.
    pub(crate) fn take_own(&mut self, count: usize, cx: &mut Cx) -> Option<Permit> {
        let mut permit = self.take_displacing(Use::Own, cx).ok()?;
        for _ in 1..count {
            permit.join(self.take_displacing(Use::Own, cx).ok()?);
        }
        Some(permit)
    }

    /// Takes a descriptor for a file that a peer requested.
    pub(crate) fn take_for_file(&mut self, requester: Requester, cx: &mut Cx) -> Option<Permit> {
        // A request can wait for a moment; a call-back cannot.
        let may_wait = self.expects_descriptors && requester.key.is_some();
        self.table.budget.take(Use::File).ok().or_else(|| {
            if may_wait {
                return None;
            }
            let network = Network::of(requester.addr.ip());
            let victim = self.table.evictions.victim(Some(network), requester.key, cx.now)?;
            self.displace(victim, cx);
            self.table.budget.take(Use::File).ok()
        })
    }

    /// Whether files that nobody reads may stay open.
    pub(crate) fn has_ample_descriptors(&self) -> bool {
        self.table.budget.is_ample()
    }

    /// Whether files are about to give their descriptors back: what can wait displaces no connection meanwhile.
    pub(crate) fn expect_descriptors(&mut self, expected: bool) {
        if std::mem::replace(&mut self.expects_descriptors, expected) && !expected {
            self.resume_listeners();
        }
    }

    /// Descriptors of files are free again.
    pub(crate) fn on_files_closed(&mut self) {
        if self.table.budget.has_room() {
            self.resume_listeners();
        }
    }

    /// Jobs that hang hold so many descriptors without a permit.
    pub(crate) fn note_hung(&mut self, descriptors: usize) {
        if self.table.budget.set_hung(descriptors) {
            self.on_files_closed();
        }
    }

    /// Whether a connection that waits at a listener can get a descriptor.
    pub(super) fn may_admit(&self, cx: &Cx) -> bool {
        let has_victim = || self.table.evictions.victim(None, None, cx.now).is_some();
        let waits = self.expects_descriptors && self.table.budget.file_makes_room();
        self.table.budget.has_room() || !waits && has_victim()
    }

    /// Takes a descriptor, if need be that of another connection.
    pub(super) fn take_displacing(&mut self, by: Use, cx: &mut Cx) -> Result<Permit, Exhausted> {
        self.table.budget.take(by).or_else(|exhausted| {
            let evictions = &self.table.evictions;
            let victim = match (by, exhausted) {
                (Use::Inbound(address), Exhausted::ForNetwork) => evictions.victim_of(Network::of(address)),
                (Use::Inbound(address), Exhausted::Total) => evictions.victim(Some(Network::of(address)), None, cx.now),
                (Use::Own | Use::File, _) => evictions.idle_victim(cx.now),
            };
            self.displace(victim.ok_or(exhausted)?, cx);
            self.table.budget.take(by)
        })
    }

    /// Ends idle streams of networks that have too many of them.
    pub(crate) fn end_surplus_streams(&mut self, cx: &mut Cx) {
        while let Some(key) = self.table.evictions.next_surplus_stream() {
            let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
            inbound.end_stream(cx.now);
            self.table.arm(key);
            cx.out.push(Output::Limited(|limited| &mut limited.streams_displaced));
        }
    }

    /// Closes a connection because its descriptor is needed, and reports to the node.
    fn displace(&mut self, key: usize, cx: &mut Cx) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let (from, progress, ended) = (inbound.from, inbound.progress(), inbound.broken_off(ResponseFault::Displaced));
        let has_all = inbound.has_been_sent_all();
        cx.out.extend(progress.into_iter().chain(ended));
        self.close(key);
        // The response and our FIN are with the kernel, which goes on sending them.
        if has_all {
            return;
        }
        cx.out.push(Output::Limited(|limited| &mut limited.connections_displaced));
        self.refuse(cx, "displaced", Some(from), &"others need the descriptor of this connection");
    }
}
