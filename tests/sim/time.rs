//! Virtual time: the queue of what happens next, and the turn of each host when something has happened to it.

use crate::host::{HostId, Program};
use crate::world::{Occurrence, World};
use pyrate::fault::DiskFault;
use pyrate::library::{RECENT_MAX, RecentFile, ScanReport, ScannedFile};
use pyrate::name::FileName;
use pyrate::node::contract::{BootstrapAddr, Event, LookedAt};
use pyrate::time::Instant;
use std::time::Duration;

/// Calls of `advance` at one moment after which a deadline is said not to move on.
const ADVANCES_AT_ONCE_MAX: u32 = 1_000;

impl World {
    pub(crate) fn plan(&mut self, after_ms: u64, occurrence: Occurrence) {
        self.planned += 1;
        self.queue.insert((self.now + Duration::from_millis(after_ms), self.planned), occurrence);
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.run_while(end, |_| true);
        self.now = end;
    }

    /// Lets time pass until something is so; a violation if it is not within the span.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, span: Duration, mut so: impl FnMut(&World) -> bool) {
        let end = self.now + span;
        self.run_while(end, |world| !so(world));
        if !so(self) {
            panic!("PYRATE_SIM_SEED={}: not within {span:?}: {what}", self.seed);
        }
    }

    fn run_while(&mut self, end: Instant, mut go_on: impl FnMut(&World) -> bool) {
        while go_on(self) {
            match self.queue.first_key_value() {
                Some((&(at, _), _)) if at <= end => {}
                _ => break,
            }
            if let Some(((at, _), occurrence)) = self.queue.pop_first() {
                self.now = at;
                self.happen(occurrence);
            }
        }
    }

    /// Whether a host is still the same run of its program.
    pub(crate) fn is_current(&self, id: HostId, epoch: u32) -> bool {
        self.hosts[id.0].up && self.hosts[id.0].epoch == epoch
    }

    fn happen(&mut self, occurrence: Occurrence) {
        match occurrence {
            Occurrence::Wake(id, epoch) if self.is_current(id, epoch) => self.wake(id),
            Occurrence::Work(id, epoch) if self.is_current(id, epoch) => self.work(id),
            Occurrence::Scanned(id, epoch, files) if self.is_current(id, epoch) => self.scanned(id, files),
            Occurrence::Hashed(id, epoch, files) if self.is_current(id, epoch) => self.hashed(id, files),
            Occurrence::PartFailed(id, epoch, download, fault) if self.is_current(id, epoch) => {
                self.deliver(id, Event::PartFailed { download, fault });
            }
            Occurrence::PartChecked(id, epoch, download) if self.is_current(id, epoch) => {
                self.part_checked(id, download);
            }
            Occurrence::StreamTaken(id, epoch, exchange, outcome) if self.is_current(id, epoch) => {
                self.stream_taken(id, exchange, outcome);
            }
            Occurrence::TargetProbed(id, epoch, download, spec) if self.is_current(id, epoch) => {
                self.target_probed(id, download, &spec);
            }
            Occurrence::DirectoriesMade(id, epoch, download) if self.is_current(id, epoch) => {
                self.directories_made(id, download);
            }
            Occurrence::PartOpened(id, epoch, download) if self.is_current(id, epoch) => {
                self.part_opened(id, download);
            }
            Occurrence::PartCommitted(id, epoch, download) if self.is_current(id, epoch) => {
                self.part_committed(id, download);
            }
            Occurrence::LookedAt(id, epoch, names) if self.is_current(id, epoch) => self.looked_at(id, names),
            Occurrence::Resolved(id, epoch, host) if self.is_current(id, epoch) => self.resolved(id, host),
            Occurrence::Arrive(conn) => self.arrive(conn),
            Occurrence::Deliver(conn) => self.deliver_message(conn),
            Occurrence::Respond(conn) => self.respond(conn),
            Occurrence::Said(conn, report) => self.hear_report(conn, &report),
            Occurrence::Deserted(conn, name) => self.deserted(conn, name),
            Occurrence::CallBack(conn, host, flow) => self.called_back(conn, host, flow),
            Occurrence::DialerEnds(conn, outcome) => self.dialer_ends(conn, outcome),
            Occurrence::ServerLoses(conn) => self.server_loses(conn),
            Occurrence::Idle(conn) => self.idle(conn),
            // Meant for an earlier run.
            _ => {}
        }
    }

    fn wake(&mut self, id: HostId) {
        let now = self.now;
        if self.hosts[id.0].wake == Some(now) {
            self.hosts[id.0].wake = None;
        }
        let mut advances = 0;
        while self.hosts[id.0].next_deadline().is_some_and(|at| at <= now) {
            advances += 1;
            if advances > ADVANCES_AT_ONCE_MAX {
                self.violation(id, "the deadline does not move on");
            }
            let addr = self.hosts[id.0].addr;
            match &mut self.hosts[id.0].program {
                Program::Node(Some(node)) => node.advance(now),
                Program::Bootstrap(Some(bootstrap)) => bootstrap.advance(now),
                Program::Rogue(rogue) => {
                    let sendings = rogue.on_tick(now, addr, &mut self.random);
                    self.send_all(id, sendings);
                }
                _ => {}
            }
            self.settle(id);
        }
        // The deadline that this was planned for may have moved.
        self.plan_wake(id);
    }

    fn work(&mut self, id: HostId) {
        self.hosts[id.0].working = false;
        if let Program::Node(Some(node)) = &mut self.hosts[id.0].program {
            node.work(self.now);
        }
        self.settle(id);
    }

    /// Hands an event to a node, and does what it then wants.
    pub(crate) fn deliver(&mut self, id: HostId, event: Event) {
        let now = self.now;
        match &mut self.hosts[id.0].program {
            Program::Node(Some(node)) => node.handle(now, event),
            _ => self.violation(id, "an event for a node that does not run"),
        }
        self.settle(id);
    }

    /// Does what a host wants, looks whether all rules are kept, and plans its next wake-up.
    pub(crate) fn settle(&mut self, id: HostId) {
        loop {
            match &mut self.hosts[id.0].program {
                Program::Node(Some(node)) => match node.poll_action() {
                    Some(action) => self.perform(id, action),
                    None => break,
                },
                Program::Bootstrap(Some(bootstrap)) => match bootstrap.poll_action() {
                    Some(action) => self.perform_bootstrap(id, action),
                    None => break,
                },
                _ => break,
            }
        }
        self.check(id);
        if self.hosts[id.0].up && self.hosts[id.0].left {
            // The process ends.
            self.crash(id);
        }
        self.plan_wake(id);
    }

    fn plan_wake(&mut self, id: HostId) {
        let (now, host) = (self.now, &mut self.hosts[id.0]);
        if !host.up {
            return;
        }
        let epoch = host.epoch;
        let has_work = matches!(&host.program, Program::Node(Some(node)) if node.has_work());
        let begin_work = has_work && !host.working;
        host.working |= has_work;
        let deadline = host.next_deadline().map(|at| at.max(now));
        let sooner = deadline.filter(|at| host.wake.is_none_or(|planned| *at < planned || planned < now));
        host.wake = sooner.or(host.wake);
        if begin_work {
            self.plan(1, Occurrence::Work(id, epoch));
        }
        if let Some(at) = sooner {
            self.plan(at.as_ms() - now.as_ms(), Occurrence::Wake(id, epoch));
        }
    }

    fn check(&mut self, id: HostId) {
        self.check_orphans(id);
        let host = &mut self.hosts[id.0];
        host.commands_peak = host.commands_peak.max(host.commands);
        let max_workers = host.config.as_ref().map_or(usize::MAX, |config| config.max_workers);
        if host.commands > max_workers {
            self.violation(id, "more commands are in progress than max_workers allows");
        }
        // Debug builds of the node look by themselves.
        if let (false, Program::Node(Some(node))) = (cfg!(debug_assertions), &self.hosts[id.0].program) {
            node.check_invariants();
        }
    }

    // What the disk and the resolver bring.

    fn scanned(&mut self, id: HostId, files: Vec<ScannedFile>) {
        if files.is_empty() {
            self.hosts[id.0].scanning = false;
            let empty = self.hosts[id.0].disk.empty_directories();
            self.deliver(id, Event::ScanEnded { report: ScanReport { empty, ..ScanReport::default() } });
        } else {
            self.deliver(id, Event::Scanned { files });
        }
    }

    /// Files of this world are at rest.
    fn looked_at(&mut self, id: HostId, names: Vec<FileName>) {
        let disk = &self.hosts[id.0].disk;
        let look = |name: FileName| {
            let file = disk.scanned_file(&name).ok_or(DiskFault::Missing);
            LookedAt { found: file.map(|file| RecentFile { file, quiet: RECENT_MAX }), name }
        };
        let files = names.into_iter().map(look).collect();
        self.deliver(id, Event::LookedAt { files });
    }

    fn resolved(&mut self, id: HostId, host: BootstrapAddr) {
        let literal = host.host.parse().map(|ip| vec![ip]).ok();
        let outcome = literal.or_else(|| self.dns.get(&host.host).cloned());
        let outcome = outcome.ok_or_else(|| pyrate::fault::ResolveFault::Lookup("no such host".into()));
        self.deliver(id, Event::Resolved { host, outcome });
    }

    /// The disk of a host refuses, or works again.
    pub(crate) fn set_disk_fault(&mut self, id: HostId, fault: Option<DiskFault>) {
        self.hosts[id.0].disk.fault = fault;
    }
}
