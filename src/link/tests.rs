use super::*;
use crate::name::FILE_NAME_BYTES_MAX;
use proptest::prelude::*;

const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn name(bytes: impl AsRef<[u8]>) -> FileName {
    FileName::from_bytes(bytes.as_ref()).unwrap()
}

fn link(name: Option<FileName>, peers: &[&str]) -> ContentLink {
    let b3 = ContentHash::from_hex(HASH.as_bytes()).unwrap();
    ContentLink { b3, size: Some(7), name, peers: peers.iter().map(|peer| peer.parse().unwrap()).collect() }
}

#[test]
fn all_that_is_not_unreserved_is_escaped() {
    let whole = link(Some(name("a b/c&d=é%~.txt")), &["192.0.2.7:63339", "[2001:db8::7]:5"]);
    assert_eq!(
        whole.to_string(),
        format!(
            "pyrate:b3={HASH}&size=7&name=a%20b%2Fc%26d%3D%C3%A9%25~.txt&peer=192.0.2.7%3A63339&peer=%5B2001%3Adb8%3A%3A7%5D%3A5"
        )
    );
    assert_eq!(ContentLink::parse(whole.to_string().as_bytes()), Ok(whole));
    let bare = ContentLink { size: None, ..link(None, &[]) };
    assert_eq!(bare.to_string(), format!("pyrate:b3={HASH}"));
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_ignored() {
    let text = format!("PYRATE:x=%zz&peer=192.0.2.7:5&y&size=007&&b3={}&name=a/b", HASH.to_uppercase());
    assert_eq!(ContentLink::parse(text.as_bytes()), Ok(link(Some(name("a/b")), &["192.0.2.7:5"])));
}

#[test]
fn what_is_wrong_with_a_link_is_said() {
    let with = |rest: &str| format!("pyrate:b3={HASH}{rest}");
    for (text, fault) in [
        ("magnet:?xt=1".to_owned(), LinkFault::NoScheme),
        ("pyrate".into(), LinkFault::NoScheme),
        ("pyrate:".into(), LinkFault::NoHash),
        ("pyrate://b3=".to_owned() + HASH, LinkFault::NoHash),
        ("pyrate:b3".into(), LinkFault::BadHash),
        ("pyrate:b3=af13".into(), LinkFault::BadHash),
        (with("0"), LinkFault::BadHash),
        (with(&format!("&b3={HASH}")), LinkFault::Twice("b3")),
        (with("&size=1&size=1"), LinkFault::Twice("size")),
        (with("&name=a&name=b"), LinkFault::Twice("name")),
        (with("&size="), LinkFault::BadSize),
        (with("&size=-1"), LinkFault::BadSize),
        (with("&size=%2B1"), LinkFault::BadSize),
        (with("&size=18446744073709551616"), LinkFault::BadSize),
        (with("&name="), LinkFault::BadName),
        (with("&name=a%00b"), LinkFault::BadName),
        (with("&name=a%0Ab"), LinkFault::BadName),
        (with(&format!("&name={}", "a".repeat(FILE_NAME_BYTES_MAX + 1))), LinkFault::BadName),
        (with("&name=a%2"), LinkFault::BadEscape),
        (with("&name=a%+1"), LinkFault::BadEscape),
        (with("&name=%"), LinkFault::BadEscape),
        (with("&name=a b"), LinkFault::BadByte),
        (with("\n"), LinkFault::BadByte),
        (with("&x=\t"), LinkFault::BadByte),
        (with("&x=\u{7f}"), LinkFault::BadByte),
        (with("&peer=192.0.2.7"), LinkFault::BadPeer),
        (with("&peer=192.0.2.7%3A0"), LinkFault::BadPeer),
        (with("&peer=192.0.2.7%3A65536"), LinkFault::BadPeer),
        (with("&peer=host.example%3A5"), LinkFault::BadPeer),
        (with(&"&x".repeat(LINK_BYTES_MAX / 2)), LinkFault::TooLong),
    ] {
        assert_eq!(ContentLink::parse(text.as_bytes()), Err(fault), "{text:.100}");
    }
}

#[test]
fn a_name_is_taken_as_it_is_and_saved_under_its_last_component() {
    for (given, saved) in [("../../etc/passwd", "passwd"), ("/", "_"), ("a/..", "_.."), (".bashrc", "_.bashrc")] {
        let read = ContentLink::parse(link(Some(name(given)), &[]).to_string().as_bytes()).unwrap();
        let read = read.name.unwrap();
        assert_eq!((read.as_bytes(), read.safe_component().as_bytes()), (given.as_bytes(), saved.as_bytes()));
    }
}

#[test]
fn the_longest_name_fits_and_peers_beyond_the_most_are_ignored() {
    let peers: Vec<String> =
        (1..=LINK_PEERS_MAX).map(|n| format!("[2001:db8:ffff:ffff:ffff:ffff:ffff:{n:x}]:65535")).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let longest = link(Some(name([0xff; FILE_NAME_BYTES_MAX])), &peers);
    let text = longest.to_string();
    assert!(text.len() <= LINK_BYTES_MAX, "{}", text.len());
    let more = format!("{text}&peer=192.0.2.7:5&peer={}", peers[0]);
    assert_eq!(ContentLink::parse(more.as_bytes()), Ok(longest.clone()));
    let surplus = ContentLink { peers: [&longest.peers[..], &["192.0.2.7:5".parse().unwrap()]].concat(), ..longest };
    assert_eq!(surplus.to_string(), text, "nor are they printed");
    let twice = format!("pyrate:b3={HASH}&size=7&peer=192.0.2.7:5&peer=192.0.2.7%3A5");
    assert_eq!(ContentLink::parse(twice.as_bytes()), Ok(link(None, &["192.0.2.7:5"])));
}

proptest! {
    #[test]
    fn a_link_reads_what_it_prints(
        hash: [u8; 32],
        size: Option<u64>,
        name in prop::option::of(prop::collection::vec(any::<u8>(), 1..300)),
        peers in prop::collection::btree_set((any::<[u8; 16]>(), any::<bool>(), 1u16..), 0..5),
    ) {
        let address = |(bytes, short, port): ([u8; 16], bool, u16)| match short {
            true => SocketAddr::from(([bytes[0], bytes[1], bytes[2], bytes[3]], port)),
            false => SocketAddr::from((bytes, port)),
        };
        let mut peers: Vec<SocketAddr> = peers.into_iter().map(address).collect();
        peers.sort_unstable();
        peers.dedup();
        let name = name.and_then(|bytes| FileName::from_bytes(&bytes));
        let link = ContentLink { b3: ContentHash(hash), size, name, peers };
        let text = link.to_string();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(ContentLink::parse(text.as_bytes()), Ok(link));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ContentLink::parse(&bytes);
        let _ = ContentLink::parse(&[b"pyrate:b3=", &bytes[..]].concat());
        let _ = ContentLink::parse(&[format!("pyrate:b3={HASH}&").as_bytes(), &bytes[..]].concat());
    }
}
