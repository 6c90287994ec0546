//! What follows when a source does not give what it was asked for. A reason that it gives decides; a `p1` source that gives none
//! is asked which content it has (PROTOCOL, Refusals).

use super::DownloadMachine;
use super::names::Ask;
use super::part::Known;
use super::source::{Charge, Contact, Doubt, Excuse, Source, Standing, Task};
use super::state::{Download, Seek, Want};
use crate::control::{Notice, Problem, SourceFault};
use crate::fault::RefusalReason;
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::node::cx::{Cx, Subject, Topic};
use crate::node::limits::{BUSY_AFTER, SOURCE_REFUSALS_MAX, SOURCE_REST_MAX, SOURCE_REST_MIN};
use crate::node::network::Net;
use crate::node::speech::Evidence;
use crate::time::Instant;
use std::net::SocketAddr;

impl DownloadMachine {
    /// A source refused what was asked under one name. Without a reason it is asked under its other names, and then what
    /// it has.
    pub(super) fn on_refused(&mut self, net: &mut Net, id: TransferId, at: usize, doubt: Doubt, how: SourceFault) {
        let asks = doubt.task.asks();
        if let SourceFault::Declined(reason) = how {
            return self.on_reason(net.cx, id, at, asks, &doubt.name, reason);
        }
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.names.refuse(&doubt.name, asks);
        if source.names.name_for(asks).is_some() {
            return;
        }
        if source.p1 && asks != Ask::Metadata {
            source.doubt = Some(doubt);
        } else {
            self.believe_refusal(net.cx, id, at, asks, how);
            if asks == Ask::Metadata {
                self.doubt_p1(net, id, at);
            }
        }
        self.seek_soon(net.cx, id);
    }

