use super::*;
use crate::content::{ChainHasher, ChainingValue, ContentHasher, GROUP_BYTES, Outline, group_count};
use crate::fault::RefusalReason;
use crate::wire::metadata::METADATA_GROUPS_MAX;

/// The hash and chaining values of a content of this size: those of zeros if it is small, invented ones otherwise.
fn content(size: u64) -> (ContentHash, Vec<ChainingValue>) {
    if size <= 3 * GROUP_BYTES {
        let mut hasher = ContentHasher::default();
        hasher.update(&vec![0; size as usize]);
        return hasher.finish();
    }
    let chain: Vec<ChainingValue> = (0..group_count(size)).map(|group| value(group as u8)).collect();
    (merged(&chain), chain)
}

fn value(n: u8) -> ChainingValue {
    ChainingValue([n; 32])
}

fn merged(chain: &[ChainingValue]) -> ContentHash {
    let mut hasher = ChainHasher::default();
    chain.iter().for_each(|value| hasher.push(*value));
    hasher.finish().unwrap()
}

fn read(wanted: Option<ContentHash>, pushes: &[&[u8]]) -> Result<Outline, MetadataFault> {
    let mut reader = MetadataReader::new(wanted);
    for push in pushes {
        if let Err(fault) = reader.push(push) {
            // Once refused, always refused.
            assert_eq!(reader.push(b""), Err(fault));
            assert_eq!(reader.push(b"size=1"), Err(fault));
            assert_eq!(reader.finish(), Err(fault));
            return Err(fault);
        }
    }
    assert_eq!(reader.bytes(), pushes.iter().map(|push| push.len() as u64).sum::<u64>());
    reader.finish()
}

/// At once, and byte by byte.
fn read_both(wanted: Option<ContentHash>, bytes: &[u8]) -> Result<Outline, MetadataFault> {
    let outcome = read(wanted, &[bytes]);
    assert_eq!(read(wanted, &bytes.chunks(1).collect::<Vec<_>>()), outcome);
    outcome
}

#[test]
fn metadata_are_written_as_the_protocol_says() {
    let b3 = ContentHash([0xab; 32]);
    let line = format!("size=5\tb3={}\tgroup=20\n", "ab".repeat(32));
    assert_eq!(encode_metadata(5, b3, &[]), line.as_bytes());
    let written = encode_metadata(GROUP_BYTES + 1, b3, &[value(1), value(2)]);
    assert!(written.starts_with(b"size=1048577\t"));
    assert!(written.ends_with(&[b"\n".as_slice(), &[1; 32], &[2; 32]].concat()));
}

#[test]
fn encoded_metadata_are_verified() {
    let sizes =
        [0, 1, GROUP_BYTES - 1, GROUP_BYTES, GROUP_BYTES + 1, 2 * GROUP_BYTES, 3 * GROUP_BYTES, 77 * GROUP_BYTES];
    for size in sizes {
        let (b3, chain) = content(size);
        let written = encode_metadata(size, b3, &chain);
        // For at most one group there is only the line.
        assert_eq!(written.ends_with(b"\n"), size <= GROUP_BYTES);
        for wanted in [None, Some(b3)] {
            let outline = read_both(wanted, &written).unwrap();
            assert_eq!((outline.size(), outline.b3(), outline.chain()), (size, b3, chain.as_slice()));
        }
        assert_eq!(read_both(Some(ContentHash([9; 32])), &written), Err(MetadataFault::Corrupt));
    }
}

#[test]
fn metadata_torn_at_any_byte_prove_nothing() {
    for size in [7, 4 * GROUP_BYTES - 1] {
        let (b3, chain) = content(size);
        let written = encode_metadata(size, b3, &chain);
        for end in 0..written.len() {
            assert_eq!(read(Some(b3), &[&written[..end]]), Err(MetadataFault::Malformed), "torn at {end}");
        }
        assert!(read(Some(b3), &[&written]).is_ok());
        let longer = [&written[..], b"\n"].concat();
        assert_eq!(read_both(Some(b3), &longer), Err(MetadataFault::TooLong));
    }
}

