//! Several shares in one library: their reports, and what stays if some cannot be read.

use super::*;

#[test]
fn shares_that_can_be_read_are_swept_beside_those_that_cannot() {
    let of = |names: &[&str]| names.iter().map(name).collect::<Vec<_>>();
    let found = |share: &str| (Some(name(share)), Ok(FoundFiles::default()));
    let files = ["a", "b", "films/a", "films/b", "music/a", "music/b", "musical"];
    let mut library = library(&files);
    library.end_scan(&mut ScanReport { empty: of(&["e", "films/e", "music/e"]), ..ScanReport::default() });
    while library.sweep(2) {}
    let scan = |library: &mut Library, files: &[&str], mut report: ScanReport| {
        library.begin_scan();
        files.iter().for_each(|path| library.apply(file(path, 1)));
        library.end_scan(&mut report);
        while library.sweep(2) {}
        let listed = names(library.all().list_after(None, 9)).into_iter().map(String::from_utf8);
        listed.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let empty = |library: &Library| {
        let view = library.all();
        ["e", "films/e", "films/f", "music/e"].map(|name| view.is_empty_directory(name.as_bytes()))
    };
    // The one without a name, and music, cannot be read.
    let mut report = ScanReport { empty: of(&["films/f"]), hidden: of(&["music"]), ..failed() };
    (report.others_read, report.shares) = (true, vec![found("films")]);
    let kept = ["a", "b", "films/a", "music/a", "music/b", "musical"];
    assert_eq!(scan(&mut library, &["films/a"], report), kept);
    assert_eq!(empty(&library), [true, false, true, true]);
    // Nothing can be read.
    assert_eq!(scan(&mut library, &[], failed()), kept);
    let report = ScanReport { hidden: of(&["films"]), shares: vec![found("music")], ..ScanReport::default() };
    assert_eq!(scan(&mut library, &["a", "music/b"], report), ["a", "films/a", "music/b"]);
    assert_eq!(empty(&library), [false, false, true, false]);
}

#[test]
fn what_a_further_share_reports_has_its_name_before_it() {
    let of =
        |names: &[&str]| names.iter().map(|name| FileName::from_bytes(name.as_bytes()).unwrap()).collect::<Vec<_>>();
    let [music, films]: [FileName; 2] = of(&["music", "films"]).try_into().unwrap();
    let long = ["x".repeat(250).as_str(); 16].join("/");
    let long = &long[..crate::name::FILE_NAME_BYTES_MAX - 2];
    let mut whole = ScanReport { empty: of(&["e", "z"]), unreadable: 1, unread: of(&["a"]), ..ScanReport::default() };
    let read = ScanReport { empty: of(&["b", long]), hidden: of(&["d"]), mounts: of(&["m"]), ..ScanReport::default() };
    whole.add(&music, read);
    assert!(whole.others_read && whole.failed.is_none());
    whole.add(&films, failed());
    assert_eq!(whole.empty, of(&["e", "music/b", "z"]), "sorted, without what is too long");
    assert_eq!((whole.names_refused, whole.refused.len()), (1, 1));
    assert_eq!(whole.hidden, of(&["music/d", "films"]), "all files of a share that cannot be read stay");
    assert_eq!(whole.mounts, of(&["music/m"]));
    assert_eq!((whole.unreadable, &whole.unread), (2, &of(&["a"])));
    let many = || (0..EMPTY_DIRECTORIES_MAX).map(|number| FileName::from_bytes(number.to_string().as_bytes()).unwrap());
    whole.add(&music, ScanReport { empty: many().collect(), ..ScanReport::default() });
    assert_eq!(whole.empty.len(), EMPTY_DIRECTORIES_MAX, "of all shares together");
}
