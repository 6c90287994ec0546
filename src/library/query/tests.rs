use super::*;

fn terms(text: &[u8]) -> Vec<Vec<u8>> {
    Query::parse(text).terms.iter().map(|finder| finder.needle().to_vec()).collect()
}

fn plain(text: &str) -> Option<String> {
    Query::parse(text.as_bytes()).plain().map(|plain| String::from_utf8_lossy(plain).into_owned())
}

#[test]
fn terms_are_folded_and_the_longest_leads() {
    assert_eq!(terms(b" Of  GREAT\tthe of "), [&b"great"[..], b"the", b"of"]);
    assert_eq!(terms("ÄRGER".as_bytes()), [b"arger"]);
    assert_eq!(terms("İ\u{212a}Σς".as_bytes()), ["ikσσ".as_bytes()]);
    assert_eq!(terms(b"\xc9T\xc9"), [b"\xc9t\xc9"]);
}

#[test]
fn punctuation_separates_terms() {
    assert_eq!(terms(b"AC/DC"), [b"ac", b"dc"]);
    assert_eq!(terms("don’t".as_bytes()), [&b"don"[..], b"t"]);
    assert_eq!(terms("one - two".as_bytes()), [b"one", b"two"]);
}

#[test]
fn too_few_and_too_many_terms_match_only_exact_names() {
    for text in [&b""[..], b"  ", b"ab", b" a b ", b"*", b"-live", b"\"\"", b"?? -a", "ää".as_bytes()] {
        assert!(Query::parse(text).terms().is_none());
        assert_eq!(Query::parse(text).reach, Reach::TooShort);
    }
    assert_eq!(terms(b"a b c").len(), 3);
    let many = |of: &str| (0..=QUERY_TERMS_MAX).map(|n| format!("{of}{n} ")).collect::<String>();
    for text in [many(""), many("song -"), many("a*"), format!("song *{}", "x".repeat(QUERY_PATTERN_BYTES_MAX))] {
        assert!(Query::parse(text.as_bytes()).terms().is_none());
        assert_eq!(Query::parse(text.as_bytes()).reach, Reach::TooLong);
    }
}

#[test]
fn a_content_hash_is_not_a_term() {
    let hex = "0123456789abcdefABCDEF".repeat(3);
    assert!(Query::parse(format!("b3={}", &hex[..64]).as_bytes()).terms().is_none());
    assert!(Query::parse(format!("b3={}", &hex[..63]).as_bytes()).terms().is_some());
    assert!(Query::parse(format!("b3={} x", &hex[..64]).as_bytes()).terms().is_some());
}

#[test]
fn the_plain_form_has_only_words() {
    for text in ["song", "Café - Song.mp3", "AC/DC", "5\" disc", "rock\"n\"roll", "a - b", "--", "\"\" x"] {
        assert_eq!(plain(text), None, "{text}");
    }
    assert_eq!(plain("\"abbey road\" -live *.ogg").unwrap(), "abbey road .ogg");
    assert_eq!(plain("\"Who are you?.mp3\"").unwrap(), "Who are you?.mp3");
    assert_eq!(plain("jazz -\"so what\" -*.mp3 b?h").unwrap(), "jazz b h");
    assert_eq!(plain("-live").unwrap(), "");
}

