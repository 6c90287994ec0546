//! Limits of the log lines that others cause: of each subject, each network has so many lines a minute, and all together so
//! many. What is left out is counted, and told in one line for each network when the minute is over.
//!
//! Nothing but the log depends on what is in here.

use super::{Cx, NodeTimer, Subject};
use crate::network::Network;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long lines are counted.
pub(in crate::node) const LINES_PERIOD: Duration = Duration::from_secs(60);

/// Lines of one subject that one network may cause in this time.
pub(in crate::node) const LINES_PER_NETWORK_MAX: u32 = 20;

/// Lines of one subject that all together may cause in this time.
pub(in crate::node) const LINES_MAX: u32 = 300;

/// Networks of which is told what was left out. What others caused beyond is told as one.
const NETWORKS_TOLD_MAX: usize = 16;

/// Networks that are counted at once: each has caused a line.
const NETWORKS_MAX: usize = LINES_MAX as usize;

/// Events of one network in the running period.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counted {
    lines: u32,
    left_out: LeftOut,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct LeftOut {
    events: u64,
    bytes: u64,
}

impl LeftOut {
    fn add(&mut self, events: u64, bytes: u64) {
        self.events += events;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

#[derive(Debug, Default)]
struct Window {
    since: Instant,
    lines: u32,
    networks: BTreeMap<Network, Counted>,
    /// Of networks that are not counted each for itself.
    others: LeftOut,
    /// Something was left out, and is told when the period is over.
    is_incomplete: bool,
}

enum Verdict {
    Logged,
    /// What is left out is to be told at this time; `None` if that is planned already.
    LeftOut(Option<Instant>),
}

impl Window {
    fn weigh(&mut self, now: Instant, network: Network, bytes: u64) -> Verdict {
        if !self.is_incomplete && now.saturating_since(self.since) >= LINES_PERIOD {
            *self = Self { since: now, ..Self::default() };
        }
        let is_counted = self.networks.len() < NETWORKS_MAX || self.networks.contains_key(&network);
        if is_counted {
            let counted = self.networks.entry(network).or_default();
            if self.lines < LINES_MAX && counted.lines < LINES_PER_NETWORK_MAX {
                self.lines += 1;
                counted.lines += 1;
                return Verdict::Logged;
            }
            counted.left_out.add(1, bytes);
        } else {
            self.others.add(1, bytes);
        }
        let was_incomplete = std::mem::replace(&mut self.is_incomplete, true);
        Verdict::LeftOut((!was_incomplete).then_some(self.since + LINES_PERIOD))
    }

    /// What was left out, the most first; `None` stands for all other networks. Begins a new period.
    fn take(&mut self, now: Instant) -> Vec<(Option<Network>, LeftOut)> {
        let window = std::mem::replace(self, Self { since: now, ..Self::default() });
        let mut others = window.others;
        let counted = window.networks.into_iter().map(|(network, counted)| (network, counted.left_out));
        let mut told: Vec<_> = counted.filter(|(_, left_out)| left_out.events > 0).collect();
        told.sort_by_key(|(_, left_out)| std::cmp::Reverse(left_out.events));
        for (_, left_out) in told.split_off(told.len().min(NETWORKS_TOLD_MAX)) {
            others.add(left_out.events, left_out.bytes);
        }
        let rest = (others.events > 0).then_some((None, others));
        told.into_iter().map(|(network, left_out)| (Some(network), left_out)).chain(rest).collect()
    }
}

#[derive(Default)]
pub(in crate::node) struct LineLimits(BTreeMap<Subject, Window>);

impl Cx {
    /// Whether a line is to be logged that `who` has caused. Otherwise it is counted, with the bytes that it is about.
    pub(in crate::node) fn may_log(&mut self, subject: Subject, who: IpAddr, bytes: u64) -> bool {
        if !log::log_enabled!(subject.level()) {
            return false;
        }
        let window = self.line_limits.0.entry(subject).or_default();
        match window.weigh(self.now, Network::of(who), bytes) {
            Verdict::Logged => true,
            Verdict::LeftOut(due) => {
                if let Some(at) = due {
                    self.wheel.insert(at, NodeTimer::LinesLeftOut(subject));
                }
                false
            }
        }
    }

    /// Tells what was left out of the log.
    pub(in crate::node) fn log_left_out(&mut self, subject: Subject) {
        let now = self.now;
        let told = self.line_limits.0.get_mut(&subject).map(|window| window.take(now)).unwrap_or_default();
        for (network, LeftOut { events, bytes }) in told {
            let peer = network.map(|network| network.to_string());
            let bytes = (subject == Subject::Upload).then_some(bytes);
            let about = subject.word();
            log::log!(subject.level(), about, peer, count = events, bytes; "more events without a line of their own");
        }
    }

    /// The same of all subjects, at the end.
    pub(in crate::node) fn log_all_left_out(&mut self) {
        let subjects: Vec<_> = self.line_limits.0.keys().copied().collect();
        subjects.into_iter().for_each(|subject| self.log_left_out(subject));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn network(number: u32) -> Network {
        Network::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
    }

    fn logged(window: &mut Window, now: Instant, from: Network, events: u32) -> u32 {
        let is_logged = |_: &u32| matches!(window.weigh(now, from, 10), Verdict::Logged);
        (0..events).filter(is_logged).count() as u32
    }

    #[test]
    fn one_network_has_a_few_lines_a_minute_and_the_rest_is_told_at_its_end() {
        let (mut window, now) = (Window::default(), Instant::from_ms(1_000_000));
        assert_eq!(logged(&mut window, now, network(1), 10_000), LINES_PER_NETWORK_MAX);
        assert_eq!(logged(&mut window, now, network(2), 5), 5, "others are not held back by it");
        let rest = LeftOut { events: 10_000 - 20, bytes: 99_800 };
        assert_eq!(window.take(now + LINES_PERIOD), [(Some(network(1)), rest)]);
        assert_eq!(logged(&mut window, now + LINES_PERIOD, network(1), 1), 1, "a new minute has begun");
    }

    #[test]
    fn what_is_left_out_is_planned_to_be_told_once() {
        let (mut window, now) = (Window::default(), Instant::from_ms(1_000_000));
        let due: Vec<_> = (0..100)
            .filter_map(|_| match window.weigh(now, network(1), 0) {
                Verdict::LeftOut(due) => due,
                Verdict::Logged => None,
            })
            .collect();
        assert_eq!(due, [now + LINES_PERIOD]);
    }

    #[test]
    fn a_quiet_minute_ends_by_itself() {
        let (mut window, now) = (Window::default(), Instant::from_ms(1_000_000));
        assert_eq!(logged(&mut window, now, network(1), 20), 20);
        assert_eq!(logged(&mut window, now + LINES_PERIOD, network(1), 20), 20);
    }

    #[test]
    fn many_networks_cause_no_more_lines_and_take_no_more_memory_than_some() {
        let (mut window, now) = (Window::default(), Instant::from_ms(1_000_000));
        let lines: u32 = (0..10_000).map(|number| logged(&mut window, now, network(number), 3)).sum();
        assert_eq!((lines, window.networks.len() <= NETWORKS_MAX), (LINES_MAX, true));
        let told = window.take(now);
        assert_eq!(told.len(), 1 + NETWORKS_TOLD_MAX.min(told.len() - 1));
        assert_eq!(told.iter().map(|(_, left_out)| left_out.events).sum::<u64>(), 30_000 - u64::from(LINES_MAX));
        assert!(told.last().is_some_and(|(network, _)| network.is_none()));
    }
}
