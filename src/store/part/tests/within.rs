//! Part files of files of a directory: the directories on the way to them.

use super::*;
use std::os::unix::fs::symlink;

fn within(base: &Path, path: &str) -> PartRequest {
    towards(Target::Within { directory: base.to_owned(), path: name(path), executable: false })
}

#[test]
fn directories_on_the_way_are_created() {
    let scratch = scratch();
    let part = within(scratch.path(), "d/e/a.txt").ready();
    assert_eq!(part.final_path(), scratch.path().join("d/e/a.txt"));
    assert_eq!(names(&scratch.path().join("d/e")).len(), 1);
    assert_eq!(part.directory().unwrap().0, scratch.path(), "the mount of the directory of downloads counts");
    drop(part);
    let mut part = within(scratch.path(), "d/e/a.txt").ready();
    part.append(b"bytes").unwrap();
    let path = part.commit().run().unwrap().path;
    assert_eq!((path.clone(), fs::read(path).unwrap()), (scratch.path().join("d/e/a.txt"), b"bytes".to_vec()));
    assert_eq!(within(scratch.path(), "d/e/a.txt").fault(), DiskFault::Exists, "no other name is taken instead");
}

#[test]
fn no_symbolic_link_and_no_file_is_a_directory_on_the_way() {
    let (scratch, elsewhere) = (scratch(), scratch());
    symlink(elsewhere.path(), scratch.path().join("link")).unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    fs::create_dir(scratch.path().join("d")).unwrap();
    symlink("..", scratch.path().join("d/up")).unwrap();
    for path in ["link/a", "file/a", "d/up/a", "link/b/c"] {
        assert_eq!(within(scratch.path(), path).fault(), DiskFault::NotDirectory, "{path}");
    }
    for path in ["../a", "d/../../a", "d//a", "/a", "d/./a", "d/a/"] {
        assert_eq!(within(scratch.path(), path).fault(), DiskFault::NotDirectory, "{path}");
    }
    assert_eq!(names(elsewhere.path()), [""; 0]);
    assert_eq!(within(&scratch.path().join("none"), "d/a").fault(), DiskFault::Missing);
    assert!(!scratch.path().join("none").exists(), "it may be on a disk not mounted");
}

#[test]
fn nothing_is_created_on_another_filesystem_than_before() {
    let scratch = scratch();
    let other = FilesystemId { kind: 1, number: 2 };
    assert_eq!(within(scratch.path(), "d/a").on(other).fault(), DiskFault::NotMounted);
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn empty_directories_go_with_what_is_removed() {
    let scratch = scratch();
    drop(within(scratch.path(), "d/e/a.txt").ready());
    drop(within(scratch.path(), "d/b.txt").ready());
    within(scratch.path(), "d/e/a.txt").remove().unwrap();
    assert!(!scratch.path().join("d/e").exists());
    within(scratch.path(), "d/none/a.txt").remove().unwrap();
    within(scratch.path(), "d/b.txt").remove().unwrap();
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn a_directory_can_be_probed() {
    let scratch = scratch();
    let made = scratch.path().join("made/deep");
    assert_eq!(within(&made, "d").probe(), Ok(made.join("d")));
    assert_eq!(names(&made), [""; 0], "nothing but the directory that the user has named");
    fs::create_dir(made.join("d")).unwrap();
    assert_eq!(within(&made, "d").probe(), Ok(made.join("d")));
    fs::write(made.join("file"), "").unwrap();
    symlink("/", made.join("link")).unwrap();
    assert_eq!(within(&made, "file").probe(), Err(DiskFault::Exists));
    assert_eq!(within(&made, "link").probe(), Err(DiskFault::Exists));
}

#[test]
fn directories_without_a_file_are_made_and_nothing_is_followed() {
    let (scratch, elsewhere) = (scratch(), scratch());
    symlink(elsewhere.path(), scratch.path().join("link")).unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    let make = |paths: &[&str]| within(scratch.path(), "d").make_directories(paths.iter().map(name).collect());
    assert_eq!(
        make(&["d", "d/e/f", "d/e", "link/x", "file", "file/y"]),
        Ok(["link/x", "file", "file/y"].map(name).into())
    );
    assert!(scratch.path().join("d/e/f").is_dir());
    assert_eq!(names(elsewhere.path()), [""; 0]);
    for path in ["../a", "d/../../a", "/a"] {
        assert_eq!(make(&[path]), Err(DiskFault::NotDirectory), "{path}");
    }
}

#[test]
fn a_file_is_made_executable_with_its_final_name() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = scratch();
    for (path, executable) in [("d/run", true), ("d/text", false)] {
        let target = Target::Within { directory: scratch.path().to_owned(), path: name(path), executable };
        let mut part = towards(target).ready();
        part.append(b"bytes").unwrap();
        let path = part.commit().run().unwrap().path;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0, executable);
    }
}
