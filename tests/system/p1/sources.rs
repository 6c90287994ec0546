//! Sources that fail, beside one that does not: whatever they do, the download ends whole and proved.

use crate::harness::{
    Dice, GROUP, LIMIT, Manners, P1Peer, Role, Setup, Vice, assert_verified, await_hashed, begin_hit, content_hash,
    find_content, free_port, pyratectl, relative_files, saved, share_of, start_among, start_hashed, until,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

const SIZE: usize = 6 * GROUP + 54_321;

/// Bytes a second of an honest source, so that there is something left for the false one to do.
const HONEST_RATE: u64 = 4 << 20;

/// Two sources of one content, of which one fails, whichever the role says; ends with the download's last row.
fn ends_whole_though(role: Role, vices: impl Fn(&mut Manners)) -> Value {
    let content = Dice::new().bytes(SIZE);
    let mut manners = Manners { role: role.clone(), rate: Some(HONEST_RATE), ..Manners::default() };
    vices(&mut manners);
    let twins = [(); 2].map(|()| P1Peer::sharing("twin.bin", &content, manners.clone()));
    let (_bootstrap, asker) = start_among(Setup::peer(), &twins.each_ref().map(|twin| twin.addr));
    let id = begin_hit(&asker, &find_content(&asker, "twin", &content, 2));
    let done = asker.await_download(id, "done");
    assert_verified(&done, &content);
    assert_eq!(relative_files(&asker.downloads_directory()).len(), 1, "nothing else is left");
    let first = role.first().expect("one was asked");
    assert!(!share_of(&done, first).is_null(), "{done}");
    done
}

/// A vice in the answers to code 8, in either place.
fn ends_whole_though_ranges(vice: &Vice) {
    for role in [Role::first_asked('8'), Role::later_asked('8')] {
        ends_whole_though(role, |manners| manners.ranges = vice.clone());
    }
}

#[test]
fn a_source_that_refuses_ranges() {
    ends_whole_though_ranges(&Vice::Refuses);
}

#[test]
fn a_source_that_dies_in_the_middle_of_a_range() {
    ends_whole_though_ranges(&Vice::Dies(30_000));
}

#[test]
fn a_source_that_truncates_ranges_and_calls_it_the_end() {
    ends_whole_though_ranges(&Vice::Truncates(20_000));
    ends_whole_though_ranges(&Vice::Truncates(0));
}

#[test]
fn a_source_that_sends_more_than_the_range() {
    ends_whole_though_ranges(&Vice::Adds(1));
    ends_whole_though_ranges(&Vice::Adds(5_000_000));
}

/// Its ranges go to the other near the end, long before anybody gives it up.
#[test]
fn a_source_that_falls_silent_in_the_middle_of_a_range() {
    ends_whole_though_ranges(&Vice::Stalls(40_000));
}

/// It sends on and on, and would take hours.
#[test]
fn a_source_that_dribbles() {
    let content = Dice::new().bytes(SIZE);
    let manners = |rate| Manners { rate: Some(rate), ..Manners::default() };
    let dribbling = P1Peer::sharing("dribble.bin", &content, manners(500));
    let honest = P1Peer::sharing("dribble too.bin", &content, manners(HONEST_RATE));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[dribbling.addr, honest.addr]);
    let id = begin_hit(&asker, &find_content(&asker, "dribble", &content, 2));
    let done = asker.await_download(id, "done");
    assert_verified(&done, &content);
    assert!(!dribbling.asked("").is_empty(), "it was asked, too");
}

/// Silence where nobody else can help out meanwhile: it is waited for, but not for long.
#[test]
fn a_source_that_falls_silent_where_it_alone_was_asked() {
    let silent = |code, vices: fn(&mut Manners)| {
        move || {
            let done = ends_whole_though(Role::first_asked(code), vices);
            assert!(done["shares"].as_array().is_some_and(|shares| shares.len() == 2), "{done}");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(silent('9', |manners| manners.metadata = Vice::Stalls(120)));
        scope.spawn(silent('9', |manners| manners.metadata = Vice::Stalls(0)));
        scope.spawn(silent('8', |manners| manners.ranges = Vice::Stalls(0)));
        scope.spawn(silent('4', |manners| {
            manners.wholes_only = true;
            manners.files = Vice::Stalls(1_000_000);
        }));
    });
}

#[test]
fn a_source_that_refuses_metadata() {
    ends_whole_though(Role::first_asked('9'), |manners| manners.metadata = Vice::Refuses);
}

