use super::*;
use crate::control::{HitRow, RawText, UploadState};
use crate::ctl::top::keys::Key;
use serde_json::json;

pub(in crate::ctl::top) fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(in crate::ctl::top) fn download(id: u32, name: &str, state: &str) -> DownloadRow {
    let source = |port: u16, state: &str, rate: Option<u64>| json!({"addr": format!("192.0.2.1:{port}"), "state": state, "bytes": 512, "rate": rate, "error": null});
    serde_json::from_value(json!({
        "id": id, "name": name, "path": null, "state": state, "bytes_done": 1024, "size": 2048, "rate": 512,
        "b3": null, "verified": false, "sources": ["192.0.2.1:1", "192.0.2.1:2"], "error": null, "retry_in_s": null,
        "shares": [source(1, "idle", None), source(2, "active", Some(512))], "eta_s": 65, "already": false,
    }))
    .unwrap()
}

pub(in crate::ctl::top) fn hit(id: u32, name: &[u8]) -> HitRow {
    let name = RawText::new(name);
    HitRow {
        id,
        names: vec![name.clone()],
        name,
        size: Some(7),
        b3: None,
        sources: vec![],
        truncated: false,
        directory: None,
        search: None,
    }
}

/// With so many bytes received and half as many sent.
pub(in crate::ctl::top) fn metrics(bytes: u64) -> News {
    let link =
        json!({"addr": "boot.example:21168", "state": "registered", "last_ok": 1, "retry_in_s": null, "error": null});
    let below: Vec<_> =
        [(64, 900), (256, 990), (1024, 999)].map(|(us, count)| json!({"us": us, "count": count})).into();
    let turns = json!({"count": 1000, "sum_us": 9, "less_than": below});
    News::Metrics(
        serde_json::from_value(json!({
            "status": {
                "version": "0.1.0", "uptime_s": 185, "listen": "192.0.2.9:63339", "advertise": null,
                "bootstraps": [link], "peers": 2, "shared_files": 3, "shared_bytes": 2048, "scanning": false,
                "unhashed_files": 0, "downloads_active": 1, "downloads_queued": 0, "uploads_active": 4,
                "commands_queued": 0, "bytes_down": bytes, "bytes_up": 0, "refused": 0,
                "turns": {"count": 1000, "p50_us": 60, "p99_us": 250, "p999_us": 1000, "max_us": 4321},
            },
            "started": 1, "downloads": {}, "refusals": {}, "bytes_sent": bytes / 2, "turns": turns, "job_waits": turns,
            "jobs_waiting": {}, "connections": 0, "descriptors": 0, "descriptors_max": 0, "cpu_us": 0,
            "resident_bytes": null, "registry": null,
        }))
        .unwrap(),
    )
}

pub(in crate::ctl::top) fn page(rows: Vec<DownloadRow>, after: u32, next: Option<u32>) -> News {
    News::Page { after, page: DownloadsReply { downloads: rows, next, ids: vec![] } }
}

pub(in crate::ctl::top) fn notice(notice: serde_json::Value) -> News {
    News::Notice(serde_json::from_value(notice).unwrap())
}

