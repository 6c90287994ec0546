//! A node with shares for some, beside one that has for each requester alone what is for it: whatever a peer asks, both do the
//! same. So nothing that is not for a peer shows itself, in no name, number, mark or refusal.

use super::*;
use crate::id::QueryId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Requesters are these peers; the audiences have any of them.
const PEERS: [u8; 3] = [1, 2, 3];

const NAMES: &str = "(home|work|home!|x)(/(song|letter|d/song|d/e/tune))?";

#[derive(Debug, Clone)]
enum Asked {
    List { p1: bool },
    Named { text: String, which: usize },
    Search { text: String, p1: bool, forwarded: bool },
}

fn asked() -> impl Strategy<Value = Asked> {
    let named = prop_oneof![Just("/".to_owned()), Just(String::new())]
        .prop_flat_map(|end| NAMES.prop_map(move |text| format!("{text}{end}")));
    let text = prop_oneof![
        3 => "song|letter|tune|home|d song|e tune|home/song|song -home|\\*song|song -pyratefilter:size:0\\.\\.1|song -pyratefilter:path:d",
        1 => NAMES,
        1 => "home/(song|letter)|work/song".prop_map(|text| format!("b3={}", b3_of(&scanned(&text, 2)))),
    ];
    prop_oneof![
        any::<bool>().prop_map(|p1| Asked::List { p1 }),
        (named, 0usize..3).prop_map(|(text, which)| Asked::Named { text, which }),
        (text, any::<bool>(), any::<bool>()).prop_map(|(text, p1, forwarded)| Asked::Search { text, p1, forwarded }),
    ]
}

/// Any of the peers, or all.
fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        2 => Just(Audience::all()),
        5 => proptest::sample::subsequence(PEERS.to_vec(), 1..=2)
            .prop_map(|peers| Audience::of(peers.iter().map(|n| peer(*n).ip().to_string())).unwrap()),
    ]
}

/// What a node does for others, with the names that a list would have.
fn done(rig: &mut Rig) -> Vec<String> {
    let orders = std::mem::take(&mut rig.orders);
    let told = orders.into_iter().filter_map(|order| match order {
        Action::SendList { exchange, to, attributes } => {
            let mut rows = Vec::new();
            // As the loop sends it, in pages.
            loop {
                let page = rig.node.library().seen_by(to).list_after(rows.last().map(|(name, _)| name), 2);
                if page.is_empty() {
                    break;
                }
                rows.extend(page);
            }
            Some(format!("list {exchange:?} {attributes} {rows:?}"))
        }
        Action::HashFiles { .. } | Action::StartScan | Action::LookAt { .. } => None,
        order => Some(format!("{order:?}")),
    });
    told.collect()
}

fn rig(audiences: Audiences, files: &BTreeMap<String, (u64, bool)>) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), audiences, ..config() });
    PEERS.into_iter().for_each(|n| rig.learn_peer(peer(n), crate::control::PeerSource::User));
    let file = |(text, (size, _)): (&String, &(u64, bool))| scanned(text, *size);
    scan(&mut rig, files.iter().filter(|(_, (_, is_empty))| !is_empty).map(file).collect(), &[]);
    hash_all(&mut rig);
    let empty: Vec<&str> = files.iter().filter(|(_, (_, is_empty))| *is_empty).map(|(text, _)| text.as_str()).collect();
    // Those that have no hash yet.
    let late = files
        .iter()
        .filter(|(text, (_, is_empty))| !is_empty && text.ends_with("letter"))
        .map(|(text, _)| scanned(text, 1));
    rig.call(Request::Rescan).unwrap();
    let known = files.iter().filter(|(text, (_, is_empty))| !is_empty && !text.ends_with("letter")).map(file);
    let files: Vec<_> = known.chain(late).collect();
    scan(&mut rig, files, &empty);
    rig.orders.clear();
    rig
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_peer_gets_depends_on_what_is_for_others(
        files in proptest::collection::btree_map(NAMES, (1u64..4, proptest::bool::weighted(0.1)), 0..24),
        (main, home, work) in (audience(), audience(), audience()),
        asked in proptest::collection::vec(asked(), 1..24),
        requester in proptest::sample::select(PEERS.to_vec()),
        other in proptest::sample::select(PEERS.to_vec()),
    ) {
        let audiences = Audiences::new(main, [("home", home), ("work", work)]);
        let from: IpAddr = peer(requester).ip();
        let seen = |text: &str| audiences.of(text.as_bytes()).has(from);
        let visible: BTreeMap<_, _> = files.iter().filter(|(text, _)| seen(text)).map(|(text, it)| (text.clone(), *it)).collect();
        let mut real = rig(audiences.clone(), &files);
        let mut twin = rig(Audiences::default(), &visible);
        for (n, asked) in asked.into_iter().enumerate() {
            let from = match asked {
                Asked::Search { forwarded: true, .. } => source(other),
                _ => source(requester),
            };
            let message = match &asked {
                Asked::List { p1 } => Message::ListFiles { p1: *p1 },
                Asked::Named { text, which } => {
                    let all = requests(text);
                    all[which % all.len()].clone()
                }
                Asked::Search { text, p1, .. } => {
                    let id = if *p1 { QueryId::p1(n as u64).as_bytes().to_vec() } else { format!("q{n}").into_bytes() };
                    query(&id, text, peer(requester), 0)
                }
            };
            for rig in [&mut real, &mut twin] {
                rig.pass(Duration::from_secs(30));
                rig.orders.clear();
                rig.request(from, message.clone());
            }
            let (did, expected) = (done(&mut real), done(&mut twin));
            prop_assert_eq!(did, expected, "{:?} of {}", asked, from);
        }
    }
}
