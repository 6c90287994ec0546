use super::super::{LeftOutCounts, LimitedReply, LinkRow, TimesReply};
use super::*;

fn spans() -> SpansReply {
    let less_than = vec![SpansBelow { us: 64, count: 2 }, SpansBelow { us: 1 << 20, count: 5 }];
    SpansReply { count: 6, sum_us: 17_000_250, less_than }
}

fn link(addr: &str, state: LinkState, last_ok: Option<u64>) -> LinkRow {
    LinkRow { addr: addr.into(), state, last_ok, retry_in_s: None, error: None }
}

/// Metrics in which each number occurs once.
fn metrics() -> MetricsReply {
    MetricsReply {
        status: StatusReply {
            version: "1.2.3".into(),
            uptime_s: 1,
            listen: None,
            advertise: None,
            bootstraps: vec![
                link("boot.example:21168", LinkState::Registered, Some(1_700_000_001)),
                link("odd\\\"\n", LinkState::Waiting, None),
            ],
            peers: 101,
            shared_files: 102,
            shared_bytes: 103,
            share_error: None,
            left_out: LeftOutCounts::new(),
            scanning: true,
            unhashed_files: 104,
            downloads_active: 0,
            downloads_queued: 0,
            wishes: 0,
            orphaned_parts: 105,
            orphaned_bytes: 106,
            limits: None,
            uploads_active: 107,
            download_limit: 0,
            upload_limit: 0,
            commands_queued: 108,
            bytes_down: 109,
            bytes_up: 0,
            refused: 111,
            limited: LimitedReply { searches_dropped: 112, log_lines_lost: 113, ..LimitedReply::default() },
            turns: TimesReply::default(),
            job_waits: TimesReply::default(),
            sandbox: Default::default(),
            watch: None,
            registry: None,
        },
        started: 1_700_000_000,
        downloads: [(DownloadState::Active, 114), (DownloadState::Failed, 115)].into(),
        refusals: [("malformed".to_owned(), 116)].into(),
        bytes_sent: 110,
        turns: spans(),
        job_waits: SpansReply::default(),
        jobs_waiting: [("pyrate-share".to_owned(), 117)].into(),
        connections: 118,
        descriptors: 119,
        descriptors_max: 120,
        cpu_us: 1_500_000,
        resident_bytes: Some(121),
        registry: Some(RegistryCounts { peers: 122, checks: Some(ChecksReply { answered: 123, silent: 124 }) }),
    }
}

/// The lines without comments.
fn samples(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn each_value_is_in_the_text_under_its_name() {
    let text = metrics().text();
    for sample in [
        "pyrate_build_info{version=\"1.2.3\"} 1",
        "process_start_time_seconds 1700000000",
        "process_cpu_seconds_total 1.5",
        "process_resident_memory_bytes 121",
        "pyrate_bootstrap_registered{bootstrap=\"boot.example:21168\"} 1",
        "pyrate_bootstrap_registered{bootstrap=\"odd\\\\\\\"\\n\"} 0",
        "pyrate_bootstrap_last_answer_timestamp_seconds{bootstrap=\"boot.example:21168\"} 1700000001",
        "pyrate_peers 101",
        "pyrate_shared_files 102",
        "pyrate_shared_bytes 103",
        "pyrate_unhashed_files 104",
        "pyrate_share_scanning 1",
        "pyrate_share_readable 1",
        "pyrate_orphaned_parts 105",
        "pyrate_orphaned_bytes 106",
        "pyrate_uploads_active 107",
        "pyrate_commands_queued 108",
        "pyrate_transferred_bytes_total{direction=\"received\"} 109",
        "pyrate_transferred_bytes_total{direction=\"sent\"} 110",
        "pyrate_messages_refused_total 111",
        "pyrate_limited_total{limit=\"searches_dropped\"} 112",
        "pyrate_limited_total{limit=\"log_lines_lost\"} 113",
        "pyrate_downloads{state=\"active\"} 114",
        "pyrate_downloads{state=\"failed\"} 115",
        "pyrate_refusals_total{reason=\"malformed\"} 116",
        "pyrate_jobs_waiting{thread=\"pyrate-share\"} 117",
        "pyrate_connections 118",
        "pyrate_descriptors 119",
        "pyrate_descriptors_max 120",
        "pyrate_registry_peers 122",
        "pyrate_registry_checked_peers{outcome=\"answered\"} 123",
        "pyrate_registry_checked_peers{outcome=\"silent\"} 124",
        "pyrate_turn_duration_seconds_bucket{le=\"0.000064\"} 2",
        "pyrate_turn_duration_seconds_bucket{le=\"1.048576\"} 5",
        "pyrate_turn_duration_seconds_bucket{le=\"+Inf\"} 6",
        "pyrate_turn_duration_seconds_sum 17.00025",
        "pyrate_turn_duration_seconds_count 6",
        "pyrate_job_wait_seconds_count 0",
    ] {
        assert_eq!(samples(&text).iter().filter(|line| **line == sample).count(), 1, "{sample}\n{text}");
    }
}

#[test]
fn each_family_has_help_and_type_before_its_samples_and_counters_end_in_total() {
    let text = metrics().text();
    let mut family = String::new();
    let mut seen = Vec::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.ends_with('.') && !seen.contains(&name.to_owned()), "{line}");
            family = name.to_owned();
            seen.push(family.clone());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!((name, kind == "counter"), (family.as_str(), name.ends_with("_total")), "{line}");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let is_of_family = name == family
                || ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(&family));
            assert!(is_of_family && line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(text.ends_with('\n') && seen.len() > 25, "{seen:?}");
}

#[test]
fn what_is_not_known_or_not_there_has_no_sample() {
    let nothing = MetricsReply { resident_bytes: None, registry: None, ..metrics() };
    let text = nothing.text();
    assert!(!text.contains("process_resident_memory_bytes") && !text.contains("pyrate_registry"), "{text}");
    let unchecked = RegistryCounts { peers: 1, checks: None };
    let text = MetricsReply { registry: Some(unchecked), ..metrics() }.text();
    assert!(text.contains("pyrate_registry_peers 1") && !text.contains("pyrate_registry_checked"), "{text}");
}

#[test]
fn seconds_are_exact() {
    let cases = [(0, "0"), (1, "0.000001"), (64, "0.000064"), (1_000_000, "1"), (16_777_216, "16.777216")];
    cases.iter().for_each(|(us, shown)| assert_eq!(Seconds(*us).to_string(), *shown));
}

/// The words of a text that look like metrics.
fn names(text: &str) -> std::collections::BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pyrate_") || word.starts_with("process_")).collect()
}

#[test]
fn the_dashboard_and_the_alerts_name_metrics_that_exist() {
    let text = metrics().text();
    let known: Vec<&str> = samples(&text).iter().map(|line| line.split(['{', ' ']).next().unwrap()).collect();
    let dashboard = include_str!("../../../contrib/prometheus/grafana.json");
    let panels = serde_json::from_str::<serde_json::Value>(dashboard).unwrap()["panels"].as_array().unwrap().len();
    for (file, least) in [(dashboard, panels), (include_str!("../../../contrib/prometheus/alerts.yml"), 6)] {
        let used = names(file);
        assert!(used.len() >= least, "{used:?}");
        used.iter().for_each(|name| assert!(known.contains(name), "{name} is no metric"));
    }
}
