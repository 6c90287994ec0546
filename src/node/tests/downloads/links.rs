//! Links: what they say of shared files, hits and downloads, and downloads that they begin.

use super::*;
use crate::control::{ContentLinkRow, EventKind, EventRow, ExitCode, Linkable};
use crate::node::Node;
use crate::node::tests::hashing::hash_all;

fn link(rig: &mut Rig, what: Linkable) -> Result<ContentLinkRow, (i32, String)> {
    match rig.call(Request::Link { what }) {
        Ok(Reply::Link(row)) => Ok(row),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err((error.code, error.message)),
    }
}

fn shared(name: &str) -> Linkable {
    Linkable::Shared { name: RawText::new(name) }
}

/// A link, and what its row says beside it.
fn told(row: &ContentLinkRow) -> (&str, &[u8], Option<u64>, &[SocketAddr]) {
    (&row.link, row.name.as_bytes(), row.size, &row.peers)
}

fn by_link(rest: &str) -> Vec<Selector> {
    vec![Selector::Link(format!("pyrate:b3={B3}{rest}"))]
}

#[test]
fn a_shared_file_has_a_link_as_soon_as_its_hash_is_known() {
    let mut rig = Rig::among(Vec::new(), &[("dir/a b.txt", 7)]);
    let (code, why) = link(&mut rig, shared("dir/a b.txt")).unwrap_err();
    assert!(code == ExitCode::Other as i32 && why.contains("is not computed yet"), "{why}");
    hash_all(&mut rig);
    let row = link(&mut rig, shared("dir/a b.txt")).unwrap();
    let text = format!("pyrate:b3={}&size=7&name=dir%2Fa%20b.txt&peer=10.0.0.2%3A63339", row.b3);
    assert_eq!(told(&row), (text.as_str(), &b"dir/a b.txt"[..], Some(7), &[us()][..]));
    for unknown in ["a b.txt", "", "a\nb"] {
        let (code, why) = link(&mut rig, shared(unknown)).unwrap_err();
        assert!(code == ExitCode::NotFound as i32 && why.contains("is shared; `pyratectl files`"), "{why}");
    }
}

#[test]
fn a_hit_has_a_link_with_its_sources_that_begins_with_the_one_wanted() {
    let mut rig = with_hits(&[(1, of_content("a", 5, B3)), (2, of_content("x/b", 5, B3)), (3, listed("c", Some(5)))]);
    let of = |id, peer| Linkable::Hit { id, peer };
    let row = link(&mut rig, of(1, None)).unwrap();
    let start = format!("pyrate:b3={B3}&size=5&name=a&peer=");
    assert!(row.link.starts_with(&start), "{}", row.link);
    assert_eq!(row.peers, [peer(1), peer(2)]);
    let row = link(&mut rig, of(1, Some(peer(2)))).unwrap();
    assert_eq!((row.name.as_bytes(), &row.peers[..]), (&b"x/b"[..], &[peer(2), peer(1)][..]));
    let (code, why) = link(&mut rig, of(2, None)).unwrap_err();
    assert!(code == ExitCode::NotFound as i32 && why.contains("no source gave a hash of hit 2"), "{why}");
    assert_eq!(link(&mut rig, of(9, None)).unwrap_err().0, ExitCode::NotFound as i32);
}

#[test]
fn a_download_has_a_link_with_its_sources() {
    let mut rig = with_content(3 * MIB, 2);
    download(&mut rig, hits("1"));
    let row = link(&mut rig, Linkable::Download { id: 1 }).unwrap();
    assert_eq!((row.b3, row.size, row.name.as_bytes()), (B3.to_string(), Some(3 * MIB), &b"dir/a.txt"[..]));
    assert_eq!(row.peers, [peer(1), peer(2)]);
    download(&mut rig, vec![file(peer(3), "plain")]);
    let (code, why) = link(&mut rig, Linkable::Download { id: 2 }).unwrap_err();
    assert!(code == ExitCode::NotFound as i32 && why.contains("when the download is done"), "{why}");
    download(&mut rig, vec![file(peer(3), "music/")]);
    let (code, why) = link(&mut rig, Linkable::Download { id: 3 }).unwrap_err();
    assert!(code == ExitCode::NotFound as i32 && why.contains("sent no manifest of download 3"), "{why}");
    assert_eq!(link(&mut rig, Linkable::Download { id: 9 }).unwrap_err().0, ExitCode::NotFound as i32);
}

