//! The uploads in progress: counting them, and notifying clients.
//!
//! A file is one upload. The ranges of one file that one address requests are one upload (a *run*), on any number of
//! connections: it begins with the first, and is over when as many bytes were sent as the file has, or when none was requested for
//! [`RANGES_IDLE_MAX`]. Metadata are counted, but cause no notice: ranges follow.

use super::UploadMachine;
use crate::control::{Notice, RawText};
use crate::fault::DiskFault;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::network::Network;
use crate::node::contract::{Action, ResponseFault};
use crate::node::cx::{Cx, NodeTimer, Subject, Topic};
use crate::node::fair_set::FairSet;
use crate::node::ids::RunId;
use crate::node::limits::{RANGE_RUNS_MAX, RANGES_IDLE_MAX};
use crate::node::rate::Rate;
use crate::node::share::ShareMachine;
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Upload {
    pub(super) began: Instant,
    pub(super) bytes: u64,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    File { to: SocketAddr, name: FileName, rate: Rate },
    Range { run: RunId },
    Metadata { to: SocketAddr, name: FileName },
}

type RunKey = (IpAddr, Rc<FileName>);

#[derive(Debug)]
pub(super) struct Run {
    pub(super) to: SocketAddr,
    pub(super) name: Rc<FileName>,
    pub(super) stage: Stage,
    /// When the first range was sent, and when the last one ended.
    pub(super) span: (Instant, Instant),
    pub(super) bytes: u64,
    pub(super) rate: Rate,
    /// Offset and length of the range that was asked for last.
    pub(super) range: (u64, u64),
    /// Of the file.
    size: u64,
    fault: Option<ResponseFault>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// At least one connection sends ranges.
    Sending { connections: usize },
    /// Another range may be requested.
    Idle { timer: TimerId },
}

impl Run {
    fn key(&self) -> RunKey {
        (self.to.ip().to_canonical(), Rc::clone(&self.name))
    }
}

/// What a requester gets when a worker is free.
#[derive(Debug)]
pub(in crate::node) enum Wanted {
    File { to: SocketAddr, name: FileName },
    Range { to: SocketAddr, name: FileName, offset: u64, length: u64 },
    Metadata { to: SocketAddr, name: FileName },
    Manifest { to: SocketAddr, name: FileName, range: Option<(u64, u64)> },
    List { to: SocketAddr, attributes: bool },
    CallBack { to: SocketAddr, name: FileName },
}

/// All uploads in progress, and requests that wait.
pub(super) struct Uploads {
    /// Requests that wait for a turn or a worker, with the time of their arrival.
    pub(super) wanted: BTreeMap<ExchangeId, (Instant, Wanted)>,
    pub(super) rows: BTreeMap<ExchangeId, Upload>,
    pub(super) runs: BTreeMap<RunId, Run>,
    runs_by_key: BTreeMap<RunKey, RunId>,
    runs_begun: u64,
    idle_runs: FairSet<RunId>,
    /// Lists that are being sent, and to whom.
    pub(super) lists: BTreeMap<ExchangeId, SocketAddr>,
}

impl Default for Uploads {
    fn default() -> Self {
        let (wanted, rows, runs, runs_by_key, lists) = Default::default();
        Self { wanted, rows, runs, runs_by_key, runs_begun: 0, idle_runs: FairSet::new(RANGE_RUNS_MAX), lists }
    }
}

impl Uploads {
    fn name(&self, exchange: ExchangeId) -> Option<FileName> {
        match &self.rows.get(&exchange)?.kind {
            Kind::File { name, .. } => Some(name.clone()),
            Kind::Range { run } => Some(FileName::clone(&self.runs.get(run)?.name)),
            Kind::Metadata { .. } => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// These connections, ascending.
    pub(super) fn exchanges(&self) -> impl Iterator<Item = ExchangeId> {
        self.rows.keys().copied()
    }

    pub(super) fn displaced(&self) -> u64 {
        self.idle_runs.displaced()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.runs.len(), self.runs_by_key.len(), "each run of ranges has one key");
        let idle = self.runs.values().filter(|run| matches!(run.stage, Stage::Idle { .. })).count();
        assert_eq!(idle, self.idle_runs.len(), "the runs that are idle are known");
        self.idle_runs.check_invariants();
        let mut sending: BTreeMap<RunId, usize> = BTreeMap::new();
        for upload in self.rows.values() {
            if let Kind::Range { run } = upload.kind {
                *sending.entry(run).or_default() += 1;
            }
        }
        for (id, run) in &self.runs {
            let counted = match run.stage {
                Stage::Sending { connections } => Some(connections),
                Stage::Idle { .. } => None,
            };
            assert_eq!(sending.remove(id), counted, "{run:?} is as its connections are");
        }
        assert!(sending.is_empty(), "each range belongs to a run");
    }
}

impl UploadMachine {
    pub(super) fn note_upload_started(&mut self, cx: &mut Cx, exchange: ExchangeId, to: SocketAddr, name: &FileName) {
        let mut rate = Rate::default();
        rate.start(cx.now, 0);
        let kind = Kind::File { to, name: name.clone(), rate };
        self.uploads.rows.insert(exchange, Upload { began: cx.now, bytes: 0, kind });
        let name = RawText::new(name.as_bytes());
        cx.notify(Topic::Uploads, || Notice::UploadStarted { to, name });
    }

