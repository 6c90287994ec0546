//! Limits so small that not everybody can be served at once, and the reasons that peers give.

use crate::harness::{
    Daemon, Dice, LIMIT, OldBootstrap, Setup, Stopwatch, await_hashed, call_back_download, fetch, until, wait_for,
};
use std::time::Duration;

/// At 2 KiB a second and shared by ten, this takes more than the minute after which a reader that got less than 16 KiB
/// takes the sender for stalled.
const FILE_BYTES: usize = 14 << 10;

#[test]
fn ten_takers_under_a_small_limit_all_finish_and_nothing_is_sent_twice() {
    let content = Dice::new().bytes(FILE_BYTES);
    let source = Setup::peer().set("upload_limit", "2048").shares("file.bin", &content).start();
    await_hashed(&source);
    let listed = OldBootstrap::listing(&[source.listen()]);
    // Each has the source among its neighbours, though the takers are listed too.
    let taker = || Setup::peer().joins(&[listed.addr()]).set("max_peers", "16").start();
    let takers: Vec<Daemon> = (0..10).map(|_| taker()).collect();
    takers.iter().for_each(|taker| taker.await_neighbour(source.listen()));
    let ids: Vec<u64> = takers.iter().map(|taker| taker.begin_content("file.bin", 1)).collect();
    let watch = Stopwatch::start();
    for (taker, id) in takers.iter().zip(ids) {
        // 70 s at the limit, and the waits of those that are told that the source is busy.
        wait_for("the download is done", Duration::from_secs(240), || {
            let row = taker.download(id);
            assert!(row["state"] != "failed", "{row}");
            (row["state"] == "done" && row["verified"] == true).then_some(())
        });
    }
    let sent = source.status()["bytes_up"].as_u64().expect("a number");
    let useful = 10 * FILE_BYTES as u64;
    assert!(sent <= useful + useful / 10, "{sent} bytes sent for {useful}, in {:?}", watch.elapsed());
}

#[test]
fn clients_that_are_called_back_take_turns_with_the_others() {
    let content = Dice::new().bytes(2 << 10);
    let source = Setup::peer().set("upload_limit", "2048").shares("file.bin", &content).start();
    let peer = source.listen();
    std::thread::scope(|scope| {
        let old = (0..6).map(|_| scope.spawn(|| call_back_download(peer, "file.bin", Duration::ZERO) == content));
        let direct = (0..3).map(|_| scope.spawn(|| fetch(peer, b"file.bin") == content));
        let takers: Vec<_> = old.collect::<Vec<_>>().into_iter().chain(direct).collect();
        until("all have it", LIMIT, || {
            let active = source.status()["uploads_active"].as_u64();
            assert!(active <= Some(3), "{active:?} uploads at once");
            takers.iter().all(|taker| taker.is_finished())
        });
        assert!(takers.into_iter().all(|taker| taker.join().expect("it ends")));
    });
    until("the uploads are over", LIMIT, || source.status()["uploads_active"] == 0);
    assert_eq!(source.status()["bytes_up"], 9 * content.len());
}