#[test]
fn a_link_begins_a_download_from_its_peers_under_its_name() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let peers = format!("&peer=10.0.0.2:63339&peer={}&peer=224.0.0.1:5&peer={}", peer(3), peer(4));
    let begun = download(&mut rig, by_link(&format!("&size=7&name=dir%2F..%2Fa.txt{peers}"))).downloads.remove(0);
    assert_eq!((begun.name.as_bytes(), begun.size, begun.b3), (&b"dir/../a.txt"[..], Some(7), Some(B3.to_string())));
    assert_eq!(begun.sources, [peer(3), peer(4)], "neither this node nor what is no peer");
    let spec = remembered(&mut rig).pop().unwrap().spec;
    assert_eq!(spec.target.path(), std::path::Path::new("/downloads/a.txt"));
    // The same content again is the same download.
    assert_eq!(download(&mut rig, by_link("")).ids, [begun.id]);
}

#[test]
fn hits_add_the_names_that_they_have_to_the_sources_of_a_link() {
    let mut rig = with_hits(&[(1, of_content("a", 5, B3)), (2, of_content("x/b", 5, B3))]);
    let begun = download(&mut rig, by_link(&format!("&name=c&peer={}", peer(2)))).downloads.remove(0);
    assert_eq!((begun.name.as_bytes(), begun.size), (&b"c"[..], Some(5)));
    assert_eq!(begun.sources, [peer(2), peer(1)]);
    let mut rig = with_hits(&[(1, of_content("a", 5, B3))]);
    assert_eq!(download(&mut rig, by_link("&size=7")).downloads[0].size, Some(7), "that of the link");
}

#[test]
fn a_bare_hash_is_looked_for_and_a_bad_link_is_refused() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let begun = download(&mut rig, by_link(&format!("&peer={}", peer(3)))).downloads.remove(0);
    // Nobody can be asked for a file without its name.
    assert_eq!((begun.name.as_bytes(), begun.sources), (B3.to_string().as_bytes(), Vec::new()));
    for (bad, said) in [("&size=x", "size= is followed by"), ("&name=a%2F", "to a directory and names no peer")] {
        let error = rig.call(Request::Download { what: by_link(bad), output: None }).unwrap_err();
        assert!(error.code == ExitCode::Usage as i32 && error.message.contains(said), "{error:?}");
    }
}

#[test]
fn a_new_link_begins_nothing_where_its_content_is_a_download_or_was_one_since() {
    let new = |b3: ContentHash, since: u64| {
        let link = format!("pyrate:b3={b3}&name=a&peer={}", peer(3));
        Selector::NewLink { link, since }
    };
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let begun = download(&mut rig, vec![new(B3, 0), new(B3, 0), new(ContentHash([8; 32]), 0)]);
    assert_eq!(begun.ids, [1, 2]);
    assert_eq!(download(&mut rig, vec![new(B3, u64::MAX - 1)]).ids, [0u32; 0], "it is in the list");
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(download(&mut rig, vec![new(B3, 0)]).ids, [0u32; 0], "it has begun since");
    assert_eq!(download(&mut rig, vec![new(B3, u64::MAX)]).ids, [3], "the link came later");
    let bad = vec![Selector::NewLink { link: "x".into(), since: 0 }];
    let error = rig.call(Request::Download { what: bad, output: None }).unwrap_err();
    assert_eq!(error.code, ExitCode::Usage as i32);
}

/// The clock was set back between two downloads of one content.
#[test]
fn a_content_was_a_download_since_if_the_latest_of_its_downloads_was() {
    let begun = |download: u32, time: u64| {
        let event = EventRow::blank(EventKind::Begun, download.into(), "log".into(), time);
        let row = EventRow { download: Some(download), b3: Some(B3.to_string()), ..event };
        (TransferId(download), vec![std::rc::Rc::new(row)])
    };
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = Rig::new(config.clone());
    let (peers, events) = (remembered_peers(Vec::new()), vec![begun(1, 2_000), begun(2, 1_000)]);
    let remembered = Remembered { peers, events, download_last: 2, ..Remembered::default() };
    rig.node = Node::new(rig.now, config, [5; 32], remembered);
    let new = |since| vec![Selector::NewLink { link: format!("pyrate:b3={B3}&name=a&peer={}", peer(3)), since }];
    assert_eq!(download(&mut rig, new(1_500)).ids, [0u32; 0]);
    assert_eq!(download(&mut rig, new(2_001)).ids, [3]);
}
