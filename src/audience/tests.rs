use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn audience(ranges: &[&str]) -> Audience {
    Audience::of(ranges).unwrap()
}

#[test]
fn a_peer_belongs_to_an_audience_by_its_address_alone() {
    let some = audience(&["192.168.0.0/16", "fd00::/8", "192.0.2.7", "2001:db8::1"]);
    for member in ["192.168.255.1", "192.168.0.0", "fd12::1", "192.0.2.7", "2001:db8::1", "::ffff:192.168.3.4"] {
        assert!(some.has(ip(member)), "{member}");
    }
    for other in ["192.169.0.0", "192.167.255.255", "fc00::1", "fe00::", "192.0.2.8", "192.0.2.6", "2001:db8::2", "::1"]
    {
        assert!(!some.has(ip(other)), "{other}");
        assert!(Audience::all().has(ip(other)));
    }
    let all_of_a_kind = audience(&["0.0.0.0/0"]);
    assert!(all_of_a_kind.has(ip("255.255.255.255")) && all_of_a_kind.has(ip("::ffff:0.0.0.1")));
    assert!(!all_of_a_kind.has(ip("::1")));
    let other_kind = audience(&["::/0"]);
    assert!(other_kind.has(ip("::1")) && !other_kind.has(ip("::ffff:0.0.0.1")) && !other_kind.has(ip("127.0.0.1")));
}

#[test]
fn ranges_are_shown_in_order_and_without_those_that_add_nothing() {
    let shown = |ranges: &[&str]| audience(ranges).ranges().unwrap();
    assert_eq!(
        shown(&["fd00::/8", "10.1.0.0/16", "10.0.0.0/8", "10.0.0.1", "9.0.0.0/8", "9.0.0.0/8"]),
        ["9.0.0.0/8", "10.0.0.0/8", "fd00::/8"]
    );
    assert_eq!(shown(&["10.0.0.0/8", "10.0.0.0/9"]), ["10.0.0.0/8"]);
    assert_eq!(shown(&["127.0.0.1/32", "::1/128"]), ["127.0.0.1", "::1"]);
    assert_eq!(Audience::all().ranges(), None);
}

#[test]
fn what_is_no_range_is_refused_with_what_to_write_instead() {
    let nothing: [&str; 0] = [];
    assert_eq!(Audience::of(nothing), Err(RangeFault::Empty));
    let said = |text: &str| Audience::of([text]).unwrap_err().to_string();
    for (text, problem) in [
        ("192.168.1.0/16", "has bits set beyond its prefix; the range is \"192.168.0.0/16\""),
        ("fd00::1/8", "has bits set beyond its prefix; the range is \"fd00::/8\""),
        ("0.0.0.1/0", "the range is \"0.0.0.0/0\""),
        ("10.0.0.0/33", "a number of bits from 0 to 32"),
        ("fd00::/129", "a number of bits from 0 to 128"),
        ("10.0.0.0/", "a number of bits from 0 to 32"),
        ("10.0.0.0/+8", "a number of bits from 0 to 32"),
        ("10.0.0.0/255.0.0.0", "a number of bits from 0 to 32"),
        ("10.0.0.0/8/8", "a number of bits from 0 to 32"),
        ("friend.example", "names are not looked up"),
        ("", "expected an address or a range"),
        ("/8", "expected an address or a range"),
        ("fe80::1%eth0", "expected an address or a range"),
        ("192.0.2.7:80", "expected an address or a range"),
        ("192.168/16", "an IPv4 address is four numbers"),
        ("010.0.0.1", "an IPv4 address is four numbers"),
        ("all", "\"all\" stands alone"),
        ("::ffff:192.0.2.7", "write \"192.0.2.7\""),
        ("::ffff:192.0.2.0/120", "write \"192.0.2.0/24\""),
        ("::ffff:0:0/96", "write \"0.0.0.0/0\""),
    ] {
        assert!(said(text).contains(problem), "{text}: {}", said(text));
    }
    let many = (0..=RANGES_MAX).map(|n| format!("10.0.{}.{}", n / 256, n % 256));
    assert_eq!(Audience::of(many.clone()), Err(RangeFault::TooMany(RANGES_MAX + 1)));
    assert!(Audience::of(many.skip(1)).is_ok());
}

