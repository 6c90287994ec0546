//! Directories of peers that lie: in manifests, in lists, and in files. Nothing is saved outside of the target, nothing under the
//! name of another content, and the row says what is missing.

use super::helpers::{assert_clean, minutes, network};
use super::seeds;
use crate::content::Content;
use crate::directory_sources::{Described, DirectorySource, manifest_of};
use crate::flows::Ending;
use crate::host::HostId;
use crate::sources::Vice;
use crate::world::World;
use pyrate::control::{DownloadRow, DownloadState, Request};
use pyrate::fault::DiskFault;
use pyrate::id::ContentHash;
use std::path::PathBuf;

const ONE: Content = Content { id: 1, size: 3_000_000 };
const TWO: Content = Content { id: 2, size: 500 };
const FILES: [(&str, Content); 2] = [("a/one", ONE), ("two", TWO)];

/// A node, and a row of its download of the directory after half an hour.
fn download_of(seed: u64, files: &[(&str, Content, Vice)], described: Described) -> (World, HostId, DownloadRow) {
    let (mut world, bootstrap, nodes) = network(seed, 1);
    let source = DirectorySource::new(world.addr(bootstrap), "trap/", files, described);
    let source = world.add_rogue(source);
    world.let_them_meet();
    world.crash(nodes[0]);
    world.start_watched(nodes[0]);
    let download = world.download_from(nodes[0], source, "trap/");
    world.run_for(minutes(30));
    let row = world.row(nodes[0], download).unwrap();
    (world, nodes[0], row)
}

fn honest<'a>(files: &[(&'a str, Content)]) -> Vec<(&'a str, Content, Vice)> {
    files.iter().map(|(path, content)| (*path, *content, Vice::Honest)).collect()
}

/// The paths of what was saved, beneath the target.
#[track_caller]
fn saved(world: &World, id: HostId) -> Vec<String> {
    let disk = &world.hosts[id.0].disk;
    let beneath = |path: &PathBuf| {
        let rest = path.strip_prefix("/downloads/trap").unwrap_or_else(|_| panic!("{path:?} is outside"));
        rest.to_str().unwrap().to_owned()
    };
    disk.saved_tree.directories.iter().for_each(|path| drop(beneath(path)));
    disk.finished.keys().map(beneath).collect()
}

/// Once it is cancelled nothing is left of what is not complete.
fn assert_cancels(mut world: World, id: HostId, row: &DownloadRow) {
    world.ask(id, Request::Cancel { ids: row.id.to_string() }).unwrap();
    world.run_for(minutes(3));
    assert_clean(&world, id);
}

#[test]
fn a_manifest_that_is_none_is_not_used_and_the_list_is() {
    let true_one = manifest_of(&FILES);
    let b3 = ContentHash(*blake3::hash(&true_one).as_bytes());
    let size = true_one.len() as u64;
    let as_told = |bytes: Vec<u8>, ending| Described::As { b3, size, bytes, ending };
    let line = |path: &str| format!("f {} {} {path}", TWO.size, TWO.b3());
    let lines = |lines: &[String]| {
        let mut text = "pyrate-manifest 1\n".to_owned();
        lines.iter().for_each(|line| text.extend([line, "\n"]));
        Described::by(format!("{text}end {}\n", lines.len()).into_bytes())
    };
    let half = true_one[..true_one.len() / 2].to_vec();
    let mut spoilt = true_one.clone();
    let last = spoilt.len() - 40;
    spoilt[last] ^= 1;
    let longer = [&true_one[..], b"more\n"].concat();
    let traps = [
        ("none", Described::Not),
        ("cut", as_told(half.clone(), Ending::Fin)),
        ("broken off", as_told(half, Ending::Reset(DiskFault::Shrank))),
        ("spoilt", as_told(spoilt, Ending::Fin)),
        ("longer", as_told(longer, Ending::Fin)),
        ("empty", as_told(Vec::new(), Ending::Fin)),
        ("huge", Described::As { b3, size: 1 << 40, bytes: true_one.clone(), ending: Ending::Fin }),
        ("another", Described::As { b3: TWO.b3(), size, bytes: true_one.clone(), ending: Ending::Fin }),
        ("no manifest", Described::by(b"#!/bin/sh\nrm -rf /\n".to_vec())),
        ("of a later version", Described::by(b"pyrate-manifest 2\nend 0\n".to_vec())),
        ("up", lines(&[line("../two")])),
        ("up at the end", lines(&[line("a/..")])),
        ("in between", lines(&[line("a/../../two")])),
        ("absolute", lines(&[line("/etc/passwd")])),
        ("twice", lines(&[line("two"), line("two")])),
        ("beneath a file", lines(&[line("two"), line("two/two")])),
        ("not in order", lines(&[line("two"), line("one")])),
        ("too many", Described::by(b"pyrate-manifest 1\nend 7\n".to_vec())),
    ];
    for seed in seeds(&[1, 2]) {
        for (trap, described) in &traps {
            let (world, id, row) = download_of(seed, &honest(&FILES), described.clone());
            println!("{trap}: {:?} {:?}", row.state, row.error);
            assert_eq!(row.state, DownloadState::Done, "PYRATE_SIM_SEED={seed}: {trap}: {row:?}");
            assert_eq!(row.directory.unwrap().manifest, None, "PYRATE_SIM_SEED={seed}: {trap}");
            assert_eq!(saved(&world, id), ["a/one", "two"], "PYRATE_SIM_SEED={seed}: {trap}");
            assert_clean(&world, id);
        }
    }
}