#[test]
fn a_source_that_dies_in_the_middle_of_metadata() {
    ends_whole_though(Role::first_asked('9'), |manners| manners.metadata = Vice::Dies(150));
}

/// Every source fails at first, and the download lasts until one does not.
#[test]
fn a_download_outlives_the_failing_of_all_its_sources() {
    let content = Dice::new().bytes(SIZE);
    let manners = Manners { ranges: Vice::Dies(700_000), rate: Some(HONEST_RATE), ..Manners::default() };
    let sources = [(); 2].map(|()| P1Peer::sharing("file", &content, manners.clone()));
    let (_bootstrap, asker) = start_among(Setup::peer(), &sources.each_ref().map(|source| source.addr));
    let id = begin_hit(&asker, &find_content(&asker, "file", &content, 2));
    let waiting = asker.await_download(id, "retrying");
    assert!(waiting["retry_in_s"].is_u64() && waiting["error"]["message"].is_string(), "{waiting}");
    sources[1].change(|manners| manners.ranges = Vice::None);
    asker.call("retry", json!({ "ids": id.to_string() }));
    assert_verified(&asker.await_download(id, "done"), &content);
}

/// A source that comes later is found by the hash, under another name, while the download waits or runs.
#[test]
fn further_sources_are_looked_for_by_hash() {
    let content = Dice::new().bytes(SIZE);
    let dying = P1Peer::sharing("here", &content, Manners { ranges: Vice::Dies(100_000), ..Manners::default() });
    let other = P1Peer::sharing("unrelated", b"unrelated", Manners::default());
    let (_bootstrap, asker) = start_among(Setup::peer(), &[dying.addr, other.addr]);
    let row = find_content(&asker, "here", &content, 1);
    other.add("quite another name", &content);
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    assert_verified(&done, &content);
    let text = format!("b3={}", content_hash(&content));
    assert!(other.asked("6:").iter().any(|search| search.contains(&text)), "{:?}", other.asked("6:"));
    assert!(share_of(&done, other.addr)["bytes"].as_u64() > Some(0), "{done}");
}

/// A real source whose file is written again while it is sent: it refuses the rest, and another brings it.
#[test]
fn a_file_that_changes_while_it_is_sent_is_got_from_another() {
    let mut dice = Dice::new();
    let (content, other) = (dice.bytes(SIZE), dice.bytes(SIZE));
    let setup =
        Setup::peer().shares("file.bin", &content).set("upload_limit", "'2MiB'").set("filemonitor_refresh", "'1h'");
    let changing = start_hashed(setup);
    let steady = P1Peer::sharing("steady.bin", &content, Manners { rate: Some(1 << 20), ..Manners::default() });
    let (_bootstrap, asker) = start_among(Setup::peer(), &[changing.listen(), steady.addr]);
    let text = format!("b3={}", content_hash(&content));
    let id = begin_hit(&asker, &find_content(&asker, &text, &content, 2));
    until("the file is being sent", LIMIT, || {
        share_of(&asker.download(id), changing.listen())["bytes"].as_u64() > Some(0)
    });
    changing.add_file("file.bin", &other);
    steady.change(|manners| manners.rate = None);
    let done = asker.await_download(id, "done");
    assert_verified(&done, &content);
    let share = share_of(&done, changing.listen());
    assert!(share["bytes"].as_u64() < Some(SIZE as u64) && share["error"].is_string(), "{done}");
    changing.rescan();
    await_hashed(&changing);
    assert_eq!(find_content(&asker, "file.bin", &other, 1)["sources"], json!([changing.listen()]));
}

/// The source goes away for good in the middle, by SIGKILL; the other one is enough.
#[test]
fn a_source_that_is_killed_is_survived() {
    let content = Dice::new().bytes(SIZE);
    let setup = || Setup::peer().shares("file.bin", &content).set("upload_limit", "'3MiB'");
    let (mut dying, living) = (start_hashed(setup()), start_hashed(setup()));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[dying.listen(), living.listen()]);
    let dying_addr = dying.listen();
    let id = begin_hit(&asker, &find_content(&asker, "file", &content, 2));
    until("it sends", LIMIT, || share_of(&asker.download(id), dying_addr)["bytes"].as_u64() > Some(0));
    dying.end_by(nix::sys::signal::Signal::SIGKILL);
    let done = asker.await_download(id, "done");
    assert_verified(&done, &content);
    assert!(share_of(&done, living.listen())["bytes"].as_u64() > Some(0), "{done}");
}

