//! What is measured, collected from all parts for `metrics`.

use super::Driver;
use crate::control::{ChecksReply, MetricsReply, RegistryCounts};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::collections::BTreeMap;

impl Driver {
    pub(super) fn metrics(&mut self) -> MetricsReply {
        self.node.set_wall_clock(self.clock.wall());
        self.node.limited_mut().log_lines_lost = self.front.host().log_lines_lost();
        let mut status = self.node.status(self.cx.now);
        self.complete(&mut status);
        let mut refusals = BTreeMap::new();
        for (reason, count) in self.net.refusals().chain(self.front.refusals()) {
            *refusals.entry(reason.to_owned()).or_default() += count;
        }
        let (descriptors, descriptors_max) = self.net.descriptors();
        let counters = self.node.counters();
        MetricsReply {
            started: self.clock.started(),
            status,
            downloads: self.node.downloads_by_state(),
            refusals,
            bytes_sent: counters.bytes_up + counters.bytes_taken_back,
            turns: self.turns.spans(),
            job_waits: self.disk.job_waits().spans(),
            jobs_waiting: self.disk.jobs_waiting().map(|(thread, count)| (thread.to_owned(), count)).collect(),
            connections: self.net.connections() as u64,
            descriptors: descriptors as u64,
            descriptors_max: descriptors_max as u64,
            cpu_us: cpu_us(),
            resident_bytes: resident_bytes(),
            registry: self.registry_counts(),
        }
    }

    fn registry_counts(&self) -> Option<RegistryCounts> {
        let bootstrap = self.bootstrap.as_ref()?;
        Some(RegistryCounts { peers: bootstrap.count() as u64, checks: self.registry_checks() })
    }

    /// How many registered peers answer, if they are dialled.
    pub(super) fn registry_checks(&self) -> Option<ChecksReply> {
        let bootstrap = self.bootstrap.as_ref().filter(|bootstrap| bootstrap.is_checking())?;
        let (answered, silent) = bootstrap.answered_counts();
        Some(ChecksReply { answered: answered as u64, silent: silent as u64 })
    }
}

/// CPU time of the process, in microseconds.
fn cpu_us() -> u64 {
    let used = getrusage(UsageWho::RUSAGE_SELF);
    let us = used.map_or(0, |used| (used.user_time() + used.system_time()).num_microseconds());
    u64::try_from(us).unwrap_or(0)
}

/// Resident memory of the process (proc(5), statm). The kernel makes this file from memory: no disk is waited for.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten()?;
    pages.checked_mul(u64::try_from(page).ok()?)
}
