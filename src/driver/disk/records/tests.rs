use super::*;
use crate::id::ContentHash;
use crate::name::FileName;

const NOW: Instant = Instant::from_ms(1000);

fn cx(phase: Phase) -> Cx {
    Cx { now: NOW, phase, scratch: Default::default(), reads: Default::default(), out: Default::default() }
}

fn record(id: u32, kind: RecordKind, state: RecordState) -> DownloadRecord {
    let name = FileName::from_bytes(b"d/x").unwrap();
    let target = Target::Within { directory: "/a".into(), path: name.clone(), executable: false };
    DownloadRecord {
        id: TransferId(id),
        spec: PartSpec { target, token: id, filesystem: None },
        name,
        size: Some(4),
        b3: Some(ContentHash([7; 32])),
        learnt_from: None,
        state,
        error: None,
        bytes_done: 0,
        place: 1,
        sources: Vec::new(),
        events: Vec::new(),
        kind,
    }
}

#[test]
fn a_record_of_another_version_is_left_out_and_known_to_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (mut records, _) = open(Some(&state)).unwrap();
    assert!(!records.has_unread());
    let changes = BTreeMap::from([(TransferId(7), Some(b"of another version".to_vec()))]);
    assert!(write(&records.log.take().unwrap(), &changes).outcome.is_ok());
    let (records, remembered) = open(Some(&state)).unwrap();
    assert!(records.has_unread() && remembered.downloads.is_empty());
}

#[test]
fn the_next_run_knows_which_events_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (mut records, remembered) = open(Some(&state)).unwrap();
    assert_eq!(remembered.events_from, 0);
    records.keep_events_from(7, Instant::default());
    records.keep_events_from(9, Instant::default());
    assert!(records.next_deadline().is_some());
    assert!(write(&records.log.take().unwrap(), &records.changes).outcome.is_ok());
    let (records, remembered) = open(Some(&state)).unwrap();
    assert_eq!((remembered.events_from, remembered.download_last), (9, 0));
    assert!(records.next_deadline().is_none());
}

#[test]
fn what_becomes_of_files_of_a_directory_is_written_together() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let (mut records, _) = open(Some(&state)).unwrap();
    let mut cx = cx(Phase::Running);
    let written = |records: &mut Records| {
        records.due = None;
        records.changes.clear();
    };
    let member = RecordKind::Member { of: TransferId(1) };
    let (begun, done) = (RecordState::Waiting, RecordState::Done { verified: true });
    let mut remember = |records: &mut Records, id, kind, state| {
        records.remember(&record(id, kind, state), 1, &mut cx);
        records.next_deadline()
    };
    assert_eq!(remember(&mut records, 2, member, begun), Some(NOW), "its part file waits for that");
    written(&mut records);
    assert_eq!(remember(&mut records, 2, member, done), Some(NOW + TOGETHER_WAIT));
    assert!(!records.has_changes(NOW) && records.has_changes(NOW + TOGETHER_WAIT));
    written(&mut records);
    assert_eq!(remember(&mut records, 2, member, begun), Some(NOW + TOGETHER_WAIT));
    assert_eq!(remember(&mut records, 3, member, begun), Some(NOW), "all are written with one that cannot wait");
    written(&mut records);
    assert_eq!(remember(&mut records, 2, member, RecordState::Dropped), Some(NOW), "its part file goes then");
    written(&mut records);
    for state in [begun, done] {
        assert_eq!(remember(&mut records, 4, RecordKind::File, state), Some(NOW), "users wait for it");
        written(&mut records);
    }
    remember(&mut records, 2, member, done);
    records.write_now();
    assert!(records.has_changes(NOW), "a stop does not wait");
    written(&mut records);
    records.remember(&record(2, member, done), 1, &mut self::cx(Phase::Flushing(NOW)));
    assert!(records.has_changes(NOW));
    written(&mut records);
    let unknown = DownloadRecord { b3: None, ..record(2, member, begun) };
    records.remember(&unknown, 1, &mut self::cx(Phase::Running));
    assert!(records.has_changes(NOW), "that the part file is there says whose the file under its final name is");
}
