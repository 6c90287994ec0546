//! Sources that fail, beside one that does not: whatever they do, the download ends whole and proved.

use crate::harness::{
    Dice, GROUP, LIMIT, Manners, P1Peer, Role, Setup, Vice, assert_verified, await_hashed, begin_hit, content_hash,
    find_content, free_port, relative_files, share_of, start_among, start_hashed, until,
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
fn a_source_that_dies_in_the_middle_of_metadata() {
    ends_whole_though(Role::first_asked('9'), |manners| manners.metadata = Vice::Dies(150));
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
