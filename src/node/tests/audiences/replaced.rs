//! Shares that a reload adds, removes, or gives another directory.

use super::*;
use crate::fault::DiskFault;
use crate::node::contract::{HashedFile, LookedAt, ShareNamed};

/// The share `home` has this directory.
fn home_at(path: &str) -> Vec<ShareNamed> {
    vec![ShareNamed { name: name("home"), path: Some(path.into()), follow_symlinks: false }]
}

/// A node with the share `home`, for peers at home, that has these files.
fn sharing_home(files: &[(&str, u64)]) -> Rig {
    let shares = home_at("/private");
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), audiences: at_home(), shares, ..config() });
    rig.scan(files);
    rig
}

/// A reload, without the work that follows.
fn reshare(rig: &mut Rig, shares: Vec<ShareNamed>, audiences: Audiences) {
    let config = NodeConfig { shares, audiences, ..rig.node.config().clone() };
    rig.node.handle(rig.now, Event::Reconfigure(Box::new(config)));
}

fn scans(rig: &mut Rig) -> usize {
    rig.take(|order| matches!(order, Action::StartScan).then_some(())).len()
}

/// All names that a requester sees.
fn seen(rig: &Rig, requester: impl Into<Requester>) -> Vec<String> {
    let rows = rig.node.library().seen_by(requester).list_after(None, 99);
    rows.into_iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn nobody_sees_the_old_files_of_a_name_from_the_reload_on() {
    let for_all = || Audiences::new(Audience::all(), [("home", Audience::all())]);
    for (shares, audiences) in
        [(vec![], Audiences::default()), (home_at("/public"), for_all()), (home_at("/public"), at_home())]
    {
        let mut rig = sharing_home(FILES);
        hash_all(&mut rig);
        reshare(&mut rig, shares, audiences);
        for requester in [Requester::Owner, Requester::Peer(peer(1).ip()), Requester::Peer(peer(2).ip())] {
            assert_eq!(seen(&rig, requester), ["public/song.ogg"], "{requester:?}");
        }
        let content = b3_of(&scanned("home/song.ogg", 3));
        assert_eq!(rig.node.library().seen_by(Requester::Owner).file_of_content(content), None);
        assert!(rig.node.is_scanning());
        rig.settle();
        assert_eq!((rig.node.library().len(), scans(&mut rig)), (1, 1), "they are removed, and one scan follows");
        rig.scan(&[("home/new", 4), ("public/song.ogg", 7)]);
        assert_eq!(seen(&rig, source(1)), ["home/new", "public/song.ogg"]);
    }
}

#[test]
fn what_is_being_sent_of_a_share_that_is_not_there_any_more_is_broken_off_and_what_waits_is_refused() {
    let mut rig = Rig::new(NodeConfig {
        bootstraps: Vec::new(),
        audiences: at_home(),
        shares: home_at("/private"),
        max_workers: 4,
        ..config()
    });
    rig.scan(FILES);
    hash_all(&mut rig);
    let mut lost: Vec<ExchangeId> =
        requests("home/song.ogg").into_iter().take(2).map(|it| rig.request(source(1), it)).collect();
    rig.request(source(1), Message::DownloadRequest { name: name("public/song.ogg") });
    // Peer 2 has seen nothing of it.
    rig.request(source(2), Message::ListFiles { p1: false });
    assert_eq!(served(&mut rig).len(), 4);
    let waiting = rig.request(source(1), Message::DownloadRequest { name: name("home/d/letter") });
    reshare(&mut rig, vec![], Audiences::default());
    rig.settle();
    let mut broken_off = aborted(&mut rig);
    lost.sort_unstable();
    broken_off.sort_unstable();
    assert_eq!(broken_off, lost);
    assert_eq!(refused(&mut rig), [(waiting, Refusal::NoSuchFile)]);
    for message in requests("home/song.ogg") {
        let exchange = rig.request(source(1), message);
        assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)]);
    }
}

#[test]
fn a_new_share_breaks_nothing_off() {
    let mut rig = sharing(Audiences::default(), FILES);
    rig.request(source(2), Message::ListFiles { p1: false });
    let wider = home_at("/more").into_iter().map(|share| ShareNamed { name: name("more"), ..share }).collect();
    reshare(&mut rig, wider, Audiences::new(Audience::all(), [("more", home())]));
    assert_eq!(seen(&rig, Requester::Owner).len(), FILES.len());
    rig.settle();
    assert_eq!((aborted(&mut rig), scans(&mut rig)), (vec![], 1));
    let followed = home_at("/more").into_iter();
    let followed = followed.map(|share| ShareNamed { name: name("more"), follow_symlinks: true, ..share }).collect();
    let audiences = rig.node.config().audiences.clone();
    rig.scan(&[("more/a", 1)]);
    reshare(&mut rig, followed, audiences);
    assert_eq!(seen(&rig, source(1)), ["more/a"], "what is shared without links stays");
    rig.settle();
    assert_eq!((aborted(&mut rig), scans(&mut rig)), (vec![], 1));
}

