use super::super::{
    DownloadsReply, HitRow, Linkable, MoveTo, RawText, SearchStarted, Selector, SourceRow, SourceState, UploadKey,
};
use super::*;

/// One of each call.
fn requests() -> Vec<Request> {
    let peer = "[2001:db8::1]:63339".parse().unwrap();
    let name = RawText::new(&b"caf\xe9:\x01/x"[..]);
    vec![
        Request::Status,
        Request::Peers,
        Request::Search { text: name.clone(), max: Some(3), ttl: None },
        Request::Hits { search: Some(1), after: 2 },
        Request::Searches { after: 2 },
        Request::Wish { text: name.clone(), download: true, limit: Some(2) },
        Request::Wishes { after: 2 },
        Request::WishHits { id: 7 },
        Request::Unwish { which: name.clone() },
        Request::List { peer },
        Request::Forget { peer },
        Request::Download {
            what: vec![
                Selector::Hits("2,4-6".into()),
                Selector::File { peer, name: name.clone() },
                Selector::Content("ab".repeat(32)),
                Selector::Link(format!("pyrate:b3={}", "ab".repeat(32))),
                Selector::NewLink { link: format!("pyrate:b3={}", "ab".repeat(32)), since: 7 },
                Selector::Manifest { b3: "ab".repeat(32), name: name.clone() },
                Selector::NewManifest { b3: "ab".repeat(32), name: name.clone(), since: 7 },
            ],
            output: Some(RawText::new(&b"/tmp/x"[..])),
        },
        Request::Downloads { after: 9 },
        Request::DirectoryFiles { id: 7, after: 3 },
        Request::Follow { ids: "all".into() },
        Request::Pause { ids: "2,4-6".into() },
        Request::Resume { ids: "7".into() },
        Request::Retry { ids: "all".into() },
        Request::Cancel { ids: "1".into() },
        Request::Move { id: "7".into(), to: MoveTo::Up },
        Request::ForgetDownloads { ids: "all".into() },
        Request::Uploads { after: Some(UploadKey { to: peer, name: name.clone() }) },
        Request::Files { after: Some(name.clone()) },
        Request::Shares { after: Some(name.clone()) },
        Request::LeftOut { after: Some(name.clone()) },
        Request::Link { what: Linkable::Hit { id: 7, peer: Some(peer) } },
        Request::Manifest { peer: Some(peer), name, b3: Some("ab".repeat(32)), after: 7 },
        Request::GiveManifest { after: 7, text: RawText::new(&b"a\xff"[..]) },
        Request::Rescan,
        Request::Bootstrap { after: Some(peer) },
        Request::Limit { down: Some(5 << 20), up: None, reset: true },
        Request::Metrics,
        Request::Events,
        Request::EventLog { since: Some(7) },
        Request::Reload,
        Request::LogLevel { level: "debug".into() },
        Request::Stop,
    ]
}

fn refusal(line: &str) -> (Option<CallId>, i32, String) {
    let (call, error) = decode_request(line.as_bytes()).unwrap_err();
    assert!(!error.message.bytes().any(|b| b < 0x20), "{error}");
    (call, error.code, error.message)
}

#[test]
fn every_call_reads_as_it_was_written() {
    for (number, request) in requests().into_iter().enumerate() {
        let call = if number % 2 == 0 { CallId::Number(number as u64) } else { CallId::Text("é".repeat(32)) };
        let line = encode_request(&call, &request);
        assert_eq!(line.iter().filter(|&&b| b == b'\n').count(), 1);
        assert_eq!(decode_request(&line), Ok((call, request)));
    }
}

#[test]
fn the_table_of_methods_names_what_the_type_has() {
    let requests = requests();
    assert_eq!(requests.len(), METHODS.len());
    for (request, (method, fields)) in requests.iter().zip(METHODS) {
        let value = serde_json::to_value(request).unwrap();
        assert_eq!(value["method"], method);
        let mut names: Vec<String> =
            value.get("params").and_then(Value::as_object).map(|p| p.keys().cloned().collect()).unwrap_or_default();
        let mut fields = fields.to_vec();
        names.sort();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }
}

#[test]
fn parameters_that_may_be_absent_may_be_absent_with_their_object() {
    for (method, request) in [
        ("status", Request::Status),
        ("hits", Request::Hits { search: None, after: 0 }),
        ("downloads", Request::Downloads { after: 0 }),
        ("files", Request::Files { after: None }),
        ("bootstrap", Request::Bootstrap { after: None }),
    ] {
        for params in ["", r#","params":{}"#, r#","params":[]"#] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"{params}}}"#);
            assert_eq!(decode_request(line.as_bytes()), Ok((CallId::Number(1), request.clone())));
        }
    }
}