#[test]
fn a_line_says_size_hash_and_group_and_perhaps_more() {
    let (b3, _) = content(1);
    let hex = b3.to_string();
    let good = [
        format!("size=1\tb3={hex}\tgroup=20"),
        format!("group=20\tb3={}\tsize=01", hex.to_uppercase()),
        format!("v=2\tsize=1\t\tflag\tb3={hex}\tgroup=20\tsizes=3\t"),
        format!("size=5\tsize=1\tb3={hex}\tgroup=19\tgroup=20"),
    ];
    for line in good {
        let outline = read_both(Some(b3), format!("{line}\n").as_bytes()).unwrap();
        assert_eq!((outline.size(), outline.b3()), (1, b3), "{line:?}");
    }
    let bad = [
        String::new(),
        "\t".to_string(),
        "not metadata at all".to_string(),
        format!("b3={hex}\tgroup=20"),
        "size=1\tgroup=20".to_string(),
        format!("size=1\tb3={hex}"),
        format!("size=1 b3={hex} group=20"),
        format!("size=\tb3={hex}\tgroup=20"),
        format!("size=-1\tb3={hex}\tgroup=20"),
        format!("size=+1\tb3={hex}\tgroup=20"),
        format!("size=1.5\tb3={hex}\tgroup=20"),
        format!("size=18446744073709551616\tb3={hex}\tgroup=20"),
        format!("size=1\tb3={}\tgroup=20", &hex[1..]),
        format!("size=1\tb3={}g\tgroup=20", &hex[1..]),
        format!("size=1\tb3={hex}0\tgroup=20"),
        "size=1\tb3=\tgroup=20".to_string(),
        format!("size=1\tb3={hex}\tgroup="),
        format!("size=1\tb3={hex}\tgroup=0"),
        format!("size=1\tb3={hex}\tgroup=19"),
        format!("size=1\tb3={hex}\tgroup=21"),
        format!("size=1\tb3={hex}\tgroup=2O"),
        format!("size=1\tb3={hex}\tgroup=20\r"),
        format!("size=1\tb3={hex}\tgroup=20\0"),
        format!("size=1\tb3={hex}\tgroup=20\tx=\x1b"),
    ];
    for line in bad {
        assert_eq!(read_both(None, format!("{line}\n").as_bytes()), Err(MetadataFault::Malformed), "{line:?}");
    }
}

#[test]
fn a_line_without_end_is_an_error() {
    let (b3, _) = content(1);
    let padded = |bytes: usize| {
        let line = format!("size=1\tb3={b3}\tgroup=20\tpad=");
        let pad = "x".repeat(bytes - line.len());
        format!("{line}{pad}\n").into_bytes()
    };
    assert!(read_both(None, &padded(256)).is_ok());
    assert_eq!(read_both(None, &padded(257)), Err(MetadataFault::Malformed));
    let mut reader = MetadataReader::new(None);
    assert_eq!(reader.push(&[b'x'; 256]), Ok(()));
    assert_eq!(reader.push(b"x"), Err(MetadataFault::Malformed));
}

#[test]
fn values_without_end_are_an_error() {
    let (b3, chain) = content(9 * GROUP_BYTES);
    let mut reader = MetadataReader::new(Some(b3));
    reader.push(&encode_metadata(9 * GROUP_BYTES, b3, &chain)).unwrap();
    assert_eq!(reader.push(b""), Ok(()));
    assert_eq!(reader.push(&[0]), Err(MetadataFault::TooLong));

    let line = |groups: u64| format!("size={}\tb3={b3}\tgroup=20\n", groups * GROUP_BYTES).into_bytes();
    assert_eq!(MetadataReader::new(None).push(&line(METADATA_GROUPS_MAX)), Ok(()));
    assert_eq!(MetadataReader::new(None).push(&line(METADATA_GROUPS_MAX + 1)), Err(MetadataFault::TooLong));
    let largest = format!("size={}\tb3={b3}\tgroup=20\n", u64::MAX);
    assert_eq!(read_both(None, largest.as_bytes()), Err(MetadataFault::TooLong));
}

#[test]
fn the_longest_list_is_read() {
    let size = METADATA_GROUPS_MAX * GROUP_BYTES;
    let (b3, chain) = content(size);
    let written = encode_metadata(size, b3, &chain);
    let pushes: Vec<&[u8]> = written.chunks(65_531).collect();
    assert_eq!(read(Some(b3), &pushes).unwrap().chain().len() as u64, METADATA_GROUPS_MAX);
}

