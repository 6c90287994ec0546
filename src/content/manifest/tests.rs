use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn hash(byte: u8) -> ContentHash {
    ContentHash([byte; 32])
}

fn written(tree: &BTreeMap<Vec<u8>, EntryKind>) -> Result<WrittenManifest, ManifestFault> {
    let mut writer = ManifestWriter::default();
    tree.iter().try_for_each(|(path, kind)| writer.push(path, *kind))?;
    Ok(writer.finish())
}

fn text(lines: &[&str]) -> Vec<u8> {
    let mut all = vec!["pyrate-manifest 1".to_owned()];
    all.extend(lines.iter().map(|line| line.replace("HASH", HASH)));
    all.push(format!("end {}", lines.len()));
    (all.join("\n") + "\n").into_bytes()
}

fn fault_of(lines: &[&str]) -> Option<LineFault> {
    match Manifest::parse(&text(lines)) {
        Ok(_) => None,
        Err(ManifestFault::Line { fault, .. }) => Some(fault),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_manifest_is_text_in_one_form() {
    let file =
        |size, executable| EntryKind::File { size, b3: ContentHash::from_hex(HASH.as_bytes()).unwrap(), executable };
    let tree = BTreeMap::from([
        (b"a-b".to_vec(), file(0, false)),
        (b"a/run me".to_vec(), file(u64::MAX, true)),
        (b"b\xff".to_vec(), EntryKind::EmptyDirectory),
    ]);
    let manifest = written(&tree).unwrap();
    let lines = [
        &b"pyrate-manifest 1\nf 0 "[..],
        HASH.as_bytes(),
        b" a-b\nx 18446744073709551615 ",
        HASH.as_bytes(),
        b" a/run me\nd b\xff\nend 3\n",
    ];
    assert_eq!(*manifest.text, lines.concat());
    assert_eq!((manifest.files, manifest.bytes), (2, u64::MAX));
    assert_eq!(manifest.b3.0, *blake3::hash(&manifest.text).as_bytes());
    let read = Manifest::parse(&manifest.text).unwrap();
    assert_eq!((read.files, read.bytes, read.b3, read.entries.len()), (2, u64::MAX, manifest.b3, 3));
    assert_eq!(read.text(), *manifest.text, "what was read is written as it was");
    assert_eq!(Manifest::parse(b"pyrate-manifest 1\nend 0\n").unwrap().files, 0, "a directory may be empty");
}

#[test]
fn a_path_stays_in_the_directory() {
    for path in ["..", ".", "/etc/passwd", "a/../b", "a//b", "a/", "a/.", "../a", "/"] {
        assert_eq!(fault_of(&[&format!("f 1 HASH {path}")]), Some(LineFault::NotRelative), "{path}");
        assert_eq!(fault_of(&[&format!("d {path}")]), Some(LineFault::NotRelative), "{path}");
    }
    let long = "x".repeat(256);
    assert_eq!(fault_of(&[&format!("d a/{long}")]), Some(LineFault::TooDeep));
    assert_eq!(fault_of(&[&format!("d {}b", "a/".repeat(MANIFEST_DEPTH_MAX))]), Some(LineFault::TooDeep));
    assert_eq!(fault_of(&[&format!("d {}b", "a/".repeat(MANIFEST_DEPTH_MAX - 1))]), None);
    let longest = format!("{}a", "x/".repeat(1_900));
    assert_eq!(fault_of(&[&format!("d {longest}")]), Some(LineFault::Path));
    for control in ["\r", "\t", "\0", "\u{1b}[2J", "\u{7f}"] {
        assert_eq!(fault_of(&[&format!("f 1 HASH a{control}")]), Some(LineFault::Path));
    }
    assert_eq!(fault_of(&["f 1 HASH ...", "f 1 HASH a b/..c"]), None);
}

#[test]
fn each_path_comes_once_and_none_is_on_the_way_to_another() {
    assert_eq!(fault_of(&["f 1 HASH a", "f 1 HASH a"]), Some(LineFault::Order));
    assert_eq!(fault_of(&["f 1 HASH b", "f 1 HASH a"]), Some(LineFault::Order));
    for kind in ["f 1 HASH", "x 1 HASH", "d"] {
        let first = format!("{kind} a");
        assert_eq!(fault_of(&[&first, "f 1 HASH a/b"]), Some(LineFault::InTheWay));
        let apart = [&first, "f 1 HASH a b", "f 1 HASH a b-c", "d a-", "f 1 HASH a/b"];
        assert_eq!(fault_of(&apart), Some(LineFault::InTheWay), "with others between");
        assert_eq!(fault_of(&[&first, "f 1 HASH a b", "f 1 HASH a-/c", "f 1 HASH ab/c", "d b/a"]), None);
    }
}

#[test]
fn each_value_has_one_form() {
    for (line, fault) in [
        ("", LineFault::Form),
        ("f", LineFault::Form),
        ("g 1 HASH a", LineFault::Form),
        ("F 1 HASH a", LineFault::Form),
        ("f  1 HASH a", LineFault::Size),
        ("f 01 HASH a", LineFault::Size),
        ("f +1 HASH a", LineFault::Size),
        ("f 18446744073709551616 HASH a", LineFault::Size),
        ("f 1 AA112233445566778899aabbccddeeff00112233445566778899aabbccddeeff a", LineFault::Hash),
        ("f 1 00 a", LineFault::Hash),
        ("f 1 HASH", LineFault::Path),
        ("f 1 HASH ", LineFault::Path),
        ("d ", LineFault::Path),
        ("end 1", LineFault::Count),
    ] {
        assert_eq!(fault_of(&[line]), Some(fault), "{line}");
    }
    let two = "18446744073709551615";
    let sum = Manifest::parse(&text(&[&format!("f {two} HASH a"), "f 1 HASH b"]));
    assert_eq!(sum, Err(ManifestFault::TooManyBytes));
}

#[test]
fn what_is_cut_or_no_manifest_is_refused() {
    let whole = text(&["f 1 HASH a", "d b"]);
    for end in 0..whole.len() {
        let fault = Manifest::parse(&whole[..end]).unwrap_err();
        let expected = if end < "pyrate-manifest 1\n".len() { ManifestFault::NoManifest } else { ManifestFault::Cut };
        assert_eq!(fault, expected, "{end}");
    }
    let more = [&whole[..], b"x"].concat();
    assert!(matches!(Manifest::parse(&more), Err(ManifestFault::Line { fault: LineFault::AfterEnd, .. })));
    let twice = [&whole[..], b"end 2\n"].concat();
    assert!(matches!(Manifest::parse(&twice), Err(ManifestFault::Line { fault: LineFault::AfterEnd, .. })));
    assert_eq!(Manifest::parse(&[b'x'; 9_000]), Err(ManifestFault::NoManifest));
    assert_eq!(Manifest::parse(b"HTTP/1.1 200 OK\r\n\r\n"), Err(ManifestFault::NoManifest));
    assert_eq!(Manifest::parse(b"pyrate-manifest x\n"), Err(ManifestFault::NoManifest));
    let later = Manifest::parse(b"pyrate-manifest 2\nend 0\n").unwrap_err();
    assert!(later.to_string().contains("version 2"), "{later}");
    let endless = [text(&[]), vec![b'x'; 9_000]].concat();
    assert!(Manifest::parse(&endless).is_err());
}

#[test]
fn a_manifest_is_bounded() {
    let mut writer = ManifestWriter::default();
    for n in 0..MANIFEST_ENTRIES_MAX {
        writer.push(format!("{n:05}").as_bytes(), EntryKind::EmptyDirectory).unwrap();
    }
    let full = writer.push(b"b", EntryKind::EmptyDirectory);
    assert_eq!(full, Err(ManifestFault::TooManyEntries));
    let lines: Vec<String> = (0..=MANIFEST_ENTRIES_MAX).map(|n| format!("d {n:05}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(Manifest::parse(&text(&lines)), Err(ManifestFault::TooManyEntries));
    assert_eq!(Manifest::parse(&vec![b'x'; MANIFEST_BYTES_MAX + 1]), Err(ManifestFault::TooLarge));

    let mut writer = ManifestWriter::default();
    let long = |n: usize| format!("{n:05}/{}", vec!["y".repeat(200); 18].join("/"));
    let ends = (0..MANIFEST_ENTRIES_MAX).find_map(|n| writer.push(long(n).as_bytes(), EntryKind::EmptyDirectory).err());
    assert_eq!(ends, Some(ManifestFault::TooLarge));
}

/// Paths of which many are on the way to others, or nearly so.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![&b"a"[..], b"a b", b"a-", b"ab", b"a0", b"\xff", b"b"]);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(&b'/'))
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        Just(EntryKind::EmptyDirectory),
        (0..1u64 << 40, any::<u8>(), any::<bool>()).prop_map(|(size, b3, executable)| EntryKind::File {
            size,
            b3: hash(b3),
            executable
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn what_is_written_is_read_back_in_any_pieces(
        tree in prop::collection::btree_map(path(), kind(), 0..12),
        piece in 1..200usize,
    ) {
        let beneath = |path: &[u8], above: &[u8]| path.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"));
        let conflicts = tree.keys().any(|path| tree.keys().any(|above| beneath(path, above)));
        let Ok(manifest) = written(&tree) else {
            prop_assert!(conflicts);
            return Ok(());
        };
        prop_assert!(!conflicts);
        let mut reader = ManifestReader::default();
        manifest.text.chunks(piece).try_for_each(|piece| reader.push(piece)).unwrap();
        let read = reader.finish().unwrap();
        prop_assert_eq!(read.b3, manifest.b3);
        prop_assert_eq!((read.files, read.bytes), (manifest.files, manifest.bytes));
        let entries = read.entries.into_iter().map(|entry| (entry.path.as_bytes().to_vec(), entry.kind));
        prop_assert_eq!(entries.collect::<BTreeMap<_, _>>(), tree);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..400usize) {
        let _ = Manifest::parse(&bytes);
        let mut manifest = text(&["f 1 HASH a/b", "x 20 HASH a/c d", "d e"]);
        let at = at.min(manifest.len());
        manifest.splice(at..at, bytes);
        if let Ok(read) = Manifest::parse(&manifest) {
            let mut writer = ManifestWriter::default();
            read.entries.iter().try_for_each(|entry| writer.push(entry.path.as_bytes(), entry.kind)).unwrap();
            prop_assert_eq!(&*writer.finish().text, &manifest);
        }
    }
}
