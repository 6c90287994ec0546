//! Peers that the user mistyped.

use super::rig::*;
use crate::control::{ExitCode, Reply, Request};
use crate::fault::DialFault;
use crate::node::contract::Response;
use std::net::SocketAddr;
use std::time::Duration;

/// The peers known.
fn peers(rig: &mut Rig) -> Vec<SocketAddr> {
    let Ok(Reply::Peers(rows)) = rig.call(Request::Peers) else { panic!("peers") };
    rows.into_iter().map(|row| row.addr).collect()
}

/// The user requests the list of a peer that does not answer.
fn list_in_vain(rig: &mut Rig, peer: SocketAddr) {
    rig.call(Request::List { peer }).unwrap();
    let (exchange, to, _) = rig.dial();
    assert_eq!(to, peer);
    rig.fail(exchange, DialFault::Refused);
}

#[test]
fn a_mistyped_peer_is_removed_after_a_time_or_by_the_user() {
    let mut rig = Rig::among(vec![], &[]);
    list_in_vain(&mut rig, peer(7));
    list_in_vain(&mut rig, peer(8));
    assert_eq!(peers(&mut rig), [peer(7), peer(8)]);
    assert!(matches!(rig.call(Request::Forget { peer: peer(7) }), Ok(Reply::Done {})));
    assert_eq!(peers(&mut rig), [peer(8)]);
    let error = rig.call(Request::Forget { peer: peer(7) }).unwrap_err();
    assert_eq!(error.code, ExitCode::NotFound as i32);
    rig.pass(Duration::from_secs(31 * 60));
    assert_eq!(peers(&mut rig), []);
}

#[test]
fn a_peer_that_the_user_named_and_that_has_answered_stays() {
    let mut rig = Rig::among(vec![], &[]);
    rig.call(Request::List { peer: peer(7) }).unwrap();
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::FileList { truncated: false });
    list_in_vain(&mut rig, peer(7));
    rig.pass(Duration::from_secs(31 * 60));
    assert_eq!(peers(&mut rig), [peer(7)]);
}

#[test]
fn a_mistyped_peer_is_removed_whatever_the_dial_errors_and_despite_searches() {
    for fault in [DialFault::Refused, DialFault::TimedOut, DialFault::Unreachable, DialFault::Reset] {
        // It is the only peer, so that searches go to it.
        let mut rig = Rig::among(vec![], &[]);
        rig.call(Request::List { peer: peer(7) }).unwrap();
        let mut attempts = 0;
        for _ in 0..7 {
            rig.search("anything");
            for (exchange, to, _) in rig.dials() {
                assert_eq!(to, peer(7));
                rig.fail(exchange, fault);
                attempts += 1;
            }
            assert_eq!(peers(&mut rig), [peer(7)]);
            rig.pass(Duration::from_secs(4 * 60));
        }
        assert!(attempts > 2, "{attempts} attempts, {fault}");
        rig.pass(Duration::from_secs(3 * 60));
        assert_eq!(peers(&mut rig), [], "{fault}");
    }
}

#[test]
fn the_half_hour_restarts_when_the_user_adds_the_peer_again() {
    let mut rig = Rig::among(vec![], &[]);
    list_in_vain(&mut rig, peer(7));
    rig.pass(Duration::from_secs(20 * 60));
    list_in_vain(&mut rig, peer(7));
    rig.pass(Duration::from_secs(29 * 60));
    assert_eq!(peers(&mut rig), [peer(7)]);
    rig.pass(Duration::from_secs(2 * 60));
    assert_eq!(peers(&mut rig), []);
}
