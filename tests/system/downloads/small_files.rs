//! A directory of many small files: what each costs.

use crate::harness::{Setup, await_hashed, pyratectl, relative_files};

const FILES: usize = 150;

#[test]
fn a_small_file_of_a_directory_takes_few_syncs() {
    let numbers = 0..FILES;
    let shares = |setup: Setup, number| setup.shares(format!("small/{number:03}.bin"), format!("{number:04}"));
    let source = numbers.clone().fold(Setup::peer(), shares).start();
    await_hashed(&source);
    // Each sync is reported, and takes a microsecond longer.
    let Some(setup) = Setup::peer().injecting("how often files are synced", None, &["fsync:delay_exit=1"]) else {
        return;
    };
    let asker = setup.start();
    let syncs = || {
        let told = std::fs::read_to_string(asker.home().join("strace")).expect("what strace has seen");
        told.lines().filter(|line| line.contains("fsync(")).count()
    };
    let before = syncs();
    let run = pyratectl(&asker, ["download", &format!("{}/small/", source.listen())]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(relative_files(&asker.downloads_directory()).len(), FILES);
    let (each, all) = (3, syncs() - before);
    assert!(all >= FILES, "each file is synced, and not in {all} calls");
    assert!(all <= each * FILES, "{all} syncs for {FILES} files");
}
