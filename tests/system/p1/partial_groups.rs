//! Sources that break off in the middle of a group: what they have brought does not come again.

use crate::harness::{
    Daemon, Dice, GROUP, LIMIT, Manners, P1Peer, Role, Setup, Vice, assert_verified, begin_hit, find_content, share_of,
    start_among, wait_for,
};
use serde_json::Value;

/// Bytes that a source sends of each range before it fails.
const BROUGHT: usize = 150_000;

/// Offset and length of each range that a source was asked for.
fn ranges(source: &P1Peer) -> Vec<(usize, usize)> {
    let asked = source.asked("8:").into_iter();
    let number = |field: Option<&str>| field.expect("a field").parse::<usize>().expect("a number");
    let range = |text: String| {
        let mut fields = text.split(':').skip(1);
        (number(fields.next()), number(fields.next()))
    };
    asked.map(range).collect()
}

fn finish(asker: &Daemon, id: u64) -> Value {
    wait_for("the download is done", LIMIT * 6, || {
        let row = asker.download(id);
        let shares = row["shares"].as_array().expect("its sources");
        assert!(shares.iter().all(|share| share["state"] != "corrupt"), "nobody lies: {row}");
        (row["state"] == "done").then_some(row)
    })
}

/// Some by a reset, some by FIN.
#[test]
fn sources_that_all_break_off_in_the_middle_bring_the_whole() {
    let vices = [Vice::Dies(BROUGHT), Vice::Truncates(BROUGHT), Vice::Dies(BROUGHT), Vice::Truncates(BROUGHT)];
    for size in [500_000, GROUP + 77_777] {
        let content = Dice::new().bytes(size);
        let manners = |vice: &Vice| Manners { ranges: vice.clone(), ..Manners::default() };
        let sources = vices.each_ref().map(|vice| P1Peer::sharing("torn.bin", &content, manners(vice)));
        let (_bootstrap, asker) = start_among(Setup::peer(), &sources.each_ref().map(|source| source.addr));
        let id = begin_hit(&asker, &find_content(&asker, "torn", &content, sources.len()));
        let done = finish(&asker, id);
        assert_verified(&done, &content);
        let asked: Vec<_> = sources.iter().flat_map(ranges).collect();
        let sent: usize = asked.iter().map(|(_, length)| (*length).min(BROUGHT)).sum();
        // A reset may take back what lies unread.
        assert!(sent <= size + size / 10, "{sent} bytes sent of {size}: {asked:?}");
        let received = asker.status()["bytes_down"].as_u64().expect("a number");
        assert!(received <= sent as u64, "{received} bytes counted of {sent}");
    }
}

/// What it has sent is right, and it is gone; the other has the rest.
#[test]
fn what_a_liar_has_begun_is_discarded_and_the_honest_source_is_asked_for_all_of_it() {
    let content = Dice::new().bytes(GROUP - 5);
    let role = Role::first_asked('8');
    let ranges_of = |content: &[u8]| Vice::Says(content[..BROUGHT].iter().map(|byte| byte ^ 1).collect());
    let manners = Manners { role: role.clone(), ranges: ranges_of(&content), ..Manners::default() };
    let twins = [(); 2].map(|()| P1Peer::sharing("twin.bin", &content, manners.clone()));
    let (_bootstrap, asker) = start_among(Setup::peer(), &twins.each_ref().map(|twin| twin.addr));
    let id = begin_hit(&asker, &find_content(&asker, "twin", &content, 2));
    let done = finish(&asker, id);
    assert_verified(&done, &content);
    let liar = role.first().expect("it was asked");
    let honest = twins.iter().find(|twin| twin.addr != liar).expect("one of the two");
    let offsets: Vec<usize> = ranges(honest).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [BROUGHT, 0], "the rest, and then all of it at once");
    assert_eq!(share_of(&done, honest.addr)["error"], Value::Null, "{done}");
}

/// The download is paused in the middle of a group, and resumes there.
#[test]
fn what_came_before_a_pause_does_not_come_again() {
    let content = Dice::new().bytes(800_000);
    let source = P1Peer::sharing("long.bin", &content, Manners { rate: Some(400_000), ..Manners::default() });
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.addr]);
    let id = begin_hit(&asker, &find_content(&asker, "long", &content, 1));
    wait_for("some of it is there", LIMIT, || {
        let received = asker.status()["bytes_down"].as_u64().expect("a number");
        (received >= BROUGHT as u64).then_some(())
    });
    asker.call("pause", serde_json::json!({ "ids": id.to_string() }));
    asker.await_download(id, "paused");
    asker.call("resume", serde_json::json!({ "ids": id.to_string() }));
    let done = finish(&asker, id);
    assert_verified(&done, &content);
    let asked = ranges(&source);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].0 >= BROUGHT, "it goes on where it was: {asked:?}");
}