/// Presses these keys, each when the outcome of the one before is drawn, and gives what the last of them asks for.
pub(in crate::ctl::top) fn press(model: &mut Model, keys: &[Key]) -> Option<Ask> {
    let mut asked = None;
    model.arrange();
    for key in keys {
        asked = model.on_key(*key);
        model.arrange();
    }
    asked
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

/// A model with these downloads.
fn with(rows: Vec<DownloadRow>) -> Model {
    let mut model = Model::new();
    model.hear(at(0), page(rows, 0, None));
    model.arrange();
    model
}

fn selected(model: &Model) -> Option<u32> {
    model.transfer().map(|row| row.id)
}

#[test]
fn transfers_that_run_come_first_and_the_first_is_selected_until_the_user_chooses() {
    let rows = [(1, "done"), (2, "queued"), (3, "active"), (4, "failed"), (5, "paused"), (6, "retrying")];
    let mut model = with(rows.map(|(id, state)| download(id, "a", state)).into());
    assert_eq!(model.transfers.ids(), [3, 6, 2, 5, 4, 1]);
    assert_eq!(selected(&model), Some(3));
    model.hear(at(1), News::Notice(Notice::Download { download: download(3, "a", "done") }));
    model.arrange();
    assert_eq!(selected(&model), Some(6), "the first");
    press(&mut model, &[Key::Down, Key::Char('j'), Key::Up]);
    assert_eq!(selected(&model), Some(2));
    model.hear(at(1), News::Notice(Notice::Download { download: download(2, "a", "done") }));
    model.arrange();
    assert_eq!((selected(&model), model.selected(Pane::Transfers)), (Some(2), 4), "it is still the chosen one");
    press(&mut model, &[Key::End]);
    assert_eq!(selected(&model), Some(1));
    press(&mut model, &[Key::PageUp]);
    assert_eq!(model.selected(Pane::Transfers), 0);
}

#[test]
fn what_is_not_on_a_page_any_more_is_forgotten() {
    let rows = |ids: &[u32]| ids.iter().map(|id| download(*id, "a", "active")).collect::<Vec<_>>();
    let mut model = Model::new();
    model.hear(at(0), page(rows(&[1, 2, 3]), 0, Some(3)));
    model.hear(at(0), page(rows(&[4, 5]), 3, None));
    model.hear(at(1), page(rows(&[1, 3]), 0, Some(3)));
    model.arrange();
    assert_eq!(model.transfers.ids(), [1, 3, 4, 5]);
    model.hear(at(2), page(rows(&[4]), 3, None));
    model.arrange();
    assert_eq!(model.transfers.ids(), [1, 3, 4]);
    let mut transfers = Transfers::default();
    let turn = |transfers: &mut Transfers, after, next| {
        transfers.turn_page(after, DownloadsReply { downloads: vec![], next, ids: vec![] })
    };
    assert_eq!([turn(&mut transfers, 0, Some(3)), turn(&mut transfers, 3, None)], [3, 0]);
    assert_eq!(turn(&mut transfers, 3, Some(3)), 0, "no page comes again and again");
}

#[test]
fn orders_are_for_the_selected_transfer_and_a_cancel_asks_first() {
    let mut model = with(vec![download(7, "a", "active"), download(8, "b", "active")]);
    assert_eq!(press(&mut model, &[Key::Down, Key::Char('p')]), Some(Ask::Order(Order::Pause, 8)));
    assert_eq!(press(&mut model, &[Key::Char('r')]), Some(Ask::Order(Order::Resume, 8)));
    assert_eq!(press(&mut model, &[Key::Char('t')]), Some(Ask::Order(Order::Retry, 8)));
    for other in [Key::Char('n'), Key::Enter, Key::Escape, Key::Pasted('y')] {
        assert_eq!(press(&mut model, &[Key::Char('c'), other]), None);
        assert_eq!(model.mode, Mode::Watching);
    }
    assert_eq!(press(&mut model, &[Key::Char('c'), Key::Char('y')]), Some(Ask::Order(Order::Cancel, 8)));
    let cancelled = DownloadsReply { downloads: vec![download(8, "b", "cancelled")], next: None, ids: vec![8] };
    model.hear(at(1), News::Ordered(Order::Cancel, cancelled));
    assert_eq!(model.remark.as_deref(), Some("8 cancelled: b; its data is removed"));
    let none = DownloadsReply { downloads: vec![], next: None, ids: vec![] };
    model.hear(at(1), News::Ordered(Order::Pause, none));
    assert!(model.remark.as_ref().unwrap().starts_with("nothing to do"));
    for state in ["done", "cancelled"] {
        let mut over = with(vec![download(9, "a", state)]);
        assert_eq!(press(&mut over, &[Key::Char('c')]), None);
        assert_eq!(over.mode, Mode::Watching, "nothing is asked");
        assert!(over.remark.unwrap().contains("`pyratectl forget 9`"));
    }
    assert_eq!(press(&mut model, &[Key::Tab, Key::Char('c')]), None, "not where other rows are selected");
    assert_eq!((&model.mode, model.remark.is_some()), (&Mode::Watching, true));
    assert_eq!(press(&mut with(vec![]), &[Key::Char('p')]), None);
}

#[test]
fn a_search_is_typed_and_shows_its_own_hits_of_which_one_is_fetched() {
    let mut model = Model::new();
    press(&mut model, &[Key::Char('/')]);
    press(&mut model, &typed("Qx"));
    press(&mut model, &[Key::Backspace, Key::Pasted('é'), Key::Tab, Key::Up]);
    assert_eq!(model.mode, Mode::Typing("Qé".into()));
    assert_eq!(press(&mut model, &[Key::Enter]), Some(Ask::Search { nth: 1, text: "Qé".into() }));
    assert_eq!(model.pane, Pane::Hits);
    let found = |search, id| News::Notice(Notice::Hit { search, hit: hit(id, b"a") });
    model.hear(at(1), found(4, 1));
    model.hear(at(1), News::SearchStarted { nth: 1, started: SearchStarted { search: 5, whole_names: None } });
    [found(4, 2), found(5, 3), found(5, 4), found(5, 3)].into_iter().for_each(|news| model.hear(at(1), news));
    assert_eq!(model.len(Pane::Hits), 2);
    assert_eq!(press(&mut model, &[Key::Down, Key::Enter]), Some(Ask::Download(4)));
    let wished = DownloadsReply { downloads: vec![download(9, "a", "active")], next: None, ids: vec![9] };
    model.hear(at(2), News::Wished(wished));
    model.arrange();
    assert_eq!((model.remark.as_deref(), selected(&model)), (Some("9 active: a"), Some(9)));
    model.hear(
        at(2),
        notice(json!({"event": "search_done", "search": 5, "hits": 2, "truncated": false, "error": null})),
    );
    assert_eq!(model.ours.as_ref().unwrap().progress, Progress::Over(5));
    // A refused one is no search.
    press(&mut model, &[Key::Char('/'), Key::Char('x'), Key::Enter]);
    model.hear(at(3), News::SearchRefused { nth: 2, error: CallError { code: 1, message: "no".into() } });
    assert_eq!((model.ours.is_none(), model.remark.as_deref()), (true, Some("no")));
    // Nothing is asked for without a text.
    assert_eq!(press(&mut model, &[Key::Char('/'), Key::Char(' '), Key::Enter]), None);
    assert_eq!(press(&mut model, &[Key::Char('/'), Key::Char('q'), Key::Escape]), None);
    assert_eq!(press(&mut model, &[Key::Char('/'), Key::Char('q'), Key::Control('u')]), None);
    assert_eq!(model.mode, Mode::Typing(String::new()));
}

#[test]
fn a_key_is_for_the_row_that_was_drawn() {
    let mut model = with(vec![download(1, "a", "active"), download(2, "b", "active")]);
    model.hear(at(1), News::Notice(Notice::Download { download: download(1, "a", "done") }));
    assert_eq!(model.on_key(Key::Char('p')), Some(Ask::Order(Order::Pause, 1)));
    // One that the daemon has forgotten meanwhile.
    model.hear(at(1), page(vec![], 0, None));
    assert_eq!(model.on_key(Key::Char('p')), None);
}

#[test]
fn each_answer_is_for_its_own_search() {
    let mut model = Model::new();
    let mut search = || {
        let keys = [Key::Char('/'), Key::Char('x'), Key::Enter];
        let Some(Ask::Search { nth, .. }) = press(&mut model, &keys) else { panic!("a search") };
        nth
    };
    let (first, second) = (search(), search());
    let started = |nth, search| News::SearchStarted { nth, started: SearchStarted { search, whole_names: None } };
    let no = || CallError { code: 1, message: "no".into() };
    model.hear(at(1), News::Refused(no()));
    model.hear(at(1), News::SearchRefused { nth: first, error: no() });
    model.hear(at(1), started(first, 7));
    assert_eq!(model.ours.as_ref().unwrap().progress, Progress::Begun);
    model.hear(at(1), started(second, 8));
    assert_eq!(model.ours.as_ref().unwrap().progress, Progress::Running(8));
}

#[test]
fn uploads_and_searches_of_peers_are_remembered_in_part() {
    let mut model = Model::new();
    let begun = |port: u16| notice(json!({"event": "upload_started", "to": format!("192.0.2.1:{port}"), "name": "a"}));
    let over = |port: u16| {
        let to = format!("192.0.2.1:{port}");
        notice(json!({"event": "upload_ended", "to": to, "name": "a", "bytes": 5, "error": null}))
    };
    model.hear(at(1), begun(1));
    model.hear(at(2), begun(2));
    model.hear(at(3), over(1));
    model.hear(at(4), over(3));
    assert_eq!(
        uploads(&model),
        [(2, "sending"), (3, "ended"), (1, "ended")],
        "one that began before is known from its end"
    );
    for n in 0..1_000 {
        model.hear(at(5), begun(10 + n));
        model.hear(at(5), over(10 + n));
        let text = n.to_string();
        model.hear(at(5), notice(json!({"event": "peer_search", "from": "192.0.2.1:5", "requester": "192.0.2.1:5", "text": text, "ttl": 1})));
    }
    assert_eq!((model.uploads.len(), model.searches.len()), (1 + 256, 256));
    assert_eq!(model.searches.rows().next().unwrap().text, RawText::new("999"));
    model.hear(at(6), News::Back);
    assert_eq!(model.uploads.len(), 256, "of another daemon nothing is in progress");
}

/// The ports and states of the uploads.
fn uploads(model: &Model) -> Vec<(u16, &'static str)> {
    let state = |upload: &Upload| match upload.stage {
        Stage::InProgress(UploadState::Sending) => "sending",
        Stage::InProgress(_) => "in progress",
        Stage::Ended { .. } => "ended",
    };
    model.uploads.rows().map(|upload| (upload.to.port(), state(upload))).collect()
}

/// A page of uploads of the file `a`; `since` is when they began.
pub(in crate::ctl::top) fn upload_page(ports: &[(u16, &str)], since: u64, next: Option<u16>, epoch_s: u64) -> News {
    let key = |port: u16| json!({"to": format!("192.0.2.1:{port}"), "name": "a"});
    let row = |(port, state): &(u16, &str)| {
        json!({"to": format!("192.0.2.1:{port}"), "name": "a", "state": state, "connections": 1, "bytes_sent": 2048,
            "size": 4096, "rate": 1024, "since": since, "range": null})
    };
    let rows: Vec<_> = ports.iter().map(row).collect();
    let page = serde_json::from_value(json!({"uploads": rows, "next": next.map(key)})).unwrap();
    News::Uploads { page, epoch_s }
}

#[test]
fn uploads_that_began_before_come_in_pages_with_their_rates_and_times() {
    let mut model = Model::new();
    model.hear(at(5), upload_page(&[(1, "waiting"), (2, "sending")], 900, Some(2), 1_000));
    assert_eq!(model.uploads.after().map(|key| key.to.port()), Some(2));
    model.hear(at(6), upload_page(&[(3, "sending")], 998, None, 1_001));
    assert_eq!(model.uploads.after(), None, "from the beginning again");
    assert_eq!(uploads(&model), [(3, "sending"), (2, "sending"), (1, "in progress")]);
    let lasted: Vec<_> = model.uploads.rows().map(|upload| upload.lasted(at(10)).as_secs()).collect();
    assert_eq!(lasted, [7, 105, 105]);
    let second = model.uploads.rows().nth(1).unwrap();
    assert_eq!((second.rate, second.bytes), (Some(1_024), Some(2_048)));
    // What has ended is told by an event, or is missing on the next page; other pages say nothing of it.
    model.hear(
        at(7),
        notice(json!({"event": "upload_ended", "to": "192.0.2.1:2", "name": "a", "bytes": 4096, "error": null})),
    );
    model.hear(at(8), upload_page(&[], 0, Some(2), 1_003));
    assert_eq!(uploads(&model), [(3, "sending"), (2, "ended")]);
    assert_eq!(model.uploads.rows().nth(1).unwrap().lasted(at(50)).as_secs(), 102);
    model.hear(at(9), upload_page(&[], 0, Some(1), 1_004));
    assert_eq!((uploads(&model), model.uploads.after()), (vec![(2, "ended")], None), "no page comes again and again");
}

#[test]
fn keys_work_in_each_mode_as_the_help_says() {
    let mut model = Model::new();
    assert_eq!(press(&mut model, &[Key::Char('?'), Key::Char('q')]), None, "a key closes the help");
    for begin in [&[][..], &[Key::Char('?')], &[Key::Char('/')], &[Key::Char('/'), Key::Char('x')]] {
        press(&mut model, begin);
        assert_eq!(press(&mut model, &[Key::Control('c')]), Some(Ask::Quit), "{begin:?}");
    }
    model.mode = Mode::Watching;
    assert_eq!(press(&mut model, &[Key::Char('q')]), Some(Ask::Quit));
    assert_eq!(press(&mut model, &[Key::Control('z')]), Some(Ask::Suspend));
    assert_eq!(press(&mut model, &[Key::Control('l')]), Some(Ask::Redraw));
    assert_eq!(press(&mut model, &[Key::BackTab]), None);
    assert_eq!(model.pane, Pane::Hits);
    press(&mut model, &[Key::Tab]);
    assert_eq!(model.pane, Pane::Transfers);
}
