use super::*;

fn read_peers(pushes: &[&[u8]]) -> Result<Vec<ListedPeer>, WireError> {
    let mut reader = PeerListReader::default();
    for push in pushes {
        reader.push(push)?;
    }
    reader.finish()
}

/// Peers as text, with their `p1` mark.
fn peers(texts: &[&str]) -> Vec<ListedPeer> {
    let peer = |text: &&str| match text.strip_suffix(" p1") {
        Some(addr) => ListedPeer { addr: addr.parse().unwrap(), p1: true },
        None => ListedPeer { addr: text.parse().unwrap(), p1: false },
    };
    texts.iter().map(peer).collect()
}

#[test]
fn peer_lists_are_encoded_as_lines() {
    let written = encode_peer_list(&peers(&["10.0.0.7:63339", "[2001:db8::1]:80", "[::ffff:10.0.0.8]:1"]));
    assert_eq!(String::from_utf8(written).unwrap(), "10.0.0.7,63339\n2001:db8::1,80\n10.0.0.8,1\n");
    let written = encode_peer_list(&peers(&["10.0.0.7:63339 p1", "10.0.0.7:1", "[2001:db8::1]:80 p1"]));
    assert_eq!(String::from_utf8(written).unwrap(), "10.0.0.7,63339,p1\n10.0.0.7,1\n2001:db8::1,80,p1\n");
}

#[test]
fn each_number_in_a_peer_list_is_written_as_it_is_read() {
    let addrs = (1..=u16::MAX).map(|port| SocketAddr::from(([10, 0, (port >> 8) as u8, port as u8], port)));
    let peers: Vec<_> = addrs.map(|addr| ListedPeer { addr, p1: false }).collect();
    let expected: String = peers.iter().map(|peer| format!("{},{}\n", peer.addr.ip(), peer.addr.port())).collect();
    assert!(String::from_utf8(encode_peer_list(&peers)).unwrap() == expected);
}

#[test]
fn peer_lists_of_old_servers_are_read() {
    let table: [(&[u8], &[&str]); 9] = [
        (b"", &[]),
        (b"\n\r\n\0", &[]),
        (b"10.0.0.7,63339\n10.0.0.7,63339\n", &["10.0.0.7:63339", "10.0.0.7:63339"]),
        (b"10.0.0.7,63339\r\n2001:db8::1,80", &["10.0.0.7:63339", "[2001:db8::1]:80"]),
        (b"::ffff:10.0.0.7,1\n\0", &["10.0.0.7:1"]),
        (b"garbage\n10.0.0.7,0\n10.0.0.7,65536\n[::1],80\n10.0.0.7,1\n", &["10.0.0.7:1"]),
        (b"10.0.0.7\nhost,80\n,80\n10.0.0.8,2", &["10.0.0.8:2"]),
        (
            b"10.0.0.7,63339,p1\r\n2001:db8::1,80,p1\n10.0.0.8,2",
            &["10.0.0.7:63339 p1", "[2001:db8::1]:80 p1", "10.0.0.8:2"],
        ),
        (b"10.0.0.7,1,p2\n10.0.0.7,1,\n10.0.0.7,p1\n10.0.0.7,1,p1,p1\n,p1\n10.0.0.8,2,p1", &["10.0.0.8:2 p1"]),
    ];
    for (bytes, expected) in table {
        assert_eq!(read_peers(&[bytes]), Ok(peers(expected)), "{bytes:?}");
        assert_eq!(read_peers(&bytes.chunks(1).collect::<Vec<_>>()), Ok(peers(expected)), "{bytes:?}");
    }
    assert_eq!(read_peers(&[b"<html>\n"]), Err(WireError::PeerListMalformed));
    assert_eq!(read_peers(&[&[b'x'; 500]]), Err(WireError::PeerListMalformed));
}

