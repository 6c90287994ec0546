//! What a refusal of a source leads to: the reason that it gives decides; a `p1` source that gives none is asked which
//! content it has (PROTOCOL, Refusals).

use super::DownloadMachine;
use super::names::Ask;
use super::source::{Charge, Contact, Doubt, Source, Standing};
use super::state::{Download, Want};
use crate::control::{Problem, SourceFault};
use crate::fault::RefusalReason;
use crate::id::TransferId;
use crate::name::FileName;
use crate::node::cx::Cx;
use crate::node::limits::SOURCE_REFUSALS_MAX;
use crate::node::network::NetworkMachine;
use crate::node::speech::Evidence;

impl DownloadMachine {
    /// A source refused what was asked under one name. Without a reason it is asked under its other names, and then what
    /// it has.
    pub(super) fn on_refused(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: TransferId,
        at: usize,
        doubt: Doubt,
        how: SourceFault,
    ) {
        let asks = doubt.task.asks();
        if let SourceFault::Declined(reason) = how {
            return self.on_reason(cx, id, at, asks, &doubt.name, reason);
        }
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.names.refuse(&doubt.name, asks);
        if source.names.name_for(asks).is_some() {
            return;
        }
        if source.p1 && asks != Ask::Metadata {
            source.doubt = Some(doubt);
        } else {
            self.believe_refusal(cx, id, at, asks, how);
            if asks == Ask::Metadata {
                self.doubt_p1(cx, network, id, at);
            }
        }
        self.seek_soon(cx, id);
    }

    /// A source that did not give the content does not say which one it has, and may say why.
    pub(super) fn on_unidentified(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: TransferId,
        at: usize,
        how: SourceFault,
    ) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        let Some(doubt) = source.doubt.take() else { return };
        let asks = doubt.task.asks();
        match (&doubt.charge, how) {
            // What it sent was of a file that is gone by now. Its other names may still be of the content.
            (Charge::Corrupt(_), SourceFault::Declined(RefusalReason::NoSuchFile))
                if source.changes < SOURCE_REFUSALS_MAX =>
            {
                source.changes += 1;
                source.names.disprove(&doubt.name);
                if source.names.name_for(Ask::All).is_none() {
                    self.refuse_source(cx, id, at, how);
                }
                self.seek_soon(cx, id);
            }
            (Charge::Corrupt(_), _) => {
                // It stays in doubt.
                source.doubt = Some(doubt);
                self.rest_source(cx, id, at, SourceFault::ChangeUnsaid);
                self.seek_soon(cx, id);
            }
            (Charge::Refused { .. } | Charge::OtherByHit, SourceFault::Declined(reason)) => {
                self.on_reason(cx, id, at, asks, &doubt.name, reason);
            }
            (Charge::Refused { .. } | Charge::OtherByHit, _) => {
                self.believe_refusal(cx, id, at, asks, how);
                self.doubt_p1(cx, network, id, at);
            }
        }
    }

    /// A source that counts as one that speaks `p1` refused code 9 without a reason: a base program may have its address
    /// by now.
    fn doubt_p1(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: TransferId, at: usize) {
        let Some(source) = self.downloads.source(id, at) else { return };
        if !source.p1 {
            return;
        }
        let peer = source.addr;
        network.note_evidence(cx, peer, Evidence::Unexplained);
        // Also if the table of peers has no row of it.
        if let Some(source) = self.downloads.source_mut(id, at) {
            (source.p1, source.contact) = (false, Contact::Due);
        }
    }

    /// A source says why it refused what was asked under a name.
    fn on_reason(&mut self, cx: &mut Cx, id: TransferId, at: usize, asks: Ask, name: &FileName, reason: RefusalReason) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        let is_patient = source.refusals < SOURCE_REFUSALS_MAX;
        source.silences = 0;
        match reason {
            RefusalReason::NoSuchFile => self.lose_name(cx, id, at, name, reason),
            RefusalReason::Busy | RefusalReason::Leaving => self.rest_source(cx, id, at, reason.into()),
            RefusalReason::Changed | RefusalReason::NotHashed | RefusalReason::NotReadable if is_patient => {
                source.refusals += 1;
                self.rest_source(cx, id, at, reason.into());
            }
            // It can send the file, and cannot prove it.
            RefusalReason::NotHashed => source.names.refuse(name, Ask::Metadata),
            RefusalReason::Changed | RefusalReason::NotReadable => self.lose_name(cx, id, at, name, reason),
            RefusalReason::Unknown => self.believe_refusal(cx, id, at, asks, reason.into()),
        }
    }

    /// A source has nothing for this download under a name: it is asked under another, or given up.
    fn lose_name(&mut self, cx: &mut Cx, id: TransferId, at: usize, name: &FileName, reason: RefusalReason) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.names.refuse(name, Ask::All);
        if source.names.name_for(Ask::All).is_none() {
            self.refuse_source(cx, id, at, reason.into());
        }
        self.seek_soon(cx, id);
    }

    /// A source gives this under no name: perhaps only because it is busy, if it or others have shown that they can serve
    /// this.
    pub(super) fn believe_refusal(&mut self, cx: &mut Cx, id: TransferId, at: usize, ask: Ask, how: SourceFault) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let helps = |(other, source): (usize, &Source)| other != at && (source.bytes > 0 || source.fetch().is_some());
        let others_help = download.sources.iter().enumerate().any(helps);
        let is_known = download.want.b3().is_some();
        let Some(source) = download.sources.get_mut(at) else { return };
        source.refusals = source.refusals.saturating_add(1);
        let may_be_busy = source.bytes > 0 || ask != Ask::All && others_help;
        if source.refusals < SOURCE_REFUSALS_MAX && may_be_busy {
            return self.rest_source(cx, id, at, how);
        }
        match ask {
            Ask::Metadata | Ask::Ranges => {}
            // The content may come back under a name that is known.
            Ask::All if is_known && source.p1 => self.rest_source(cx, id, at, how),
            // A base program may end at a request for what it lacks: a search has to find it again.
            Ask::All => self.refuse_source(cx, id, at, how),
        }
    }

    /// A source has nothing to give until a search finds it again.
    pub(super) fn refuse_source(&mut self, cx: &mut Cx, id: TransferId, at: usize, why: SourceFault) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.standing = Standing::Refused;
        source.fault = Some(why);
        self.tell_source_lost(cx, id, at);
    }
}

impl Download {
    /// The error of a download by name whose only source says that it has no such file, and has never sent any of it: the
    /// name is mistyped, and nobody else is asked.
    pub(super) fn not_there(&self) -> Option<Problem> {
        let [source] = &self.sources[..] else { return None };
        let has_none =
            matches!(source.standing, Standing::Refused) && source.fault == Some(RefusalReason::NoSuchFile.into());
        let is_mistyped = self.want == Want::Name && has_none && source.received == 0;
        is_mistyped.then_some(Problem::NotThere(source.addr))
    }
}