/// The only source goes away in the middle and comes back at the same endpoint: what is there is not fetched again.
#[test]
fn what_was_verified_is_not_fetched_again() {
    let content = Dice::new().bytes(SIZE);
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let breath = Arc::new(AtomicUsize::new(SIZE / 2));
    let manners = Manners { ranges: Vice::Exhausts(breath), ..Manners::default() };
    let source = P1Peer::sharing_at(addr, "file", &content, manners);
    let (_bootstrap, asker) = start_among(Setup::peer(), &[addr]);
    let id = begin_hit(&asker, &find_content(&asker, "file", &content, 1));
    let waiting = asker.await_download(id, "retrying");
    let there = waiting["bytes_done"].as_u64().expect("a number");
    assert!(there > GROUP as u64 && waiting["size"] == SIZE, "{waiting}");
    let before = source.asked("8:").len();
    source.change(|manners| *manners = Manners::default());
    asker.call("retry", json!({ "ids": id.to_string() }));
    assert_verified(&asker.await_download(id, "done"), &content);
    let asked = source.asked("8:").split_off(before);
    let bytes: u64 = asked.iter().filter_map(|text| text.split(':').nth(2)?.parse::<u64>().ok()).sum();
    // What came of a group that was not whole does not come again either, unless the reset has taken it back.
    assert!(((SIZE - SIZE / 2) as u64..=SIZE as u64 - there).contains(&bytes), "{there} were there: {asked:?}");
    assert_eq!(source.asked("9:").len(), 1, "the metadata are kept, too");
}

/// The same bytes under two names at two peers: one row, from which both are asked.
#[test]
fn one_content_under_two_names_is_one_row_with_two_sources() {
    let content = Dice::new().bytes(SIZE);
    let setup =
        |name: &str| Setup::peer().shares(name, &content).shares("theme other", name).set("upload_limit", "'3MiB'");
    let (one, two) = (start_hashed(setup("main theme.ogg")), start_hashed(setup("music/theme (copy).ogg")));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[one.listen(), two.listen()]);
    let row = find_content(&asker, "theme", &content, 2);
    let mut names: Vec<&str> = row["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["main theme.ogg", "music/theme (copy).ogg"]);
    let run = pyratectl(&asker, ["--json", "hits"]);
    let hits = run.json();
    let hash = content_hash(&content);
    let shown: Vec<&Value> = hits.as_array().expect("rows").iter().filter(|hit| hit["b3"] == hash.as_str()).collect();
    assert_eq!(shown.len(), 1, "{hits}");
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    assert_verified(&done, &content);
    for source in [&one, &two] {
        assert!(share_of(&done, source.listen())["bytes"].as_u64() >= Some(GROUP as u64), "both gave: {done}");
    }
    let given: u64 =
        done["shares"].as_array().expect("shares").iter().filter_map(|share| share["bytes"].as_u64()).sum();
    assert_eq!(given, SIZE as u64, "each byte counts once: {done}");
}

/// One peer's copy under several names is one source.
#[test]
fn two_names_at_one_peer_are_one_source() {
    let source = start_hashed(Setup::peer().shares("copy one", "the same").shares("copy two", "the same"));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.listen()]);
    let row = find_content(&asker, "copy", b"the same", 1);
    until("both names are shown", LIMIT, || {
        asker.pages("hits", "hits").iter().any(|hit| hit["names"].as_array().map(Vec::len) == Some(2))
    });
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    assert_eq!(saved(&done), b"the same");
}

/// An empty file has a hash like any other.
#[test]
fn an_empty_content_is_verified() {
    let source = start_hashed(Setup::peer().shares("nothing in it", ""));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.listen()]);
    let done = asker.await_download(begin_hit(&asker, &find_content(&asker, "nothing", b"", 1)), "done");
    assert_verified(&done, b"");
}

/// By its hash alone, among the hits remembered; and once more when it is there.
#[test]
fn a_content_is_downloaded_by_its_hash_and_not_twice() {
    let content = Dice::new().bytes(GROUP + 1);
    let source = start_hashed(Setup::peer().shares("file.bin", &content));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.listen()]);
    find_content(&asker, "file", &content, 1);
    let what = format!("b3={}", content_hash(&content));
    let run = pyratectl(&asker, ["--json", "download", &what]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_verified(&run.json()[0], &content);
    let sent = source.status()["bytes_up"].clone();
    let run = pyratectl(&asker, ["--json", "download", &what]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!((&run.json()[0]["already"], &run.json()[0]["path"]), (&json!(true), &asker.download(1)["path"]));
    assert_eq!(source.status()["bytes_up"], sent, "nothing was fetched");
    assert_eq!(relative_files(&asker.downloads_directory()).len(), 1);
}
