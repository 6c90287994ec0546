//! What listens at this machine.

use super::*;

#[test]
fn what_listens_at_a_port_of_this_machine_gets_hits_of_a_share_for_some_only_if_it_is_a_peer() {
    let of_us = Audience::of([us().ip().to_string()]).unwrap();
    let mut rig = sharing(Audiences::new(Audience::all(), [("home", of_us)]), FILES);
    let (other, daemon) = (SocketAddr::new(us().ip(), 8_080), SocketAddr::new(us().ip(), 40_001));
    rig.learn_peer(daemon, crate::control::PeerSource::Bootstrap);
    rig.learn_peer(peer(2), crate::control::PeerSource::User);
    let all = vec!["home/song.ogg".to_owned(), "public/song.ogg".to_owned()];
    for (from, of, names) in [
        (source(2), other, &all[1..]),
        (source(2), daemon, &all),
        (SocketAddr::new(us().ip(), 50_000), other, &all),
        (source(2), peer(2), &all[1..]),
    ] {
        rig.pass(Duration::from_secs(30));
        let id = format!("p1-{:016x}", rig.now.as_ms());
        rig.request(from, query(id.as_bytes(), "song", of, 0));
        let heard: Vec<String> = hits(&mut rig).into_iter().flat_map(|(_, names)| names).collect();
        // A requester in the base protocol gets one.
        assert!(!heard.is_empty() && heard.iter().all(|name| names.contains(name)), "{from} {of}: {heard:?}");
        assert_eq!(heard.contains(&all[0]), names.len() == 2, "{from} {of}: {heard:?}");
    }
}