#[test]
fn what_is_no_request_is_refused_by_the_book() {
    for (line, code) in [
        ("", PARSE_ERROR),
        ("{", PARSE_ERROR),
        ("\x1b[31m", PARSE_ERROR),
        ("[]", INVALID_REQUEST),
        ("7", INVALID_REQUEST),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"status"}]"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","params":{}}"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","id":null,"method":"status"}"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","id":-1,"method":"status"}"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"status"}"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","id":{},"method":"status"}"#, INVALID_REQUEST),
    ] {
        let (call, got, _) = refusal(line);
        assert_eq!((call, got), (None, code), "{line}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"status"}}"#, "x".repeat(65));
    assert_eq!(refusal(&long).1, INVALID_REQUEST);
    let deep = "[".repeat(60_000);
    assert_eq!(refusal(&deep).1, PARSE_ERROR);
}

#[test]
fn a_refusal_bears_the_id_of_the_call_once_that_is_known() {
    for (line, code, told) in [
        (r#"{"id":"a","method":"status"}"#, INVALID_REQUEST, "jsonrpc"),
        (r#"{"jsonrpc":"1.0","id":"a","method":"status"}"#, INVALID_REQUEST, "jsonrpc"),
        (r#"{"jsonrpc":"2.0","id":"a"}"#, INVALID_REQUEST, "method"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"dance\n"}"#, UNKNOWN_METHOD, "log_level"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"status","params":{"x":1}}"#, BAD_PARAMS, "'x'"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"status","params":null}"#, BAD_PARAMS, "params"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"search"}"#, BAD_PARAMS, "`text`"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"pause"}"#, BAD_PARAMS, "`ids`"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"retry","params":{"ids":[7]}}"#, BAD_PARAMS, "'ids'"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"search","params":["x"]}"#, BAD_PARAMS, "params"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"search","params":{"text":"x","ttl":256}}"#, BAD_PARAMS, "'ttl'"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"search","params":{"text":"x","max":-1}}"#, BAD_PARAMS, "'max'"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"list","params":{"peer":"here"}}"#, BAD_PARAMS, "'peer'"),
        (r#"{"jsonrpc":"2.0","id":"a","method":"download","params":{"what":[{"all":1}]}}"#, BAD_PARAMS, "'what'"),
    ] {
        let (call, got, message) = refusal(line);
        assert_eq!((call, got), (Some(CallId::Text("a".into())), code), "{line}");
        assert!(message.contains(told), "{message}");
    }
}

#[test]
fn a_refusal_of_a_long_line_stays_short() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"list","params":{{"peer":["{}"]}}}}"#, "y".repeat(60_000));
    assert!(refusal(&long).2.len() < 1000);
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "y".repeat(60_000));
    assert!(refusal(&long).2.len() < 1000);
}

#[test]
fn replies_and_notices_read_as_they_were_written() {
    let call = CallId::Number(7);
    let reply = encode_reply(&call, &Ok(Reply::SearchStarted(SearchStarted { search: 3, whole_names: None })));
    assert_eq!(reply, b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"search\":3}}\n");
    let outcome = Ok(r#"{"search":3}"#.to_owned());
    assert_eq!(decode_incoming(&reply), Ok(Incoming::Reply { call: call.clone(), outcome }));

    let done = encode_reply(&call, &Ok(Reply::Done {}));
    assert_eq!(done, b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n");

    let error = CallError { code: 3, message: "no such id: 4".into() };
    let failed = encode_reply(&call, &Err(error.clone()));
    assert_eq!(decode_incoming(&failed), Ok(Incoming::Reply { call, outcome: Err(error.clone()) }));
    assert_eq!(decode_incoming(&encode_error_without_id(&error)), Ok(Incoming::Refused(error)));

    let name = RawText::new(&b"\xff"[..]);
    let names = vec![name.clone(), RawText::new(&b"b"[..])];
    let (directory, search) = (None, None);
    let hit = HitRow { id: 1, name, names, size: None, b3: None, sources: vec![], truncated: false, directory, search };
    let source = SourceRow {
        addr: "[2001:db8::1]:63339".parse().unwrap(),
        state: SourceState::Corrupt,
        bytes: 1 << 40,
        rate: None,
        error: Some("wrong bytes".into()),
    };
    for notice in [
        Notice::Hit { search: 3, hit },
        Notice::SourceLost { download: 7, source },
        Notice::Hashed { files: 1_000_000 },
    ] {
        assert_eq!(decode_incoming(&encode_notice(&notice)), Ok(Incoming::Notice(notice)));
    }
    assert_eq!(
        encode_notice(&Notice::Leaving),
        b"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"event\":\"leaving\"}}\n"
    );
}

#[test]
fn a_page_of_downloads_keeps_its_null() {
    let page = Reply::Downloads(DownloadsReply { downloads: vec![], next: None, ids: vec![] });
    let line = encode_reply(&CallId::Number(1), &Ok(page));
    assert_eq!(line, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"downloads\":[],\"next\":null}}\n");
}

#[test]
fn a_client_trusts_no_daemon() {
    for (line, told) in [
        ("x\x1b[31m", "not JSON"),
        ("[]", "not an object"),
        ("{}", "JSON-RPC"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "neither"),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}"#, "neither"),
        (r#"{"jsonrpc":"2.0","result":1}"#, "without an id"),
        (r#"{"jsonrpc":"2.0","id":[],"result":1}"#, "without an id"),
        (r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#, "error"),
    ] {
        let error = decode_incoming(line.as_bytes()).unwrap_err();
        assert!(error.contains(told) && !error.contains('\x1b'), "{line}: {error}");
    }
    let newer = decode_incoming(br#"{"jsonrpc":"2.0","method":"event","params":{"event":"moon","phase":3}}"#).unwrap();
    assert_eq!(newer, Incoming::Unknown(json!({"event": "moon", "phase": 3})));
    let rude = decode_incoming(br#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"a\nb\u001b \\x1b"}}"#).unwrap();
    let Incoming::Reply { outcome: Err(error), .. } = rude else { panic!("{rude:?}") };
    assert_eq!(error.message, "a\\nb\\x1b \\x1b");
}

#[test]
fn a_notification_is_a_call_without_an_answer() {
    let (call, request) = decode_request(br#"{"jsonrpc":"2.0","method":"status"}"#).unwrap();
    assert_eq!((&call, request), (&CallId::Notification, Request::Status));
    assert_eq!(encode_reply(&call, &Ok(Reply::Done {})), b"");
    let (call, error) = decode_request(br#"{"jsonrpc":"2.0","method":"no_such"}"#).unwrap_err();
    assert_eq!(call, Some(CallId::Notification));
    assert_eq!(encode_reply(&CallId::Notification, &Err(error)), b"");
}