#[test]
fn values_that_do_not_give_the_hash_are_distinguished_from_truncated_ones() {
    let size = 5 * GROUP_BYTES;
    let (b3, chain) = content(size);
    for group in 0..5 {
        let mut lie = chain.clone();
        lie[group].0[31] ^= 1;
        assert_eq!(read_both(None, &encode_metadata(size, b3, &lie)), Err(MetadataFault::Corrupt));
    }
    // The values of another size: one too few, one too many.
    assert_eq!(read_both(None, &encode_metadata(size + 1, b3, &chain)), Err(MetadataFault::Malformed));
    assert_eq!(read_both(None, &encode_metadata(size - GROUP_BYTES, b3, &chain)), Err(MetadataFault::Corrupt));
    // One group has none, two have two.
    assert_eq!(read_both(None, &encode_metadata(9, b3, &chain[..1])), Err(MetadataFault::TooLong));
    assert_eq!(read_both(None, &encode_metadata(GROUP_BYTES + 1, b3, &[])), Err(MetadataFault::Malformed));
    assert_eq!(read_both(None, &encode_metadata(0, b3, &[])), Err(MetadataFault::Corrupt), "no empty file hashes so");
}

#[test]
fn wrong_values_are_detected_as_soon_as_the_last_one_is_read() {
    let (_, chain) = content(4 * GROUP_BYTES);
    let mut reader = MetadataReader::new(None);
    let written = encode_metadata(4 * GROUP_BYTES, ContentHash([7; 32]), &chain);
    let (before, last) = written.split_at(written.len() - 1);
    assert_eq!(reader.push(before), Ok(()));
    assert_eq!(reader.push(last), Err(MetadataFault::Corrupt));
}

#[test]
fn an_announced_size_reserves_no_memory() {
    let mut reader = MetadataReader::new(None);
    let (b3, _) = content(1);
    reader.push(format!("size={}\tb3={b3}\tgroup=20\n", METADATA_GROUPS_MAX * GROUP_BYTES).as_bytes()).unwrap();
    for group in 0..100u64 {
        assert!(reader.values_held() <= 2 * group as usize + 4, "{} after {group}", reader.values_held());
        reader.push(&[0; 32]).unwrap();
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn written_metadata_are_read_back(groups in 0..70u64, less in 0..GROUP_BYTES, chunk in 1..3_000usize) {
        let size = (groups * GROUP_BYTES).saturating_sub(less);
        let (b3, chain) = content(size.max(u64::from(groups > 3) * 3 * GROUP_BYTES + 1));
        let size = size.max(u64::from(groups > 3) * 3 * GROUP_BYTES + 1);
        let written = encode_metadata(size, b3, &chain);
        let outline = read(Some(b3), &written.chunks(chunk).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!((outline.size(), outline.b3(), outline.chain()), (size, b3, chain.as_slice()));
    }

    #[test]
    fn no_bytes_cause_a_panic_and_nothing_unverified_is_accepted(
        size in prop_oneof![0..9 * GROUP_BYTES, any::<u64>()],
        head in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), Just(Vec::new())],
        values in prop::collection::vec(any::<u8>(), 0..300),
        chunk in 1..60usize,
        changed in any::<prop::sample::Index>(),
    ) {
        let (b3, _) = content(2);
        let mut bytes = [head, encode_metadata(size, b3, &[]), values].concat();
        let at = changed.index(bytes.len());
        bytes[at] = bytes[at].wrapping_add(1);
        let outcome = read(None, &bytes.chunks(chunk).collect::<Vec<_>>());
        prop_assert_eq!(&read(None, &[&bytes]), &outcome);
        if let Ok(outline) = outcome {
            prop_assert!(Outline::new(outline.b3(), outline.size(), outline.chain().to_vec()).is_ok());
        }
    }

    #[test]
    fn one_changed_byte_is_never_accepted_as_the_requested_content(
        groups in 4..12u64,
        changed in any::<prop::sample::Index>(),
        by in 1..=255u8,
    ) {
        let size = groups * GROUP_BYTES;
        let (b3, chain) = content(size);
        let mut bytes = encode_metadata(size, b3, &chain);
        let at = changed.index(bytes.len());
        bytes[at] = bytes[at].wrapping_add(by);
        if let Ok(outline) = read(Some(b3), &[&bytes]) {
            // Another size with the same number of groups, or the other case of a digit: the chain is verified.
            prop_assert_eq!((outline.b3(), outline.chain()), (b3, chain.as_slice()));
        }
    }
}

