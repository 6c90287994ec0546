use super::*;
use crate::control::RawText;

fn source(last: u8, state: SourceState) -> SourceRow {
    SourceRow { addr: SocketAddr::from(([10, 0, 0, last], 63339)), state, bytes: 0, rate: None, error: None }
}

fn row(shares: &[SourceRow]) -> DownloadRow {
    DownloadRow {
        id: 7,
        name: RawText::new(&b"a"[..]),
        path: None,
        state: DownloadState::Active,
        bytes_done: 0,
        size: None,
        rate: None,
        b3: None,
        verified: false,
        sources: shares.iter().map(|source| source.addr).collect(),
        shares: shares.to_vec(),
        eta_s: None,
        already: false,
        copied_from: None,
        error: None,
        retry_in_s: None,
        not_remembered: None,
        place: None,
        directory: None,
        part_of: None,
    }
}

#[test]
fn the_bar_forgets_what_is_cancelled_and_counts_each_source_once() {
    use SourceState::{Active, Idle};
    let active = |id, shares: &[SourceRow]| (id, DownloadRow { id, bytes_done: 5, size: Some(10), ..row(shares) });
    let mut downloads = BTreeMap::from([
        active(1, &[source(1, Active), source(2, Active)]),
        active(2, &[source(1, Active), source(3, Idle)]),
        (3, DownloadRow { id: 3, state: DownloadState::Cancelled, bytes_done: 7, ..row(&[source(9, Active)]) }),
    ]);
    let shown = standing(&downloads);
    assert_eq!((shown.done, shown.total, shown.sources), (10, Some(20), 2));
    assert_eq!(shown.what, "0 of 2 finished");
    downloads.remove(&2);
    assert_eq!(standing(&downloads).total, Some(10));
}

#[test]
fn a_lost_source_is_told_with_what_remains() {
    use SourceState::{Active, Corrupt, Idle, Refused, Waiting};
    for (state, others, told) in [
        (Corrupt, &[Active, Idle, Waiting][..], "sent wrong bytes; continuing with 2 others"),
        (Refused, &[Active], "refuses to send it; continuing with 1 other"),
        (Corrupt, &[Waiting, Refused], "sent wrong bytes; the others are asked again later"),
        (Refused, &[Corrupt], "refuses to send it; no other source is known"),
        (Waiting, &[], "failed; it is asked again later"),
        (Waiting, &[Active], "failed; continuing with 1 other"),
    ] {
        let mut shares = vec![source(3, Active)];
        shares.extend(others.iter().zip(4..).map(|(state, last)| source(last, *state)));
        assert_eq!(lost(&source(3, state), &row(&shares)).to_string(), format!("7: 10.0.0.3:63339 {told}"));
    }
    let rude = SourceRow { error: Some("no\u{1b}".into()), ..source(3, Waiting) };
    assert_eq!(what_happened(&rude).to_string(), "failed: no\\x1b");
}

#[test]
fn the_same_failure_at_each_attempt_is_told_once() {
    let mut told = Told::default();
    let failed = SourceRow { error: Some("timed out".into()), ..source(3, SourceState::Waiting) };
    assert!(told.is_news(7, &failed) && !told.is_news(7, &failed));
    assert!(told.is_news(8, &failed) && told.is_news(7, &source(4, SourceState::Waiting)));
    let further = SourceRow { bytes: 1, ..failed.clone() };
    assert!(told.is_news(7, &further), "it had brought something meanwhile");
    let otherwise = SourceRow { error: Some("connection refused".into()), ..further };
    assert!(told.is_news(7, &otherwise) && told.is_news(7, &failed));
}

#[test]
fn ids_are_told_as_short_as_they_can_be_typed() {
    for (ids, told) in [(&[][..], ""), (&[7], "7"), (&[2, 4, 5, 6, 9, 10], "2,4-6,9-10"), (&[u32::MAX], "4294967295")] {
        assert_eq!(text::ranges(ids.iter().copied()), told);
    }
}