    pub(super) fn note_metadata_started(&mut self, cx: &Cx, exchange: ExchangeId, to: SocketAddr, name: &FileName) {
        let kind = Kind::Metadata { to, name: name.clone() };
        self.uploads.rows.insert(exchange, Upload { began: cx.now, bytes: 0, kind });
    }

    /// `range`: its offset and its length. `size`: that of the file.
    pub(super) fn note_range_started(
        &mut self,
        cx: &mut Cx,
        exchange: ExchangeId,
        to: SocketAddr,
        name: &FileName,
        range: (u64, u64),
        size: u64,
    ) {
        let name = Rc::new(name.clone());
        let known = self.uploads.runs_by_key.get(&(to.ip().to_canonical(), Rc::clone(&name))).copied();
        let run = known.unwrap_or_else(|| self.begin_run(cx, to, name));
        self.uploads.rows.insert(exchange, Upload { began: cx.now, bytes: 0, kind: Kind::Range { run } });
        if let Some(row) = self.uploads.runs.get_mut(&run) {
            (row.range, row.size) = (range, size);
            match &mut row.stage {
                Stage::Sending { connections } => *connections += 1,
                Stage::Idle { timer } => {
                    cx.wheel.cancel(*timer);
                    self.uploads.idle_runs.remove(&run);
                    row.rate.start(cx.now, row.bytes);
                    row.stage = Stage::Sending { connections: 1 };
                }
            }
        }
    }

    fn begin_run(&mut self, cx: &mut Cx, to: SocketAddr, name: Rc<FileName>) -> RunId {
        self.uploads.runs_begun += 1;
        let id = RunId(self.uploads.runs_begun);
        let span = (cx.now, cx.now);
        let (mut rate, stage) = (Rate::default(), Stage::Sending { connections: 0 });
        rate.start(cx.now, 0);
        let run = Run { to, name, stage, span, bytes: 0, rate, range: (0, 0), size: 0, fault: None };
        let name = RawText::new(run.name.as_bytes());
        self.uploads.runs_by_key.insert(run.key(), id);
        self.uploads.runs.insert(id, run);
        cx.notify(Topic::Uploads, || Notice::UploadStarted { to, name });
        id
    }

    /// No range was requested for a while.
    pub(in crate::node) fn on_run_idle(&mut self, cx: &mut Cx, id: RunId) {
        if self.uploads.runs.get(&id).is_some_and(|run| matches!(run.stage, Stage::Idle { .. })) {
            self.end_run(cx, id);
        }
    }

    fn end_run(&mut self, cx: &mut Cx, id: RunId) {
        let Some(run) = self.uploads.runs.remove(&id) else { return };
        self.uploads.runs_by_key.remove(&run.key());
        self.uploads.idle_runs.remove(&id);
        if let Stage::Idle { timer } = run.stage {
            cx.wheel.cancel(timer);
        }
        report_run(cx, run);
    }

    /// The node has left: what is still being sent is aborted, and no further range of a file is requested.
    pub(in crate::node) fn end_uploads(&mut self, cx: &mut Cx) {
        let sending: Vec<_> = self.uploads.exchanges().collect();
        for exchange in sending {
            cx.out.act(Action::Abort { exchange });
            self.end_upload(cx, exchange, Some(&ResponseFault::Aborted));
        }
        let runs: Vec<_> = self.uploads.runs.keys().copied().collect();
        runs.into_iter().for_each(|id| self.end_run(cx, id));
    }

    pub(in crate::node) fn on_response_progress(&mut self, cx: &mut Cx, exchange: ExchangeId, bytes: u64, held: bool) {
        cx.note_progress(exchange, bytes, held);
        self.count_sent(cx, exchange, bytes);
    }

