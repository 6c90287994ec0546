//! What a monitoring system reads: the answer to `metrics`, and the same as text (Prometheus, text exposition format 0.0.4).

use super::{ChecksReply, DownloadState, LinkState, StatusReply};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

/// What is measured, with the names of `pyratectl --json metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsReply {
    pub status: StatusReply,
    /// When the daemon was started, epoch seconds.
    pub started: u64,
    /// Downloads that are remembered, by state.
    pub downloads: BTreeMap<DownloadState, u64>,
    /// What was refused since start, by the reason in the log.
    pub refusals: BTreeMap<String, u64>,
    /// Bytes of files sent, also to requesters that closed before they had the whole: never less than before.
    pub bytes_sent: u64,
    pub turns: SpansReply,
    pub job_waits: SpansReply,
    /// Jobs that wait for a worker thread, by its name.
    pub jobs_waiting: BTreeMap<String, u64>,
    /// Connections with peers and bootstrap nodes.
    pub connections: u64,
    /// Descriptors in use for connections and files, of those that may be.
    pub descriptors: u64,
    pub descriptors_max: u64,
    /// CPU time of the process in microseconds.
    pub cpu_us: u64,
    /// Resident memory of the process; `None` where the system does not tell.
    pub resident_bytes: Option<u64>,
    /// What our bootstrap node has registered; `None` if there is none.
    pub registry: Option<RegistryCounts>,
}