#[test]
fn peer_lists_are_bounded() {
    let full = encode_peer_list(&vec![peers(&["10.0.0.7:63339"])[0]; PEER_LIST_PEERS_MAX]);
    assert_eq!(read_peers(&[&full]).unwrap().len(), PEER_LIST_PEERS_MAX);
    assert_eq!(read_peers(&[&full, b"10.0.0.7,1"]), Err(WireError::PeerListTooLong));
    assert_eq!(read_peers(&[&b"\n".repeat(PEER_LIST_PEERS_MAX + 1)]), Err(WireError::PeerListTooLong));
    // A line that never ends uses no memory, and is an error in the end.
    let mut reader = PeerListReader::default();
    let outcome = (0..1_000).try_for_each(|_| reader.push(&[b'x'; 1_000]));
    assert_eq!(outcome, Err(WireError::PeerListTooLong));
}

#[test]
fn malformed_peers_are_counted() {
    let mut reader = PeerListReader::default();
    reader.push(&[b"x\n10.0.0.7,1\n", [b'y'; 300].as_slice(), b"\nz\n"].concat()).unwrap();
    assert_eq!(reader.malformed, 3);
}

/// All files of these pushes in batches of three, and the number of refused lines.
fn read_files(pushes: &[&[u8]]) -> (Vec<Listed>, u64) {
    let mut reader = FileListReader::default();
    let mut files = Vec::new();
    let mut take_all = |reader: &mut FileListReader| {
        loop {
            let batch = reader.next_batch(3);
            if batch.is_empty() {
                break;
            }
            files.extend(batch);
        }
    };
    for push in pushes {
        reader.push(push);
        take_all(&mut reader);
    }
    reader.finish();
    take_all(&mut reader);
    assert_eq!(reader.bytes(), pushes.iter().map(|push| push.len() as u64).sum::<u64>());
    (files, reader.refused)
}

#[test]
fn file_lists_are_read_line_by_line() {
    let sized =
        |text: &str, size| Listed { name: name(text), attributes: Some(Attributes { size, b3: None, more: false }) };
    let long = [b"good\n".as_slice(), &[b'x'; 10_000], b"\nlast"].concat();
    let table: [(&[u8], Vec<Listed>, u64); 6] = [
        (b"", vec![], 0),
        (b"a\nb:c\r\n\n\0\nd", vec![listed("a"), listed("b:c"), listed("d")], 0),
        (b"a\tsize=3\nb\t\n", vec![sized("a", Some(3)), sized("b", None)], 0),
        (b"a\tsize=x\nb\x1b[2J\n\tsize=1\nc\n", vec![listed("c")], 3),
        (b"1\n2\n3\n4\n5\n6\n7\n", ["1", "2", "3", "4", "5", "6", "7"].map(listed).to_vec(), 0),
        (&long, vec![listed("good"), listed("last")], 1),
    ];
    for (bytes, files, refused) in table {
        assert_eq!(read_files(&[bytes]), (files.clone(), refused), "{bytes:?}");
        assert_eq!(read_files(&bytes.chunks(1).collect::<Vec<_>>()), (files, refused), "{bytes:?}");
    }
}

#[test]
fn a_batch_of_refused_lines_alone_is_not_the_end() {
    let mut reader = FileListReader::default();
    reader.push(b"\x01\n\x02\n\x03\n\x04\na\n");
    assert_eq!(reader.next_batch(2), [listed("a")]);
    assert_eq!(reader.refused, 4);
}

#[test]
fn one_line_reads_alone() {
    assert_eq!(parse_listed(b"a\r\n"), Ok(listed("a")));
    assert_eq!(parse_listed(b"\r\n"), Err(WireError::Missing(Field::FileName)));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn written_lists_are_read_back(files in prop::collection::vec(file(), 0..20), chunk in 1..5_000usize) {
        let mut bytes = Vec::new();
        files.iter().for_each(|file| encode_list_line(&mut bytes, file));
        prop_assert_eq!(read_files(&bytes.chunks(chunk).collect::<Vec<_>>()), (files, 0));
    }

    #[test]
    fn written_peer_lists_are_read_back(
        peers in prop::collection::vec((endpoint(), any::<bool>()), 0..50),
        chunk in 1..200usize,
    ) {
        let peers: Vec<_> = peers.into_iter().map(|(addr, p1)| ListedPeer { addr, p1 }).collect();
        let bytes = encode_peer_list(&peers);
        prop_assert_eq!(read_peers(&bytes.chunks(chunk).collect::<Vec<_>>()), Ok(peers));
    }

    #[test]
    fn no_bytes_cause_a_panic_of_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..300), chunk in 1..50usize) {
        let pushes: Vec<&[u8]> = bytes.chunks(chunk).collect();
        let _ = read_peers(&pushes);
        prop_assert_eq!(read_files(&pushes), read_files(&[&bytes]));
    }
}