/// A file of the old directory, whose job found it missing when the new directory was scanned.
#[test]
fn a_file_of_another_directory_under_the_same_name_is_hashed_though_the_old_one_could_not_be() {
    let mut rig = sharing_home(&[("home/song.ogg", 3)]);
    let ordered = batches(&mut rig).concat();
    assert_eq!(ordered.len(), 1);
    reshare(&mut rig, home_at("/public"), Audiences::default());
    rig.settle();
    rig.scan(&[("home/song.ogg", 4)]);
    assert!(batches(&mut rig).is_empty(), "one of this name is being hashed");
    let outcome = Err(DiskFault::Missing);
    rig.handle(Event::Hashed { files: ordered.into_iter().map(|file| HashedFile { file, outcome }).collect() });
    assert_eq!(batches(&mut rig).concat(), [scanned("home/song.ogg", 4)]);
}

#[test]
fn what_a_running_scan_and_jobs_have_found_of_another_directory_is_not_taken() {
    let mut rig = sharing_home(FILES);
    rig.call(Request::Rescan).unwrap();
    scans(&mut rig);
    let recent = |text: &str| RecentFile { file: scanned(text, 9), quiet: Duration::from_secs(9) };
    let written = RecentFile { quiet: Duration::ZERO, ..recent("home/written") };
    rig.handle(Event::RecentFiles { files: vec![written.clone()] });
    rig.handle(Event::ScanEnded { report: ScanReport::default() });
    rig.pass(Duration::from_secs(3));
    let looks = rig.take(|order| if let Action::LookAt { names } = order { Some(names.clone()) } else { None });
    assert_eq!(looks, [vec![name("home/written")]]);
    reshare(&mut rig, home_at("/public"), Audiences::default());
    // On their way when the reload came.
    for event in [
        Event::Scanned { files: vec![scanned("home/old", 1)] },
        Event::RecentFiles { files: vec![recent("home/old too")] },
        Event::ScanEnded { report: ScanReport::default() },
    ] {
        rig.node.handle(rig.now, event);
    }
    rig.settle();
    assert_eq!(scans(&mut rig), 1);
    // The new directory has one of this name too, which is not at rest.
    rig.handle(Event::RecentFiles { files: vec![RecentFile { file: scanned("home/written", 5), ..written }] });
    let found = Ok(recent("home/written"));
    rig.handle(Event::LookedAt { files: vec![LookedAt { name: name("home/written"), found }] });
    let hashed = HashedFile { file: scanned("home/song.ogg", 3), outcome: Err(DiskFault::Missing) };
    rig.handle(Event::Hashed { files: vec![hashed] });
    assert_eq!(seen(&rig, Requester::Owner), [""; 0]);
    rig.handle(Event::ScanEnded { report: ScanReport::default() });
    rig.pass(Duration::from_secs(3));
    let found = Ok(RecentFile { file: scanned("home/written", 5), ..recent("home/written") });
    rig.handle(Event::LookedAt { files: vec![LookedAt { name: name("home/written"), found }] });
    assert_eq!(seen(&rig, Requester::Owner), ["home/written"]);
}

#[test]
fn who_waits_for_the_manifest_of_a_directory_that_is_not_shared_any_more_is_told_that_there_is_none() {
    let mut rig = sharing_home(FILES);
    hash_all(&mut rig);
    let metadata = || Message::MetadataRequest { name: name("home/d/") };
    let made = rig.request(source(1), metadata());
    assert_eq!(served(&mut rig), [made]);
    reshare(&mut rig, home_at("/public"), at_home());
    rig.settle();
    rig.scan(&[("home/d/other", 5)]);
    hash_all(&mut rig);
    aborted(&mut rig);
    // Not what was made of the other directory.
    let range = Message::RangeRequest { offset: 0, length: 1, name: name("home/d/") };
    let exchange = rig.request(source(1), range);
    let sent = rig.take(|order| match order {
        Action::SendManifest { exchange: of, manifest, .. } if *of == exchange => Some(manifest.text.to_vec()),
        _ => None,
    });
    assert!(sent.len() == 1 && String::from_utf8_lossy(&sent[0]).contains("other"), "{sent:?}");
    let exchange = ExchangeId::Inbound(901);
    rig.handle(Event::Scanned { files: vec![] });
    rig.node.handle(rig.now, Event::Request { exchange, from: source(1), message: metadata() });
    reshare(&mut rig, vec![], Audiences::default());
    rig.settle();
    assert!(refused(&mut rig).iter().all(|(_, why)| *why == Refusal::NoSuchFile));
}

#[test]
fn a_second_reload_while_files_are_removed_hides_them_still() {
    let mut rig = sharing_home(FILES);
    reshare(&mut rig, vec![], Audiences::default());
    reshare(&mut rig, home_at("/public"), Audiences::default());
    assert_eq!(seen(&rig, source(2)), ["public/song.ogg"]);
    rig.settle();
    assert_eq!((scans(&mut rig), seen(&rig, source(2))), (1, vec!["public/song.ogg".to_owned()]));
}