#[test]
fn conditions_are_met_or_not() {
    let admits = |query: &str, name: &str| Query::parse(query.as_bytes()).fit(name.as_bytes(), None) == Fit::Fits;
    assert!(admits("\"abbey road\"", "The Beatles/Abbey_Road/01.ogg"));
    assert!(!admits("\"abbey road\"", "Road to the Abbey.ogg"));
    assert!(admits("\"Café au\"", "x/cafe\u{301} - AU lait"));
    assert!(admits("song -live", "song.ogg") && !admits("song -LIVE", "Song (live).ogg"));
    assert!(!admits("song -\"de luxe\"", "song de-luxe") && admits("song -\"de luxe\"", "song luxe de"));
    assert!(admits("song -*.mp3", "song.ogg") && !admits("song -*.mp3", "song.mp3"));
    assert!(admits("-live", "-live"), "exactly this name");
    assert!(admits("other words.mp3", "song"), "plain words are left to those who answer");
}
#[test]
fn filters_are_no_words() {
    let query = Query::of_user(b"big size:>10MiB \"buck  bunny\" type:video").unwrap();
    assert_eq!(query.text(), b"big \"buck  bunny\"");
    assert_eq!(query.plain().unwrap(), b"big buck  bunny");
    let sent = "big \"buck  bunny\" -pyratefilter:size:10485761.. -pyratefilter:type:video";
    assert_eq!(String::from_utf8_lossy(query.sent()), sent);
    let fit = |size, name: &str| query.fit(name.as_bytes(), Some(size));
    assert_eq!(fit(20 << 20, "Big Buck Bunny.mkv"), Fit::Fits);
    assert_eq!(fit(10 << 20, "Big Buck Bunny.mkv"), Fit::Filtered);
    assert_eq!(fit(20 << 20, "Big Bunny Buck.mkv"), Fit::Other);
    // The peer reads the same.
    let read = Query::parse(query.sent());
    assert_eq!((read.text(), read.plain(), read.filters.len()), (query.text(), query.plain(), 2));
    assert_eq!(Query::plain_form(query.sent()).as_deref(), query.plain());
    // Of these it makes words.
    assert_eq!(Query::parse(b"type:video").filters.len(), 0);
    // So does the user's side of what stands in quotes, and of what names no filter.
    let quoted = Query::of_user(b"\"type:foo\" re:zero").unwrap();
    assert_eq!((quoted.filters.len(), quoted.sent()), (0, &b"\"type:foo\" re:zero"[..]));
    assert_eq!(Query::of_user(b"  two  words ").unwrap().sent(), b"  two  words ");
}

#[test]
fn the_words_of_a_path_are_asked_of_everybody() {
    let query = Query::of_user(b"path:\"Abbey Road\" -path:live song.ogg").unwrap();
    assert_eq!((query.text(), query.plain()), (&b"song.ogg"[..], Some(&b"song.ogg abbey road"[..])));
    let sent = "song.ogg abbey road -pyratefilter:path:abbey.road -pyratefilter:!path:live";
    assert_eq!(String::from_utf8_lossy(query.sent()), sent);
    assert_eq!(Query::of_user(b"path:abbey").unwrap().reach, Reach::Parts);
    assert_eq!(Query::of_user(b"type:iso").unwrap().plain(), Some(&b""[..]));
}

#[test]
fn a_wrong_filter_is_named() {
    let wrong = |text: &str| Query::of_user(text.as_bytes()).unwrap_err();
    assert_eq!(wrong("a size:banana b"), (b"size:banana".to_vec(), FilterFault::Size));
    assert_eq!(wrong("-path:* x").0, b"-path:*");
    assert_eq!(wrong(&"type:iso ".repeat(FILTERS_MAX + 1)).1, FilterFault::TooMany);
    let hex = "0123456789abcdef".repeat(4);
    let content = Query::of_user(format!("b3={hex} size:>5").as_bytes()).unwrap();
    assert_eq!((content.sent(), content.plain()), (format!("b3={hex}").as_bytes(), None));
    assert!(content.content.is_some() && content.has_filters());
}

#[test]
fn queries_that_differ_in_case_and_blanks_alone_find_the_same() {
    let query = |text: &str| Query::of_user(text.as_bytes()).unwrap();
    for (one, other, are_same) in [
        ("nosuch thing", "NOSUCH  Thing", true),
        ("caf\u{e9} song", "cafe song", true),
        ("song type:audio size:>1k", "size:>1000 song TYPE:audio", true),
        ("nosuch thing", "thing nosuch", false),
        ("song", "song type:audio", false),
        ("song type:audio", "song type:video", false),
        ("song -live", "song live", false),
        ("a b", "a  b", false),
    ] {
        assert_eq!(query(one).finds_as(&query(other)), are_same, "{one:?}, {other:?}");
    }
    let of = |digit: &str| query(&format!("b3={}", digit.repeat(64)));
    assert!(of("a").finds_as(&of("a")) && !of("a").finds_as(&of("b")));
}