#[test]
fn names_that_lead_elsewhere_are_left_out_and_told() {
    let bad = ["../evil", "a/../../evil", "/evil", "a//evil", "a/./evil", "a/one/evil"];
    for seed in seeds(&[1, 2]) {
        for name in bad {
            let files = [honest(&FILES), vec![(name, TWO, Vice::Honest)]].concat();
            let (world, id, row) = download_of(seed, &files, Described::Not);
            println!("{name}: {:?} {:?}", row.state, row.error);
            let part = row.directory.as_ref().unwrap();
            assert_eq!(row.state, DownloadState::Failed, "PYRATE_SIM_SEED={seed}: {name}: {row:?}");
            let missing: Vec<_> = part.missing.iter().map(|row| row.name.as_bytes()).collect();
            assert_eq!(missing, [format!("trap/{name}").as_bytes()], "PYRATE_SIM_SEED={seed}");
            assert_eq!((part.files, part.files_done, part.files_missing), (3, 2, 1), "PYRATE_SIM_SEED={seed}");
            assert_eq!(saved(&world, id), ["a/one", "two"], "PYRATE_SIM_SEED={seed}: {name}");
            assert_cancels(world, id, &row);
        }
        // Hidden names become others, of which each is for one file.
        let hidden = [(".h/two", TWO), ("_.h/two", ONE)];
        for described in [Described::of(&hidden), Described::Not] {
            let (world, id, row) = download_of(seed, &honest(&hidden), described);
            assert_eq!(row.state, DownloadState::Failed, "PYRATE_SIM_SEED={seed}: {row:?}");
            assert_eq!(saved(&world, id), ["_.h/two"], "PYRATE_SIM_SEED={seed}");
            assert!(world.hosts[id.0].disk.has_finished(TWO), "PYRATE_SIM_SEED={seed}: the first has the name");
            assert_cancels(world, id, &row);
        }
    }
}

#[test]
fn files_that_are_not_what_the_manifest_says_are_missing_and_told() {
    let other = Content { id: 66, size: ONE.size };
    let vices = [
        Vice::Pretends(other),
        Vice::ForgesMetadata(other),
        Vice::Lies(1),
        Vice::ClaimsSize(ONE.size + 1),
        Vice::Mute,
        Vice::Truncates,
        Vice::RefusesMetadata,
        Vice::Dies,
        Vice::Changes,
        Vice::NeverEnds,
    ];
    for seed in seeds(&[1, 2]) {
        for vice in vices {
            let files = [("a/one", ONE, vice), ("two", TWO, Vice::Honest)];
            let (world, id, row) = download_of(seed, &files, Described::of(&FILES));
            let part = row.directory.as_ref().unwrap();
            println!("{vice:?}: {:?} {:?}", row.state, part.missing);
            match row.state {
                DownloadState::Done => {
                    assert!(world.hosts[id.0].disk.has_finished(ONE), "PYRATE_SIM_SEED={seed}: {vice:?}")
                }
                _ => {
                    assert_eq!(saved(&world, id), ["two"], "PYRATE_SIM_SEED={seed}: {vice:?}");
                    assert_eq!((part.files_done, part.files), (1, 2), "PYRATE_SIM_SEED={seed}: {vice:?}: {row:?}");
                    let is_told = row.state == DownloadState::Active || part.missing.len() == 1;
                    assert!(is_told, "PYRATE_SIM_SEED={seed}: {vice:?}: {row:?}");
                }
            }
            assert_cancels(world, id, &row);
        }
    }
}