#[test]
fn a_user_who_waits_for_a_scan_hears_of_the_one_that_follows_the_reload() {
    let mut rig = sharing_home(FILES);
    rig.call(Request::Rescan).unwrap();
    rig.call(Request::Rescan).unwrap();
    reshare(&mut rig, vec![], Audiences::default());
    rig.settle();
    scans(&mut rig);
    rig.scan(&[("public/song.ogg", 7)]);
    let notices = rig.take(|order| match order {
        Action::Notify { notice, .. } => match &**notice {
            crate::control::Notice::Scan(scan) => Some((scan.done, scan.files)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(notices.last(), Some(&(true, 1)), "{notices:?}");
    assert_eq!(scans(&mut rig), 0, "which has seen what they wanted scanned");
}

#[test]
fn a_manifest_that_is_being_made_is_not_finished_with_the_files_of_another_directory() {
    let names: Vec<String> = (0..3_000).map(|n| format!("home/d/old {n:04}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 3)).collect();
    let mut rig = sharing_home(&files);
    hash_all(&mut rig);
    let (exchange, metadata) = (ExchangeId::Inbound(901), Message::MetadataRequest { name: name("home/d/") });
    rig.node.handle(rig.now, Event::Request { exchange, from: source(1), message: metadata });
    // Some slices, of which the manifest takes twelve.
    (0..8).for_each(|_| rig.node.work(rig.now));
    reshare(&mut rig, home_at("/public"), at_home());
    rig.settle();
    assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)]);
    // Whoever asked for the hash just before gets what has that hash, unless it is of another directory.
    let range = || Message::RangeRequest { offset: 0, length: 1, name: name("home/d/") };
    let sent = |rig: &mut Rig| {
        rig.request(source(1), range());
        rig.take(|order| match order {
            Action::SendManifest { manifest, .. } => Some(String::from_utf8_lossy(&manifest.text).into_owned()),
            _ => None,
        })
    };
    assert_eq!(sent(&mut rig), Vec::<String>::new());
    rig.scan(&[("home/d/new", 5)]);
    hash_all(&mut rig);
    assert!(matches!(&sent(&mut rig)[..], [text] if text.ends_with(" new\nend 1\n")));
}

/// One that changes while it is read waits until two scans have found it unchanged; another file of its name does not.
#[test]
fn a_file_of_another_directory_does_not_wait_for_what_another_one_did() {
    let hashes = |rig: &mut Rig| rig.take(|order| matches!(order, Action::HashFiles { .. }).then_some(())).len();
    for (directory, expected) in [("/private", 0), ("/public", 1)] {
        let mut rig = sharing_home(&[("home/song.ogg", 3)]);
        let changed = HashedFile { file: scanned("home/song.ogg", 3), outcome: Err(DiskFault::Changed) };
        rig.handle(Event::Hashed { files: vec![changed] });
        rig.orders.clear();
        reshare(&mut rig, home_at(directory), at_home());
        rig.settle();
        rig.scan(&[("home/song.ogg", 4)]);
        assert_eq!(hashes(&mut rig), expected, "{directory}");
    }
}

#[test]
fn what_was_being_written_in_a_share_that_is_not_there_any_more_is_not_expected() {
    let mut rig = sharing_home(FILES);
    rig.call(Request::Rescan).unwrap();
    let written = RecentFile { file: scanned("home/written", 9), quiet: Duration::ZERO };
    rig.handle(Event::RecentFiles { files: vec![written] });
    rig.handle(Event::ScanEnded { report: ScanReport::default() });
    let link = |rig: &mut Rig| {
        let what = crate::control::Linkable::Shared { name: RawText::new("home/written") };
        rig.call(Request::Link { what }).unwrap_err().message
    };
    assert!(link(&mut rig).contains("written"), "{}", link(&mut rig));
    let before = link(&mut rig);
    reshare(&mut rig, vec![], Audiences::default());
    rig.settle();
    rig.scan(&[("public/song.ogg", 7)]);
    assert_ne!(link(&mut rig), before, "there is no such file");
}

#[test]
fn a_path_is_shared_under_the_name_of_its_share() {
    let shares = [home_at("/private"), home_at("/share/in")].concat();
    let config = NodeConfig { shares, ..config() };
    let shared = |path: &str| config.shared_name(path.as_ref()).map(|name| name.to_string());
    let is = |name: &str| Some(name.to_owned());
    assert_eq!(shared("/private/a"), is("home/a"));
    assert_eq!(shared("/share/sub/a"), is("sub/a"));
    assert_eq!([shared("/share/home/a"), shared("/downloads/a"), shared("/privately/a")], [None, None, None]);
    let waiting = NodeConfig { shares: vec![ShareNamed { path: None, ..home_at("/").remove(0) }], ..config };
    assert_eq!(waiting.shared_name("/share/home/a".as_ref()), None, "nothing has its name meanwhile");
}