#[test]
fn a_share_is_known_by_the_first_component_of_a_name() {
    let (home, work) = (audience(&["10.0.0.0/8"]), audience(&["172.16.0.0/12"]));
    let audiences = Audiences::new(Audience::all(), [("music", home.clone()), ("work", work.clone())]);
    for (name, of) in [
        ("music/a.ogg", &home),
        ("music", &home),
        ("music/", &home),
        ("work/x", &work),
        ("music2/a.ogg", &Audience::all()),
        ("music!", &Audience::all()),
        ("a/music/b", &Audience::all()),
        ("Music/a.ogg", &Audience::all()),
        ("/music/a", &Audience::all()),
    ] {
        assert_eq!(audiences.of(name.as_bytes()), of, "{name}");
    }
    assert!(audiences.is_restricted());
    assert!(!Audiences::new(Audience::all(), [("music", Audience::all())]).is_restricted());
}

proptest! {
    /// A range has the addresses that a count of bits gives, and reads back to the same.
    #[test]
    fn a_range_has_what_its_bits_say(bits: u32, prefix in 0u8..=32, other: u32) {
        let first = u64::from(bits) >> (32 - prefix) << (32 - prefix);
        let text = format!("{}/{prefix}", Ipv4Addr::from_bits(first as u32));
        let range = audience(&[&text]);
        let is_inside = (first..first + (1u64 << (32 - prefix))).contains(&u64::from(other));
        prop_assert_eq!(range.has(Ipv4Addr::from_bits(other).into()), is_inside);
        prop_assert_eq!(Audience::of(range.ranges().unwrap()), Ok(range));
    }

    /// Whoever walks by what [`Audiences::sight`] says meets each name that a peer sees, and in few steps.
    #[test]
    fn a_walk_leaves_out_what_is_hidden_and_nothing_else(
        names in proptest::collection::btree_set("[ab!0]{1,2}(/[ab]{1,2})?", 0..40),
        shares in proptest::collection::btree_map("[ab!0]{1,2}", proptest::bool::ANY, 0..4),
        main: bool,
    ) {
        let of = |open: bool| if open { Audience::all() } else { audience(&["192.0.2.1"]) };
        let audiences = Audiences::new(of(main), shares.iter().map(|(name, open)| (name, of(*open))));
        let peer = ip("192.0.2.2");
        let open = |name: &str| shares.get(name.split('/').next().unwrap()).copied().unwrap_or(main);
        let seen: Vec<&str> = names.iter().map(String::as_str).filter(|name| open(name)).collect();
        let (mut met, mut hidden, mut from) = (Vec::new(), 0, Bound::Unbounded);
        while let Some(name) = names.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded)).next() {
            from = match audiences.sight(Requester::Peer(peer), name.as_bytes()) {
                Sight::Seen => {
                    met.push(name.as_str());
                    Bound::Excluded(name.clone())
                }
                Sight::HiddenUpTo(None) => break,
                Sight::HiddenUpTo(Some(bound)) => {
                    hidden += 1;
                    bound.map(|name| String::from_utf8(name).unwrap())
                }
            };
        }
        prop_assert_eq!(met, seen);
        prop_assert!(hidden <= 3 * (shares.len() + 1), "{} steps over what is hidden", hidden);
    }
}

#[test]
fn what_two_audiences_have_in_common_is_for_those_who_belong_to_both() {
    let of = |ranges: &[&str]| Audience::of(ranges).unwrap_or_default();
    for (one, other, common) in [
        (&["10.0.0.0/8"][..], &["10.1.0.0/16", "11.0.0.0/8"][..], &["10.1.0.0/16"][..]),
        (&["10.0.0.0/8", "fd00::/8"], &["fd12::/16", "10.0.0.0/8", "::1"], &["10.0.0.0/8", "fd12::/16"]),
        (&["10.0.0.0/8"], &["10.0.0.0/16"], &["10.0.0.0/16"]),
        (&["0.0.0.0/0"], &["10.0.0.7", "192.0.2.0/24"], &["10.0.0.7", "192.0.2.0/24"]),
        (&[], &["10.0.0.7"], &["10.0.0.7"]),
    ] {
        assert_eq!(of(one).common(&of(other)), of(common), "{one:?} {other:?}");
        assert_eq!(of(other).common(&of(one)), of(common), "{one:?} {other:?}");
    }
    let nobody = of(&["10.0.0.0/8"]).common(&of(&["::/0"]));
    assert!(!nobody.has("10.0.0.1".parse().unwrap()) && !nobody.has("::1".parse().unwrap()));
    assert_eq!(Audience::all().common(&Audience::all()), Audience::all());
}