/// The result of reading the first line in these pieces.
fn info(pushes: &[&[u8]]) -> Result<Option<FileInfo>, MetadataFault> {
    let mut reader = FileInfoReader::default();
    for push in pushes {
        if let Some(said) = reader.push(push)? {
            return Ok(Some(said));
        }
    }
    Ok(None)
}

#[test]
fn the_metadata_of_a_manifest_tell_how_many_files_are_not_in_it_yet() {
    let (b3, _) = content(1);
    let told = FileInfo { size: 1, b3, pending: 1_000 };
    let written = encode_info(told, &[]);
    assert_eq!(written, format!("size=1\tb3={b3}\tgroup=20\tpending=1000\n").as_bytes());
    assert_eq!(info(&written.chunks(1).collect::<Vec<_>>()), Ok(Some(told)));
    assert_eq!(read_both(Some(b3), &written).unwrap().size(), 1, "who does not ask for it reads over it");
    let none = FileInfo { pending: 0, ..told };
    assert_eq!(encode_info(none, &[]), encode_metadata(1, b3, &[]));
    assert_eq!(info(&[&encode_info(none, &[])]), Ok(Some(none)));
    for bad in ["", "-1", "x", "1x"] {
        let line = format!("size=1\tb3={b3}\tgroup=20\tpending={bad}\n");
        assert_eq!(info(&[line.as_bytes()]), Err(MetadataFault::Malformed), "{bad:?}");
    }
}

#[test]
fn a_refusal_is_one_line_with_the_reason() {
    assert_eq!(encode_refusal(RefusalReason::NoSuchFile), b"refused=no_such_file\n");
    for reason in [RefusalReason::Busy, RefusalReason::Changed, RefusalReason::NotReadable, RefusalReason::NotHashed] {
        let written = encode_refusal(reason);
        for wanted in [None, Some(ContentHash([9; 32]))] {
            assert_eq!(read_both(wanted, &written), Err(MetadataFault::Refused(reason)));
        }
        assert_eq!(info(&written.chunks(1).collect::<Vec<_>>()), Err(MetadataFault::Refused(reason)));
    }
}

#[test]
fn a_reason_of_a_later_version_is_unknown_and_its_line_is_bounded() {
    let unknown = Err(MetadataFault::Refused(RefusalReason::Unknown));
    for line in [&b"refused=quota\n"[..], b"refused=\n", b"refused=quota\tretry=30\n", b"retry=30\trefused=quota\n"] {
        assert_eq!(read_both(None, line), unknown);
    }
    let retry = read_both(None, b"refused=busy\tretry=30\n");
    assert_eq!(retry, Err(MetadataFault::Refused(RefusalReason::Busy)), "other keys are ignored");
    let long = [b"refused=".as_slice(), &[b'x'; 300], b"\n"].concat();
    for line in [&b"refused=busy"[..], b"refused=bu\x01sy\n", &long] {
        assert_eq!(read_both(None, line), Err(MetadataFault::Malformed));
    }
    assert_eq!(info(&[&long]), Err(MetadataFault::Malformed));
}

#[test]
fn the_first_line_tells_size_and_hash_without_the_chaining_values() {
    let (b3, chain) = content(4 * GROUP_BYTES - 1);
    let written = encode_metadata(4 * GROUP_BYTES - 1, b3, &chain);
    let told = Ok(Some(FileInfo { size: 4 * GROUP_BYTES - 1, b3, pending: 0 }));
    assert_eq!(info(&[&written]), told);
    let line = written.iter().position(|b| *b == b'\n').unwrap();
    assert_eq!(info(&[&written[..line]]), Ok(None), "the line is not whole");
    assert_eq!(info(&written[..=line].chunks(1).collect::<Vec<_>>()), told);
}
