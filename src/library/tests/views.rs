//! A library as one requester sees it, against one that has nothing else.

use super::*;
use crate::audience::Audience;
use std::net::IpAddr;

const PEER: &str = "192.0.2.1";

fn of(open: bool) -> Audience {
    Audience::of([if open { PEER } else { "192.0.2.2" }]).unwrap()
}

#[derive(Debug, Clone)]
struct Shares {
    main: bool,
    named: BTreeMap<String, bool>,
    /// Those that are not there any more.
    withdrawn: BTreeSet<String>,
}

impl Shares {
    fn audiences(&self) -> Audiences {
        Audiences::new(of(self.main), self.named.iter().map(|(name, open)| (name, of(*open))))
    }

    fn has_open(&self, path: &str) -> bool {
        let first = path.split('/').next().unwrap_or(path);
        !self.withdrawn.contains(first) && self.named.get(first).copied().unwrap_or(self.main)
    }
}

fn shares() -> impl Strategy<Value = Shares> {
    let named = proptest::collection::btree_map("[ab!]{1,2}", any::<bool>(), 0..4);
    let withdrawn = proptest::collection::btree_set("[ab!]{1,2}", 0..3);
    (any::<bool>(), named, withdrawn).prop_map(|(main, named, withdrawn)| Shares { main, named, withdrawn })
}

fn with(shares: &Shares, files: impl Iterator<Item = (String, (u64, Option<u8>))>) -> Library {
    let mut library = Library::default();
    library.set_audiences(shares.audiences());
    for (path, (size, hash)) in files {
        let file = file(&path, size);
        library.apply(file.clone());
        if let Some(n) = hash {
            library.set_b3(&file, ContentHash([n; 32]));
        }
    }
    shares.withdrawn.iter().for_each(|share| library.withdraw(share.as_bytes()));
    library
}

fn hits(view: View<'_>, text: &str, hits_max: usize, slice: usize) -> Vec<(FileName, Shared)> {
    let mut cursor = SearchCursor::new(Query::parse(text.as_bytes()), hits_max);
    while view.search_step(&mut cursor, slice) {}
    cursor.into_hits()
}

#[test]
fn a_list_passes_over_a_share_of_others_in_one_step() {
    let many = (0..20_000).map(|n| (format!("music/{n:05}"), (1, None)));
    let shares = Shares { main: true, named: [("music".to_owned(), false)].into(), withdrawn: BTreeSet::new() };
    let library = with(&shares, many.chain(["a", "z"].map(|path| (path.to_owned(), (1, None)))));
    let view = library.seen_by(Requester::Peer(PEER.parse().unwrap()));
    assert_eq!(names(view.list_after(None, 9)), [b"a", b"z"]);
    let mut cursor = SearchCursor::new(Query::parse(b"music"), 9);
    let slices = (1..).find(|_| !view.search_step(&mut cursor, 16)).unwrap();
    assert!(slices < 9, "{slices} slices");
    assert!(cursor.into_hits().is_empty());
}

/// Empty directories stand in manifests.
#[test]
fn nothing_is_left_of_the_empty_directories_of_a_share_that_is_withdrawn() {
    let shares = Shares { main: true, named: BTreeMap::new(), withdrawn: BTreeSet::new() };
    let mut library = with(&shares, [("a/file".to_owned(), (1, None))].into_iter());
    let name = |text: &str| FileName::from_bytes(text.as_bytes()).unwrap();
    let empty = vec![name("a/none"), name("b/none")];
    library.end_scan(&mut ScanReport { empty, ..ScanReport::default() });
    let before = library.changes();
    for share in [&b"a"[..], b"b"] {
        library.withdraw(share);
        while library.drop_withdrawn(9) {}
        let seen = |path: &[u8]| library.seen_by(Requester::Owner).is_empty_directory(path);
        assert_eq!([seen(b"a/none"), seen(b"b/none")], [false, share == b"a"]);
    }
    assert!(library.changes() > before);
}

proptest! {
    #[test]
    fn a_requester_sees_what_a_library_without_the_rest_would_show(
        files in proptest::collection::btree_map("[ab!]{1,2}(/[ab]{1,2}){0,2}", (1u64..9, proptest::option::of(1u8..4)), 0..40),
        shares in shares(),
        text in "[ab]{1,2}(/[ab]{1,2})?|b3=(01){32}|b3=(02){32}|[ab]{3}|a/b/a -b|\\*a|ab aa ba",
        (page, slice, hits_max) in (1usize..5, 1usize..9, 0usize..6),
    ) {
        let mut library = with(&shares, files.clone().into_iter());
        let there = files.clone().into_iter().filter(|(path, _)| {
            !shares.withdrawn.contains(path.split('/').next().unwrap_or(path))
        });
        let owned = with(&Shares { main: true, named: BTreeMap::new(), withdrawn: BTreeSet::new() }, there);
        let visible = files.into_iter().filter(|(path, _)| shares.has_open(path));
        let open = Shares { main: true, named: BTreeMap::new(), withdrawn: BTreeSet::new() };
        let twin = with(&open, visible);
        let peer: IpAddr = PEER.parse().unwrap();
        for requester in [Requester::Peer(peer), Requester::Peer("::ffff:192.0.2.1".parse().unwrap())] {
            let view = library.seen_by(requester);
            let mut listed: Vec<(FileName, Shared)> = Vec::new();
            loop {
                let rows = view.list_after(listed.last().map(|(name, _)| name), page);
                if rows.is_empty() {
                    break;
                }
                listed.extend(rows);
            }
            prop_assert_eq!(&listed, &twin.all().list_after(None, 99));
            prop_assert_eq!(view.is_empty(), twin.is_empty());
            for (name, _) in library.all().list_after(None, 99) {
                prop_assert_eq!(view.get(name.as_bytes()), twin.all().get(name.as_bytes()));
            }
            prop_assert_eq!(hits(view, &text, hits_max, slice), hits(twin.all(), &text, hits_max, 1));
            for n in 1..4 {
                let b3 = ContentHash([n; 32]);
                prop_assert_eq!(view.file_of_content(b3).is_some(), twin.all().file_of_content(b3).is_some());
            }
        }
        for _ in 0..2 {
            let owner = |library: &Library| library.seen_by(Requester::Owner).list_after(None, 99);
            prop_assert_eq!(owner(&library), owner(&owned), "the owner sees everything that is there");
            while library.drop_withdrawn(slice) {}
            library.index.check();
            prop_assert_eq!((library.len(), library.unhashed()), (owned.len(), owned.unhashed()));
            prop_assert_eq!(library.bytes(), owned.bytes());
        }
    }
}
