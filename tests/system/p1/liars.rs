//! Sources that lie, beside one that does not: the download ends whole and proved, the liar is named, and nothing more is
//! asked of it for this content.

use crate::harness::{
    Daemon, Dice, GROUP, Manners, OldBootstrap, P1Peer, Role, Setup, Vice, assert_verified, begin_hit, chaining_values,
    content_hash, find_content, metadata, metadata_of, relative_files, share_of, start_among,
};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Larger than what the honest one sends before the other is asked, too.
const SIZE: usize = 6 * GROUP + 54_321;

/// Bytes a second of an honest source, so that there is something left for the false one to do.
const HONEST_RATE: u64 = 4 << 20;

/// What is said about a content instead of the truth.
type Lie<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// Two sources of one content that behave alike but that the role says which of them is false; and a daemon among them.
struct Twins {
    _bootstrap: OldBootstrap,
    asker: Daemon,
    twins: [P1Peer; 2],
    role: Role,
    content: Vec<u8>,
}

impl Twins {
    fn of(size: usize, role: Role, vices: impl Fn(&[u8], &mut Manners)) -> Self {
        let content = Dice::new().bytes(size);
        let mut manners = Manners { role: role.clone(), rate: Some(HONEST_RATE), ..Manners::default() };
        vices(&content, &mut manners);
        let twins = [(); 2].map(|()| P1Peer::sharing("dir/twin.bin", &content, manners.clone()));
        let (bootstrap, asker) = start_among(Setup::peer(), &twins.each_ref().map(|twin| twin.addr));
        Self { _bootstrap: bootstrap, asker, twins, role, content }
    }

    fn begin(&self) -> u64 {
        begin_hit(&self.asker, &find_content(&self.asker, "twin", &self.content, 2))
    }

    /// The false one, if one was asked already.
    fn liar(&self) -> Option<SocketAddr> {
        let first = self.role.first()?;
        let other = self.twins.iter().map(|twin| twin.addr).find(|addr| *addr != first);
        if matches!(self.role, Role::FirstAsked(..)) { Some(first) } else { other }
    }

    /// Everything that was asked of a source about its file, in order.
    fn asked_of(&self, source: SocketAddr) -> Vec<String> {
        let twin = self.twins.iter().find(|twin| twin.addr == source).expect("one of the two");
        twin.asked("").into_iter().filter(|text| ["4:", "8:", "9:"].iter().any(|code| text.starts_with(code))).collect()
    }
}

/// The download ends whole, and the liar is named in the row and in a notice, and asked for nothing from then on.
fn liar_is_named(twins: &Twins) {
    let mut events = twins.asker.control();
    events.call("events", Value::Null).expect("events come");
    let id = twins.begin();
    let lost = events.notice("a source is lost", |notice| {
        (notice["event"] == "source_lost" && notice["source"]["state"] == "corrupt").then(|| notice.clone())
    });
    let liar = twins.liar().expect("it was asked");
    assert_eq!((&lost["download"], &lost["source"]["addr"]), (&json!(id), &json!(liar)), "{lost}");
    assert!(lost["source"]["error"].is_string(), "with the reason: {lost}");
    let asked = twins.asked_of(liar).len();
    let done = twins.asker.await_download(id, "done");
    assert_verified(&done, &twins.content);
    let share = share_of(&done, liar);
    assert_eq!(share["state"], "corrupt", "{done}");
    let after = twins.asked_of(liar);
    // What was on its way to it when the lie was found may still arrive.
    assert!(after.len() <= asked + 1, "nothing more is asked of it: {after:?}");
    assert_eq!(relative_files(&twins.asker.downloads_directory()).len(), 1, "nothing else is left");
}

#[test]
fn one_wrong_bit_is_found_whether_the_liar_is_asked_first_or_later() {
    for role in [Role::first_asked('8'), Role::later_asked('8')] {
        liar_is_named(&Twins::of(SIZE, role, |_, manners| manners.ranges = Vice::Corrupts(100_000)));
    }
}

/// The bytes are right, and so is the hash; the list of values between them is not.
#[test]
fn chaining_values_that_do_not_give_the_hash_are_found() {
    let wrong_bit = |content: &[u8]| {
        let mut told = metadata(content);
        *told.last_mut().expect("it is not empty") ^= 1;
        told
    };
    let in_another_order = |content: &[u8]| {
        let mut values = chaining_values(content);
        values.swap(0, 1);
        metadata_of(content.len() as u64, &content_hash(content), &values)
    };
    let lies: [&Lie<'_>; 2] = [&wrong_bit, &in_another_order];
    for lie in lies {
        liar_is_named(&Twins::of(SIZE, Role::first_asked('9'), |content, manners| {
            manners.metadata = Vice::Says(lie(content));
        }));
    }
}

/// Metadata that prove themselves, but of another content than the one that was asked for.
#[test]
fn who_has_another_content_by_now_is_left_out_and_is_no_liar() {
    let other = Dice::new().bytes(SIZE);
    let twins = Twins::of(SIZE, Role::first_asked('9'), |_, manners| {
        manners.metadata = Vice::Says(metadata(&other));
    });
    let done = twins.asker.await_download(twins.begin(), "done");
    assert_verified(&done, &twins.content);
    let share = share_of(&done, twins.liar().expect("it was asked"));
    assert_eq!(share["state"], "refused", "{done}");
    assert_eq!(share["error"], "it has another content under this name", "{done}");
}

/// Within the last group the values prove no size: only the bytes do.
#[test]
fn a_false_size_is_found_in_the_last_group() {
    for wrong in [SIZE - 4_321, SIZE + 4_321] {
        liar_is_named(&Twins::of(SIZE, Role::first_asked('9'), |content, manners| {
            let told = metadata_of(wrong as u64, &content_hash(content), &chaining_values(content));
            manners.metadata = Vice::Says(told);
            manners.ranges = Vice::Pads;
        }));
    }
}

/// Ends whole, whatever the false one is taken for.
fn ends_whole(twins: &Twins) {
    let id = twins.begin();
    let done = twins.asker.await_download(id, "done");
    assert_verified(&done, &twins.content);
    assert!(twins.liar().is_some(), "the false one was asked");
}

#[test]
fn metadata_that_make_no_sense_are_got_from_the_other() {
    let hash = |content: &[u8]| content_hash(content);
    let group = |content: &[u8], log2: &str| {
        let told = metadata(content);
        let line = format!("size={}\tb3={}\tgroup={log2}\n", content.len(), hash(content));
        let values = told.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        [line.as_bytes(), &told[values..]].concat()
    };
    let truth = metadata;
    let lies: [(&str, &Lie<'_>); 9] = [
        ("nothing", &|_| Vec::new()),
        ("a line alone", &|content| truth(content)[..truth(content).len() - 3 * 32].to_vec()),
        ("a value less", &|content| truth(content)[..truth(content).len() - 32].to_vec()),
        ("a value more", &|content| [truth(content), vec![7; 32]].concat()),
        ("groups of another size", &|content| group(content, "16")),
        ("groups beyond all sizes", &|content| group(content, "99999999999999999999")),
        ("a line without end", &|_| vec![b'a'; 1 << 20]),
        ("a size beyond all disks", &|content| metadata_of(u64::MAX, &hash(content), &chaining_values(content))),
        ("something else", &|_| b"<html>\n<p>Not found</p>\n".to_vec()),
    ];
    for (what, lie) in lies {
        println!("metadata: {what}");
        ends_whole(&Twins::of(2 * GROUP + 5, Role::first_asked('9'), |content, manners| {
            manners.metadata = Vice::Says(lie(content));
        }));
    }
}