    /// A source that did not give the content does not say which one it has, and may say why.
    pub(super) fn on_unidentified(&mut self, net: &mut Net, id: TransferId, at: usize, how: SourceFault) {
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
                    self.refuse_source(net.cx, id, at, how);
                }
                self.seek_soon(net.cx, id);
            }
            (Charge::Corrupt(_), _) => {
                // It stays in doubt.
                source.doubt = Some(doubt);
                self.rest_source(net.cx, id, at, SourceFault::ChangeUnsaid);
                self.seek_soon(net.cx, id);
            }
            (Charge::Refused { .. } | Charge::OtherByHit, SourceFault::Declined(reason)) => {
                self.on_reason(net.cx, id, at, asks, &doubt.name, reason);
            }
            (Charge::Refused { .. } | Charge::OtherByHit, _) => {
                self.believe_refusal(net.cx, id, at, asks, how);
                self.doubt_p1(net, id, at);
            }
        }
    }

    /// A source that counts as one that speaks `p1` refused code 9 without a reason: a base program may have its address
    /// by now.
    fn doubt_p1(&mut self, net: &mut Net, id: TransferId, at: usize) {
        let Some(source) = self.downloads.source(id, at) else { return };
        if !source.p1 {
            return;
        }
        let peer = source.addr;
        net.network.note_evidence(net.cx, peer, Evidence::Unexplained);
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
            // Only the manifest of a directory is.
            RefusalReason::TooLarge | RefusalReason::Unknown => self.believe_refusal(cx, id, at, asks, reason.into()),
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

    /// A source that did not give the content says which one it has.
    pub(super) fn on_identified(&mut self, cx: &mut Cx, id: TransferId, at: usize, b3: ContentHash, size: u64) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let want = download.want;
        let Some(doubt) = download.sources.get_mut(at).and_then(|source| source.doubt.take()) else { return };
        if want.b3().is_none_or(|wanted| wanted == b3) {
            return match &doubt.charge {
                // It had us wait for our turn, and none came.
                Charge::Refused { took } if *took >= BUSY_AFTER => {
                    self.rest_source(cx, id, at, RefusalReason::Busy.into());
                }
                Charge::Refused { .. } => self.believe_refusal(cx, id, at, doubt.task.asks(), SourceFault::Refuses),
                // It was asked for what somebody else has claimed.
                Charge::Corrupt(_) if download.says_another_size(at, size) => self.correct_size(cx, id, at, size),
                Charge::Corrupt(why) => {
                    if let Some(source) = download.sources.get_mut(at).filter(|it| it.excuse == Excuse::NotNeeded) {
                        source.excuse = Excuse::Due;
                    }
                    self.judge_corrupt(cx, id, at, &doubt.task, *why);
                }
                // It may be asked for the content: it has it.
                Charge::OtherByHit => {}
            };
        }
        let Some(source) = download.sources.get_mut(at) else { return };
        if cx.may_log(Subject::ChangedSource, source.addr.ip(), 0) {
            log::info!(id = id.0, peer:% = source.addr, name:% = doubt.name; "a source has another content under the name by now");
        }
        let taught = matches!(want, Want::NamedContent { from, .. } if from == source.addr);
        if taught && *doubt.name == download.name {
            return self.unlearn(cx, id, at);
        }
        source.names.disprove(&doubt.name);
        if source.names.name_for(Ask::All).is_none() {
            self.refuse_source(cx, id, at, SourceFault::NameOfAnother);
        }
        self.seek_soon(cx, id);
    }

    /// The source that said which content has the name says that it is another: the download begins again with that one.
    fn unlearn(&mut self, cx: &mut Cx, id: TransferId, at: usize) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.changes = source.changes.saturating_add(1);
        let changes = source.changes;
        if changes > SOURCE_REFUSALS_MAX {
            return self.condemn(cx, id, at, SourceFault::GivesNone);
        }
        // Nothing is under way from here on, so that places may change.
        self.stop_fetching(cx, id);
        self.downloads.change_sources(id, |download| {
            if let Some(teacher) = download.sources.get_mut(at).filter(|_| changes > 1) {
                let until = cx.now + cx.rng.back_off(changes - 1, SOURCE_REST_MIN, SOURCE_REST_MAX);
                teacher.standing = Standing::Resting { until };
                teacher.fault = Some(SourceFault::ChangesAgain);
            }
            // What the others did was about the content that it is no more.
            for source in &mut download.sources {
                match source.standing {
                    Standing::Refused => source.standing = Standing::Idle,
                    Standing::Corrupt if source.excuse == Excuse::Due => source.standing = Standing::Idle,
                    _ => {}
                }
                (source.size, source.bytes, source.excuse) = (None, 0, Excuse::NotNeeded);
            }
            download.return_to_chosen();
            download.claimed_size = None;
            if let Some(open) = download.open_mut() {
                open.known = Known::default();
            }
            download.seek = Seek::default();
        });
        if let Some(of) = self.downloads.get(id).and_then(|row| row.directory) {
            self.drop_manifest(cx, of);
        }
        self.remember_download(cx, id);
        self.restart_part(cx, id);
    }

    /// Leaves a source alone for a while.
    pub(super) fn rest_source(&mut self, cx: &mut Cx, id: TransferId, at: usize, why: SourceFault) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.failures = source.failures.saturating_add(1);
        source.silences = source.silences.saturating_add(1);
        let until = cx.now + cx.rng.back_off(source.failures, SOURCE_REST_MIN, SOURCE_REST_MAX);
        source.standing = Standing::Resting { until };
        source.fault = Some(why);
        self.tell_source_lost(cx, id, at);
    }

    /// A source sent what cannot be right. One that speaks `p1` says first what it has: its file may have changed.
    pub(super) fn on_corrupt(&mut self, cx: &mut Cx, id: TransferId, at: usize, doubt: Doubt) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_known = download.want.b3().is_some();
        let Some(source) = download.sources.get_mut(at) else { return };
        match doubt {
            doubt if is_known && source.p1 => source.doubt = Some(doubt),
            Doubt { task, charge: Charge::Corrupt(why), .. } => {
                self.judge_corrupt(cx, id, at, &task, why);
            }
            Doubt { charge: Charge::Refused { .. } | Charge::OtherByHit, .. } => {}
        }
    }

    /// No source can be asked now. One that has sent wrong bytes once, and says that it has the content, may be honest: its
    /// file may have been another for a while. It rests and is asked again; after further wrong bytes it is left out for good.
    /// Returns whether there is one.
    pub(super) fn excuse_sources(&mut self, cx: &mut Cx, id: TransferId) -> bool {
        let Some(download) = self.downloads.get(id) else { return false };
        let is_due = |source: &Source| matches!(source.standing, Standing::Corrupt) && source.excuse == Excuse::Due;
        let Some(at) = download.sources.iter().position(is_due) else { return false };
        if let Some(source) = self.downloads.source_mut(id, at) {
            source.excuse = Excuse::Used;
            let why = source.fault.unwrap_or(SourceFault::OtherContent);
            self.rest_source(cx, id, at, why);
        }
        true
    }

    /// Never asks a source for this content again.
    pub(super) fn condemn(&mut self, cx: &mut Cx, id: TransferId, at: usize, why: SourceFault) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(source) = download.sources.get_mut(at) else { return };
        if cx.may_log(Subject::BadSource, source.addr.ip(), 0) {
            log::warn!(id = id.0, name:% = download.name, peer:% = source.addr, error:% = why; "a source is left out");
        }
        source.standing = Standing::Corrupt;
        source.fault = Some(why);
        cx.counters.limited.sources_corrupt += 1;
        self.tell_source_lost(cx, id, at);
    }

    /// Condemns the source at an address, if there is one.
    pub(super) fn blame(&mut self, cx: &mut Cx, id: TransferId, addr: Option<SocketAddr>, why: SourceFault) {
        if let Some(at) = self.source_at(id, addr) {
            self.condemn(cx, id, at, why);
        }
    }

    /// The stream that this source sent is of another content.
    pub(super) fn on_other_stream(&mut self, cx: &mut Cx, id: TransferId, addr: Option<SocketAddr>) {
        let Some(at) = self.source_at(id, addr) else { return };
        let source = self.downloads.source(id, at);
        let Some(name) = source.and_then(|source| source.names.iter().next()).cloned() else { return };
        let charge = Charge::Corrupt(SourceFault::OtherContent);
        self.on_corrupt(cx, id, at, Doubt { task: Task::Metadata, name, charge });
    }

    fn source_at(&self, id: TransferId, addr: Option<SocketAddr>) -> Option<usize> {
        self.downloads.get(id)?.sources.iter().position(|source| Some(source.addr) == addr)
    }

    pub(super) fn tell_source_lost(&mut self, cx: &mut Cx, id: TransferId, at: usize) {
        let Some(source) = self.downloads.source(id, at) else { return };
        if self.downloads.get(id).is_some_and(|row| row.directory.is_some()) {
            // The row of the directory says what its files wait for.
            return;
        }
        let notice = Notice::SourceLost { download: id.0, source: source.row(cx.now) };
        cx.notify(Topic::Download(id), || notice);
    }

    /// No source can be asked now: waits for the first that can be again.
    pub(super) fn rest_download(&mut self, cx: &mut Cx, id: TransferId, until: Instant) {
        self.seek_after_failure(cx, id);
        let Some(download) = self.downloads.get_mut(id) else { return };
        let rests = |source: &&Source| matches!(source.standing, Standing::Resting { until: at } if at == until);
        let next_seek = download.seek.next.filter(|_| download.want != Want::Name);
        let blamed = download.sources.iter().find(rests).and_then(Source::blamed);
        let until = next_seek.map_or(until, |at| until.min(at.max(cx.now + SOURCE_REST_MIN)));
        self.set_waiting(cx, id, until, Problem::OutOfReach { blamed });
        self.start_downloads(cx);
    }

    /// Every source has said no or was left out. The end, if only a name is known, no search can bring another, and none of
    /// them has lied; a content is looked for until the user cancels it, and so is a name of which only liars are known.
    pub(super) fn give_up(&mut self, cx: &mut Cx, id: TransferId) {
        if let Some(why) = self.downloads.get(id).and_then(Download::not_there) {
            return self.fail_download(cx, id, why);
        }
        if self.await_other_sources(cx, id) {
            return;
        }
        let hope = self.seek_while_stuck(cx, id).or_else(|| self.seek_before_the_end(cx, id));
        let hope = hope.or_else(|| self.seek_despite_liars(cx, id));
        let Some(download) = self.downloads.get_mut(id) else { return };
        let corrupt = download.sources.iter().any(|source| matches!(source.standing, Standing::Corrupt));
        let mut refused = download.sources.iter().filter(|source| matches!(source.standing, Standing::Refused));
        let blamed = refused.find_map(Source::blamed);
        let why = match (hope, corrupt) {
            (_, true) => Problem::AllCorrupt,
            (Some(_), false) if download.sources.is_empty() => Problem::NoSourceLeft,
            (Some(_), false) => Problem::Refused { blamed },
            (None, false) => Problem::RefusedForGood { blamed },
        };
        match hope {
            Some(until) => {
                self.set_waiting(cx, id, until, why);
                self.start_downloads(cx);
            }
            None => self.fail_download(cx, id, why),
        }
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
        // Who names a directory may forget the slash; a file of a directory was listed by the peer.
        let name = self.directory.is_none().then(|| self.name.clone());
        is_mistyped.then_some(Problem::NotThere { peer: source.addr, name })
    }
}