#[test]
fn answers_of_other_programs_are_no_list() {
    use crate::fault::OtherProgram::{self, Database, MailOrFtp, RemoteDesktop, Ssh, Unknown, Web};
    let of_list = |bytes: &[u8]| -> (Vec<Listed>, Option<OtherProgram>) {
        let mut reader = FileListReader::default();
        reader.push(bytes);
        reader.finish();
        (reader.next_batch(100), reader.other_program(true))
    };
    for (bytes, program) in [
        (&b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>"[..], Web),
        (b"HTTP/1.0 400 Bad request syntax ('5:p1')\r\n", Web),
        (b"<!DOCTYPE HTML>\n<html lang=\"en\">\n", Web),
        (b"\r\n<html>\r\n<head><title>400 Bad Request</title></head>\r\n", Web),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Ssh),
        (b"SSH-2.0-dropbear", Ssh),
        (b"220 mail.example.com ESMTP Postfix\r\n502 5.5.2 Error: command not recognized\r\n", MailOrFtp),
        (b"220 ProFTPD Server\n", MailOrFtp),
        (b"220-Welcome\r\n220 \r\n", MailOrFtp),
        (b"* OK IMAP4rev1\r\n", MailOrFtp),
        (b"+OK POP3\r\n", MailOrFtp),
        (b"I\0\0\0\n5.7.30\0\x08\0\0\0", Database),
        (b"-NOAUTH Authentication required.\r\n", Database),
        (b"RFB 003.008\n", RemoteDesktop),
        (b"ERROR\r\n", Database),
        (b"500 Unknown command\r\n", MailOrFtp),
        (b"\x15\x03\x03\x00\x02\x02\x46", Unknown),
        (b"{\"error\":\"bad request\"}\n", Unknown),
    ] {
        assert_eq!(of_list(bytes), (Vec::new(), Some(program)), "{}", bytes.escape_ascii());
        let mut reader = PeerListReader::default();
        reader.push(bytes).unwrap();
        reader.end_line().unwrap();
        // For a peer list it does not matter that no line can be a file.
        let told = Some(program).filter(|of| *of != Unknown || bytes.starts_with(b"{"));
        assert_eq!(reader.other_program(), told, "{}", bytes.escape_ascii());
    }
    // Similar names are names, from a base peer or with attributes.
    for line in [
        "220 Volt.mp3",
        "HTTP/rfc2616.txt",
        "HTTP/2616.txt",
        "SSH-keys.txt",
        "SSH-2.txt",
        "doctype.html",
        "+OK computer.flac",
        "* OK.txt",
        "RFB 003.008 notes.txt",
        "-NOAUTH demo.mp3",
        "500 Miles.mp3",
        "ERR 404.txt",
        "{a}.txt",
        "SSH-howto.txt\tsize=5",
    ] {
        let (files, program) = of_list(format!("{line}\nsong.ogg\n").as_bytes());
        assert_eq!((files.len(), program), (2, None), "{line}");
    }
    // Only the first line decides.
    assert_eq!(of_list(b"song.ogg\nSSH-2.0-notes.txt\n").1, None);
    assert_eq!(of_list(b"").1, None);
    assert_eq!(read_peers(&[b"10.0.0.7,1\nHTTP/1.1 400 Bad Request\r\n"]), Ok(peers(&["10.0.0.7:1"])));
}
