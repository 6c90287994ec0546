use super::*;

fn endpoint_of(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn search(id: &str, text: &str, requester: &str, ttl: u8) -> Message {
    Message::Search(Search {
        id: QueryId::from_bytes(id.as_bytes()).unwrap(),
        text: text.as_bytes().into(),
        requester: endpoint_of(requester),
        ttl,
    })
}

fn hit(id: &str, responder: &str, file: Listed) -> Message {
    let id = QueryId::from_bytes(id.as_bytes()).unwrap();
    Message::SearchResponse(SearchResponse { id, responder: endpoint_of(responder), file })
}

fn range(offset: u64, length: u64, text: &str) -> Message {
    Message::RangeRequest { offset, length, name: name(text) }
}

#[test]
fn every_code_is_read() {
    let table = [
        ("0:63339", Message::Register { port: 63339, p1: false }),
        ("0:63339:whatever:1", Message::Register { port: 63339, p1: false }),
        ("0:1\r\n", Message::Register { port: 1, p1: false }),
        ("0:65535\0\0\n", Message::Register { port: 65535, p1: false }),
        ("0:00080", Message::Register { port: 80, p1: false }),
        ("1:10", Message::RequestPeerList { peers_max: 10, p1: false }),
        ("1:0", Message::RequestPeerList { peers_max: 0, p1: false }),
        ("1:99999999999999999999", Message::RequestPeerList { peers_max: u32::MAX, p1: false }),
        ("1:5:junk", Message::RequestPeerList { peers_max: 5, p1: false }),
        ("2:63339", Message::Unregister { port: 63339, p1: false }),
        ("3:63339:", Message::Keepalive { port: 63339, p1: false }),
        ("0:63339:p1", Message::Register { port: 63339, p1: true }),
        ("0:63339:p1:more\r\n", Message::Register { port: 63339, p1: true }),
        ("0:63339:p12", Message::Register { port: 63339, p1: false }),
        ("0:63339::p1", Message::Register { port: 63339, p1: false }),
        ("1:10:p1\n", Message::RequestPeerList { peers_max: 10, p1: true }),
        ("1:10: p1", Message::RequestPeerList { peers_max: 10, p1: false }),
        ("2:63339:p1", Message::Unregister { port: 63339, p1: true }),
        ("3:63339:p1", Message::Keepalive { port: 63339, p1: true }),
        ("4:a b/c: d.txt", Message::DownloadRequest { name: name("a b/c: d.txt") }),
        ("5:", Message::ListFiles { p1: false }),
        ("5:\n", Message::ListFiles { p1: false }),
        ("5:p1", Message::ListFiles { p1: true }),
        ("5:p10", Message::ListFiles { p1: false }),
        ("5:anything:at all", Message::ListFiles { p1: false }),
        ("6:id:song.mp3:10.0.0.7:63339:4", search("id", "song.mp3", "10.0.0.7:63339", 4)),
        ("6:i d:a:b:10.0.0.7:63339:0", search("i d", "a:b", "10.0.0.7:63339", 0)),
        ("6:id::::10.0.0.7:63339:4", search("id", "::", "10.0.0.7:63339", 4)),
        ("6:id:song:[2001:db8::1]:63339:300", search("id", "song", "[2001:db8::1]:63339", 255)),
        ("6:id:a[1]:[::1]:1:7", search("id", "a[1]", "[::1]:1", 7)),
        ("6:id:a [live]:10.0.0.7:1:7", search("id", "a [live]", "10.0.0.7:1", 7)),
        ("6:id:song:[::ffff:10.0.0.7]:63339:1", search("id", "song", "10.0.0.7:63339", 1)),
        ("7:id:10.0.0.7:63339:a:b", hit("id", "10.0.0.7:63339", listed("a:b"))),
        ("7:id:[2001:db8::1]:63339:a]:b", hit("id", "[2001:db8::1]:63339", listed("a]:b"))),
        ("8:0:0:a", range(0, 0, "a")),
        ("8:1048576:01:a b/c: d.txt\n", range(1 << 20, 1, "a b/c: d.txt")),
        ("8:0:18446744073709551615:8:1:a", range(0, u64::MAX, "8:1:a")),
        ("8:18446744073709551614:1:a", range(u64::MAX - 1, 1, "a")),
        ("9:a b/c: d.txt\r\n", Message::MetadataRequest { name: name("a b/c: d.txt") }),
    ];
    for (bytes, message) in table {
        assert_eq!(decode(bytes.as_bytes()), Ok(message), "{bytes:?}");
    }
}

fn assert_refused(table: &[(&str, WireError)]) {
    for (bytes, error) in table {
        assert_eq!(decode(bytes.as_bytes()), Err(*error), "{bytes:?}");
    }
}

#[test]
fn the_error_names_the_wrong_field() {
    use Field::*;
    use WireError::*;
    let table = [
        ("", Empty),
        ("\r\n\0", Empty),
        ("x", NoCode),
        ("5", NoCode),
        (":63339", NoCode),
        ("12:63339", NoCode),
        ("GET / HTTP/1.1", NoCode),
        ("0:", Missing(ListeningPort)),
        ("0::63339", Missing(ListeningPort)),
        ("0:0", BadPort(ListeningPort)),
        ("2:65536", BadPort(ListeningPort)),
        ("3:4294967297", BadPort(ListeningPort)),
        ("0:-1", BadPort(ListeningPort)),
        ("0:+80", BadPort(ListeningPort)),
        ("0: 80", BadPort(ListeningPort)),
        ("0:http", BadPort(ListeningPort)),
        ("1:", Missing(MaxPeers)),
        ("1:ten", Malformed(MaxPeers)),
        ("1:-3", Malformed(MaxPeers)),
        ("4:", Missing(FileName)),
        ("4:a\tb", Malformed(FileName)),
        ("4:a\nb", Malformed(FileName)),
        ("4:a\0b", Malformed(FileName)),
    ];
    assert_refused(&table);
}

#[test]
fn the_error_names_the_wrong_field_of_a_search_or_hit() {
    use Field::*;
    use WireError::*;
    let table = [
        ("6:", Missing(QueryId)),
        ("6:id", Missing(FileString)),
        ("6:id:4", Missing(RequestingPort)),
        ("6:id:63339:4", Missing(RequestingIp)),
        ("6:id:10.0.0.7:63339:4", Missing(FileString)),
        ("6:id::10.0.0.7:63339:4", Missing(FileString)),
        ("6::song:10.0.0.7:63339:4", Missing(QueryId)),
        ("6:id:so\x1bng:10.0.0.7:63339:4", Malformed(FileString)),
        ("6:id:song:host.example:63339:4", Malformed(RequestingIp)),
        ("6:id:song::63339:4", Missing(RequestingIp)),
        ("6:id:song:2001:db8::1:63339:4", Malformed(RequestingIp)),
        ("6:id:song:[10.0.0.7]:63339:4", Malformed(RequestingIp)),
        ("6:id:song:[fe80::1%eth0]:63339:4", Malformed(RequestingIp)),
        ("6:id:song:10.0.0.7:0:4", BadPort(RequestingPort)),
        ("6:id:song:10.0.0.7::4", Missing(RequestingPort)),
        ("6:id:song:10.0.0.7:63339:", Missing(Ttl)),
        ("6:id:song:10.0.0.7:63339:-1", Malformed(Ttl)),
        ("7:id", Missing(RespondingIp)),
        ("7:id:10.0.0.7", Missing(RespondingPort)),
        ("7:id:10.0.0.7:63339", Missing(FileName)),
        ("7:id:10.0.0.7:63339:", Missing(FileName)),
        ("7:id:10.0.0.7:99999:a", BadPort(RespondingPort)),
        ("7:id:localhost:63339:a", Malformed(RespondingIp)),
        ("7:id:[::1]63339:a", Missing(RespondingPort)),
        ("7:id:[::1:63339:a", Malformed(RespondingIp)),
        ("7:id:10.0.0.7:63339:a\x07", Malformed(FileName)),
        ("7:id:10.0.0.7:63339:a\tsize=1\x07", Malformed(Attribute)),
        ("7:id:10.0.0.7:63339:a\tsize=-1", Malformed(Size)),
        ("7:id:10.0.0.7:63339:a\tsize=18446744073709551616", Malformed(Size)),
        ("7:id:10.0.0.7:63339:a\tsize=", Malformed(Size)),
        ("7:id:10.0.0.7:63339:a\tb3=abc", Malformed(B3)),
        ("7:id:10.0.0.7:63339:\tsize=1", Missing(FileName)),
    ];
    assert_refused(&table);
}

#[test]
fn the_error_names_the_wrong_field_of_a_range_or_metadata_request() {
    use Field::*;
    use WireError::*;
    let table = [
        ("8:", Missing(Offset)),
        ("8::1:a", Missing(Offset)),
        ("8:x:1:a", Malformed(Offset)),
        ("8:+1:1:a", Malformed(Offset)),
        ("8:-1:1:a", Malformed(Offset)),
        ("8: 1:1:a", Malformed(Offset)),
        ("8:0x10:1:a", Malformed(Offset)),
        ("8:1\x07:1:a", Malformed(Offset)),
        ("8:18446744073709551616:1:a", Malformed(Offset)),
        ("8:0", Missing(Length)),
        ("8:0:", Missing(Length)),
        ("8:0::a", Missing(Length)),
        ("8:0:name", Malformed(Length)),
        ("8:0:1e3:a", Malformed(Length)),
        ("8:0:18446744073709551616:a", Malformed(Length)),
        ("8:18446744073709551615:1:a", Malformed(Length)),
        ("8:2:18446744073709551614:a", Malformed(Length)),
        ("8:0:1", Missing(FileName)),
        ("8:0:1:", Missing(FileName)),
        ("8:0:1:a\tsize=1", Malformed(FileName)),
        ("8:0:1:a\nb", Malformed(FileName)),
        ("9:", Missing(FileName)),
        ("9:a\tb", Malformed(FileName)),
    ];
    assert_refused(&table);
    let long = "n".repeat(crate::name::FILE_NAME_BYTES_MAX + 1);
    assert_eq!(decode(format!("8:0:1:{long}").as_bytes()), Err(Malformed(FileName)));
    assert_eq!(decode(format!("9:{long}").as_bytes()), Err(Malformed(FileName)));
}

#[test]
fn lengths_have_limits() {
    let id = "i".repeat(128);
    assert!(decode(format!("6:{id}:a:10.0.0.7:1:1").as_bytes()).is_ok());
    assert_eq!(decode(format!("6:{id}i:a:10.0.0.7:1:1").as_bytes()), Err(WireError::Malformed(Field::QueryId)));
    let text = "t".repeat(SEARCH_TEXT_BYTES_MAX);
    assert!(decode(format!("6:id:{text}:10.0.0.7:1:1").as_bytes()).is_ok());
    let longer = decode(format!("6:id:{text}t:10.0.0.7:1:1").as_bytes());
    assert_eq!(longer, Err(WireError::Malformed(Field::FileString)));
    assert_eq!(decode(&[b'4'; MESSAGE_BYTES_MAX + 1]), Err(WireError::TooLong));
    // Stripped bytes do not count.
    assert_eq!(
        decode(&[b"0:80".as_slice(), &[0; MESSAGE_BYTES_MAX]].concat()),
        Ok(Message::Register { port: 80, p1: false })
    );
}

#[test]
fn attributes_follow_the_first_tab() {
    let b3 = ContentHash([0xab; 32]);
    let full = Attributes { size: Some(5_000_000_000), b3: Some(b3), more: false };
    let table = [
        (format!("a:b\tsize=5000000000\tb3={b3}"), full),
        (format!("a:b\tb3={}\tcolour=red\tflag\tsize=5000000000", b3.to_string().to_uppercase()), full),
        ("a:b\t".to_string(), Attributes::default()),
        ("a:b\tmore=1".to_string(), Attributes { more: true, ..Attributes::default() }),
        ("a:b\tsize=1\tsize=2".to_string(), Attributes { size: Some(2), b3: None, more: false }),
    ];
    for (text, attributes) in table {
        let file = Listed { name: name("a:b"), attributes: Some(attributes) };
        assert_eq!(decode(format!("7:id:10.0.0.7:1:{text}").as_bytes()), Ok(hit("id", "10.0.0.7:1", file)), "{text:?}");
    }
}

#[test]
fn messages_know_what_follows_them() {
    let all = ["0:1", "1:1", "2:1", "3:1", "4:a", "5:", "6:i:t:1.2.3.4:1:1", "7:i:1.2.3.4:1:a", "8:5:6:a", "9:a"];
    for (code, bytes) in (0..).zip(all) {
        let message = decode(bytes.as_bytes()).unwrap();
        assert_eq!(message.code(), code);
        assert_eq!(message.may_stream(), [6, 7].contains(&code));
        assert_eq!(message.encode(), bytes.as_bytes());
    }
}

#[test]
fn every_refusal_has_a_sentence_and_a_word() {
    assert_eq!(decode(b"0:0").unwrap_err().to_string(), "the listening port is not a port from 1 to 65535");
    assert_eq!(decode(b"0:0").unwrap_err().reason(), "bad_listening_port");
    assert_eq!(decode(b"8:0:x:a").unwrap_err().to_string(), "the length is malformed");
    assert_eq!(decode(b"8:x:0:a").unwrap_err().reason(), "bad_offset");
    assert_eq!(decode(b"8:0").unwrap_err().reason(), "bad_length");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn encoded_messages_are_decoded_unchanged(message in message(), end in "[\n\r\0]{0,3}") {
        let bytes = message.encode();
        prop_assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        prop_assert_eq!(decode(&[&bytes, end.as_bytes()].concat()), Ok(message));
    }

    #[test]
    fn no_bytes_cause_a_panic_and_accepted_messages_can_be_encoded_again(
        code in prop::option::of(b'0'..=b'9'),
        rest in prop::collection::vec(prop_oneof![Just(b':'), Just(b'['), Just(b'\t'), b'0'..=b'9', any::<u8>()], 0..80),
    ) {
        let head = code.map(|code| vec![code, b':']).unwrap_or_default();
        if let Ok(message) = decode(&[head, rest].concat()) {
            prop_assert_eq!(decode(&message.encode()), Ok(message));
        }
    }
}

/// To a base program a first contact is a search; with another ID or TTL it is one for us as well.
#[test]
fn a_first_contact_has_the_form_of_a_search() {
    let text = str::from_utf8(FIRST_CONTACT_TEXT).unwrap();
    let first_contact = Message::FirstContact { id: QueryId::p1(7), requester: endpoint_of("10.0.0.7:63339") };
    let bytes = first_contact.encode();
    assert_eq!(bytes, format!("6:p1-0000000000000007:{text}:10.0.0.7:63339:0").as_bytes());
    assert_eq!(decode(&bytes), Ok(first_contact));
    for (id, ttl) in [("p1-0000000000000007", 1), ("base", 0)] {
        let bytes = format!("6:{id}:{text}:10.0.0.7:63339:{ttl}");
        assert_eq!(decode(bytes.as_bytes()), Ok(search(id, text, "10.0.0.7:63339", ttl)));
    }
}

#[test]
fn the_file_that_a_refused_message_names_is_known() {
    for (frame, name) in [
        (&b"8:x:0:a:b"[..], &b"a:b"[..]),
        (b"8:::a\n", b"a"),
        (b"8:0:18446744073709551616:a", b"a"),
        (b"4:a\x01b", b"a\x01b"),
        (b"9:a\x01b", b"a\x01b"),
        (b"7:id:127.0.0.1:0:a", b"a"),
        (b"7:id:[::1]:5:a:b\tsize=x", b"a:b"),
        (b"7::x:y:a", b"a"),
    ] {
        assert!(decode(frame).is_err());
        assert_eq!(named_file(frame), Some(name), "{}", crate::name::Escaped(frame));
    }
    for frame in
        [&b""[..], b"4", b"4:", b"8:0:5", b"8:0:5:", b"7:id:127.0.0.1", b"6:id:a:127.0.0.1:5:x", b"x:a", b"0:a"]
    {
        assert_eq!(named_file(frame), None);
    }
}