/// How long something took, since start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpansReply {
    pub count: u64,
    pub sum_us: u64,
    /// How many took less than each of these times, which ascend.
    pub less_than: Vec<SpansBelow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpansBelow {
    pub us: u64,
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryCounts {
    pub peers: u64,
    /// How many of them answer, if they are dialled.
    pub checks: Option<ChecksReply>,
}

/// The media type of [`MetricsReply::text`].
pub(crate) const METRICS_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Microseconds as seconds, exactly.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        match rest {
            0 => write!(f, "{whole}"),
            _ => f.write_str(format!("{whole}.{rest:06}").trim_end_matches('0')),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The text so far.
struct Families(String);

impl Families {
    fn begin(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.begin(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    /// A family whose samples differ by one label.
    fn by<L: AsRef<str>, V: Display>(
        &mut self,
        (name, kind, help): (&str, Kind, &str),
        label: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.begin(name, kind, help);
        for (value, sample) in samples {
            self.line(format_args!("{name}{{{label}=\"{}\"}} {sample}", LabelValue(value.as_ref())));
        }
    }

    fn spans(&mut self, name: &str, help: &str, spans: &SpansReply) {
        self.begin(name, Kind::Histogram, help);
        for below in &spans.less_than {
            self.line(format_args!("{name}_bucket{{le=\"{}\"}} {}", Seconds(below.us), below.count));
        }
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {}", spans.count));
        self.line(format_args!("{name}_sum {}", Seconds(spans.sum_us)));
        self.line(format_args!("{name}_count {}", spans.count));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A `String` takes all that is written.
        let _ = writeln!(self.0, "{line}");
    }
}

/// The value of a label, escaped as the format wants it.
struct LabelValue<'a>(&'a str);

impl Display for LabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

/// The fields of counters, or the entries of a map, with the names that they have in JSON.
fn named_counts(counts: &impl Serialize) -> Vec<(String, serde_json::Value)> {
    // Names and numbers cannot fail to become JSON.
    let object = serde_json::to_value(counts).ok().and_then(|value| value.as_object().cloned());
    object.into_iter().flatten().collect()
}

impl MetricsReply {
    /// As the text that Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut families = Families(String::new());
        self.add_process(&mut families);
        self.add_network(&mut families);
        self.add_transfers(&mut families);
        self.add_limits(&mut families);
        families.spans(
            "pyrate_turn_duration_seconds",
            "Turns of the loop, from the moment it has something to do until it waits again.",
            &self.turns,
        );
        families.spans("pyrate_job_wait_seconds", "How long jobs waited for a worker thread.", &self.job_waits);
        families.by(
            ("pyrate_jobs_waiting", Kind::Gauge, "Jobs that wait for a worker thread."),
            "thread",
            &self.jobs_waiting,
        );
        families.0
    }

    fn add_process(&self, families: &mut Families) {
        use Kind::{Counter, Gauge};
        let version = [(self.status.version.as_str(), 1)];
        families.by(("pyrate_build_info", Gauge, "The version of the daemon; always 1."), "version", version);
        families.one(
            "process_start_time_seconds",
            Gauge,
            "When the daemon was started, since the epoch.",
            self.started,
        );
        families.one("process_cpu_seconds_total", Counter, "CPU time, of user and system.", Seconds(self.cpu_us));
        if let Some(bytes) = self.resident_bytes {
            families.one("process_resident_memory_bytes", Gauge, "Resident memory.", bytes);
        }
        families.one(
            "pyrate_descriptors",
            Gauge,
            "Descriptors in use for connections and files in transfer.",
            self.descriptors,
        );
        families.one("pyrate_descriptors_max", Gauge, "Descriptors that may be used for them.", self.descriptors_max);
        families.one("pyrate_connections", Gauge, "Connections with peers and bootstrap nodes.", self.connections);
    }

    fn add_network(&self, families: &mut Families) {
        use Kind::Gauge;
        let links = &self.status.bootstraps;
        let registered = links.iter().map(|link| (&link.addr, u8::from(link.state == LinkState::Registered)));
        families.by(
            ("pyrate_bootstrap_registered", Gauge, "1 if this peer is registered with the bootstrap node."),
            "bootstrap",
            registered,
        );
        let answered = links.iter().filter_map(|link| Some((&link.addr, link.last_ok?)));
        families.by(
            ("pyrate_bootstrap_last_answer_timestamp_seconds", Gauge, "When the bootstrap node answered last."),
            "bootstrap",
            answered,
        );
        families.one("pyrate_peers", Gauge, "Known peers that have not failed.", self.status.peers);
        if let Some(registry) = self.registry {
            families.one("pyrate_registry_peers", Gauge, "Peers registered with our bootstrap node.", registry.peers);
            if let Some(checks) = registry.checks {
                families.by(
                    ("pyrate_registry_checked_peers", Gauge, "Registered peers that were dialled, by outcome."),
                    "outcome",
                    [("answered", checks.answered), ("silent", checks.silent)],
                );
            }
        }
    }

    fn add_transfers(&self, families: &mut Families) {
        use Kind::{Counter, Gauge};
        let status = &self.status;
        families.one("pyrate_shared_files", Gauge, "Files shared.", status.shared_files);
        families.one("pyrate_shared_bytes", Gauge, "Bytes of the files shared.", status.shared_bytes);
        families.one(
            "pyrate_unhashed_files",
            Gauge,
            "Files shared whose hash is not known yet.",
            status.unhashed_files,
        );
        families.one("pyrate_share_scanning", Gauge, "1 while the share is scanned.", u8::from(status.scanning));
        families.one(
            "pyrate_share_readable",
            Gauge,
            "0 if the last scan could not read all shares.",
            u8::from(status.share_error.is_none()),
        );
        let downloads = named_counts(&self.downloads);
        families.by(("pyrate_downloads", Gauge, "Downloads that are remembered, by state."), "state", downloads);
        families.one("pyrate_uploads_active", Gauge, "Uploads in progress.", status.uploads_active);
        families.one(
            "pyrate_commands_queued",
            Gauge,
            "Commands that wait for a worker or a descriptor.",
            status.commands_queued,
        );
        families.by(
            ("pyrate_transferred_bytes_total", Counter, "Bytes of files transferred."),
            "direction",
            [("received", status.bytes_down), ("sent", self.bytes_sent)],
        );
        families.one("pyrate_orphaned_parts", Gauge, "Part files that no download names.", status.orphaned_parts);
        families.one("pyrate_orphaned_bytes", Gauge, "Bytes that they take on the disk.", status.orphaned_bytes);
    }

    fn add_limits(&self, families: &mut Families) {
        use Kind::Counter;
        families.one(
            "pyrate_messages_refused_total",
            Counter,
            "Messages refused: malformed, oversize, unsuitable.",
            self.status.refused,
        );
        families.by(
            ("pyrate_refusals_total", Counter, "What was refused, by the reason in the log."),
            "reason",
            &self.refusals,
        );
        let limited = named_counts(&self.status.limited);
        families.by(("pyrate_limited_total", Counter, "What met a limit (pyratectl(1), OUTPUT)."), "limit", limited);
    }
}

#[cfg(test)]
mod tests;