    fn count_sent(&mut self, cx: &mut Cx, exchange: ExchangeId, bytes: u64) {
        let Some(upload) = self.uploads.rows.get_mut(&exchange) else { return };
        let more = bytes.saturating_sub(upload.bytes);
        upload.bytes += more;
        cx.counters.bytes_up += more;
        match &mut upload.kind {
            Kind::File { rate, .. } => rate.note(cx.now, upload.bytes),
            Kind::Range { run } => {
                if let Some(run) = self.uploads.runs.get_mut(run) {
                    run.bytes += more;
                    run.rate.note(cx.now, run.bytes);
                }
            }
            Kind::Metadata { .. } => {}
        }
    }

    pub(in crate::node) fn on_response_ended(
        &mut self,
        cx: &mut Cx,
        share: &mut ShareMachine,
        exchange: ExchangeId,
        outcome: Result<u64, ResponseFault>,
    ) {
        if let Ok(bytes) = outcome {
            self.count_sent(cx, exchange, bytes);
        }
        if let Some(name) = self.uploads.name(exchange) {
            report_if_changed(cx, share, &name, outcome.as_ref().err());
        }
        self.end_upload(cx, exchange, outcome.as_ref().err());
        cx.free_worker(exchange);
    }

    pub(super) fn end_upload(&mut self, cx: &mut Cx, exchange: ExchangeId, fault: Option<&ResponseFault>) {
        let fault = fault.map(|fault| cx.fault_of_aborted(exchange, fault));
        self.uploads.lists.remove(&exchange);
        match self.uploads.rows.remove(&exchange) {
            Some(Upload { began, bytes, kind: Kind::File { to, name, .. } }) => {
                let took = cx.now.saturating_since(began);
                report_upload(cx, to, &name, (bytes, took), fault);
            }
            Some(Upload { kind: Kind::Range { run }, .. }) => self.on_range_ended(cx, run, fault),
            Some(Upload { kind: Kind::Metadata { .. }, .. }) | None => {}
        }
        self.end_turn(exchange);
    }

    fn on_range_ended(&mut self, cx: &mut Cx, id: RunId, fault: Option<ResponseFault>) {
        let Some(run) = self.uploads.runs.get_mut(&id) else { return };
        run.fault = fault;
        run.span.1 = cx.now;
        match &mut run.stage {
            Stage::Sending { connections } if *connections > 1 => *connections -= 1,
            _ if run.fault.is_none() && run.bytes >= run.size => self.end_run(cx, id),
            _ => {
                let timer = cx.wheel.insert(cx.now + RANGES_IDLE_MAX, NodeTimer::RangesIdle(id));
                run.stage = Stage::Idle { timer };
                let network = Network::of(run.to.ip());
                if let Some(other) = self.uploads.idle_runs.insert(network, id) {
                    self.end_run(cx, other);
                }
            }
        }
    }
}

fn report_run(cx: &mut Cx, run: Run) {
    let Run { to, name, span: (began, ended), bytes, fault, .. } = run;
    report_upload(cx, to, &name, (bytes, ended.saturating_since(began)), fault);
}

/// Logs the end of an upload, and notifies clients.
fn report_upload(
    cx: &mut Cx,
    to: SocketAddr,
    name: &FileName,
    (bytes, took): (u64, Duration),
    fault: Option<ResponseFault>,
) {
    let error = fault.map(|fault| fault.to_string());
    if cx.may_log(Subject::Upload, to.ip(), bytes) {
        let duration_ms = took.as_millis() as u64;
        match &error {
            None => log::info!(peer:% = to, name:%, bytes, duration_ms; "upload finished"),
            // The next run may go on with it.
            Some(_) if fault == Some(ResponseFault::Leaving) => {
                log::info!(peer:% = to, name:%, bytes, duration_ms; "upload interrupted");
            }
            Some(error) => log::info!(peer:% = to, name:%, bytes, duration_ms, error; "upload aborted"),
        }
    }
    let name = RawText::new(name.as_bytes());
    cx.notify(Topic::Uploads, || Notice::UploadEnded { to, name, bytes, error });
}

/// Tells the share of a file that was found to be changed when it was sent.
pub(super) fn report_if_changed(cx: &mut Cx, share: &mut ShareMachine, name: &FileName, fault: Option<&ResponseFault>) {
    if let Some(ResponseFault::Disk(DiskFault::Changed | DiskFault::Shrank)) = fault {
        share.on_shared_file_changed(cx, name);
    }
}
