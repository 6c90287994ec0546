use super::*;
use nix::sys::stat::Mode;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn look(directory: &Path, complete: &[&str], seen: Seen) -> Looked {
    let complete = complete.iter().map(OsString::from).collect();
    Look { directory: directory.to_owned(), complete, seen, dealt_with: Seen::new() }.run().unwrap()
}

fn names(looked: &Looked) -> Vec<&str> {
    let mut names: Vec<&str> = looked.files.iter().map(|file| file.name.to_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn link(rest: &str) -> String {
    format!("pyrate:b3={HASH}{rest}")
}

#[test]
fn a_file_is_taken_when_it_was_closed_or_is_the_same_twice() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.pyrate"), link("")).unwrap();
    fs::write(path("b.pyrate"), "pyrate:b3=af").unwrap();
    fs::write(path("empty.pyrate"), "").unwrap();
    for other in [".pyrate", ".hidden.pyrate", "a.pyrate.added", "a.txt"] {
        fs::write(path(other), link("")).unwrap();
    }
    let first = look(directory.path(), &["a.pyrate", "empty.pyrate"], Seen::new());
    assert_eq!(names(&first), ["a.pyrate"]);
    assert!(!first.has_more, "an empty one is not waited for in a loop");
    fs::write(path("b.pyrate"), link("")).unwrap();
    let second = look(directory.path(), &[], first.seen);
    assert_eq!(names(&second), [""; 0], "neither is as it was");
    assert_eq!(names(&look(directory.path(), &[], second.seen)), ["a.pyrate", "b.pyrate"]);
}

#[test]
fn lines_are_links_comments_or_blank() {
    let text = format!("\n# a comment\r\n  {}\r\n\t\n{}", link("&size=7"), link("&name=%FF"));
    assert_eq!(links(text.as_bytes()), Ok(vec![link("&size=7"), link("&name=%FF")]));
    let many = |count: usize| [link(""), "\n".to_owned()].concat().repeat(count);
    assert_eq!(links(many(LINKS_MAX).as_bytes()).map(|links| links.len()), Ok(LINKS_MAX));
    for (text, fault) in [
        (format!("{}\n\nmagnet:x\n", link("")), DropFault::Line { line: 3, fault: LinkFault::NoScheme }),
        (format!("#\n{}", link("&size=x")), DropFault::Line { line: 2, fault: LinkFault::BadSize }),
        (link("&name=a%2F"), DropFault::NoPeer(1)),
        (many(LINKS_MAX + 1), DropFault::TooMany),
        ("# nothing\n\n".to_owned(), DropFault::NoLink),
        ("\0\u{1b}[2J".to_owned(), DropFault::Line { line: 1, fault: LinkFault::NoScheme }),
    ] {
        assert_eq!(links(text.as_bytes()), Err(fault));
    }
    assert_eq!(links(format!("\u{feff}{}", link("")).as_bytes()), Ok(vec![link("")]), "a byte order mark");
}

#[test]
fn a_saved_manifest_is_taken_under_either_ending() {
    let directory = TempDir::new().unwrap();
    let text = "pyrate-manifest 1\nd empty\nend 1\n";
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    for name in ["a.manifest", "b.c.pyrate", "d.manifest.pyrate"] {
        put(name, text);
    }
    put("cut.manifest", "pyrate-manifest 1\nd empty\n");
    put("later.manifest", "pyrate-manifest 2\nend 0\n");
    put("out.manifest", "pyrate-manifest 1\nd ../x\nend 1\n");
    put("text.manifest", &link(""));
    put("\u{7}.manifest", text);
    put("larger.pyrate", &"#".repeat(LINKS_BYTES_MAX + 1));
    let seen = look(directory.path(), &[], Seen::new()).seen;
    let mut files = look(directory.path(), &[], seen).files;
    files.sort_by(|one, other| one.name.cmp(&other.name));
    let taken = files.into_iter().map(|file| match file.content {
        Ok(DropContent::Manifest { name, manifest }) => {
            assert_eq!(manifest.text, text.as_bytes());
            format!("manifest of {}", String::from_utf8(name).unwrap())
        }
        Ok(DropContent::Links(links)) => format!("{} link", links.len()),
        Err(fault) => fault.to_string(),
    });
    let taken: Vec<String> = taken.collect();
    let says = [
        "directory would have a name that no file can have",
        "manifest of a",
        "manifest of b.c",
        "not a manifest that can be taken: the manifest ends before",
        "manifest of d",
        "larger than 1048576 bytes",
        "has version 2",
        "line 2: the path is not plain and relative",
        "1 link",
    ];
    assert!(taken.len() == says.len() && taken.iter().zip(says).all(|(is, says)| is.contains(says)), "{taken:#?}");
}

#[test]
fn what_is_no_regular_file_is_left_alone_and_one_that_is_too_large_is_set_aside() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("target"), link("")).unwrap();
    symlink(path("target"), path("link.pyrate")).unwrap();
    fs::create_dir(path("directory.pyrate")).unwrap();
    nix::unistd::mkfifo(&path("fifo.pyrate"), Mode::S_IRWXU).unwrap();
    // It grows, and is never the same twice.
    fs::File::create(path("endless.pyrate")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    let all = ["directory.pyrate", "endless.pyrate", "fifo.pyrate", "link.pyrate"];
    let looked = look(directory.path(), &all, Seen::new());
    assert_eq!((names(&looked), looked.seen.len()), (vec!["endless.pyrate"], 0));
    let file = &looked.files[0];
    assert_eq!(file.content, Err(DropFault::TooLarge(FILE_BYTES_MAX)));
    rename(directory.path(), &file.name, file.identity, Verdict::Failed).unwrap();
    assert!(path("endless.pyrate.failed").is_file());
    if !nix::unistd::Uid::effective().is_root() {
        fs::write(path("secret.pyrate"), link("")).unwrap();
        fs::set_permissions(path("secret.pyrate"), fs::Permissions::from_mode(0o0)).unwrap();
        let secret = look(directory.path(), &["secret.pyrate"], Seen::new());
        assert_eq!(secret.files[0].content, Err(DropFault::Unreadable(io::ErrorKind::PermissionDenied)));
    }
}

#[test]
fn thousands_of_files_are_taken_a_few_at_a_time() {
    let directory = TempDir::new().unwrap();
    for number in 0..3_000 {
        fs::write(directory.path().join(format!("{number}.pyrate")), link("")).unwrap();
    }
    let (mut seen, mut taken) = (Seen::new(), 0);
    loop {
        let looked = look(directory.path(), &[], seen);
        assert!(looked.files.len() <= FILES_PER_LOOK_MAX && looked.seen.len() <= FILES_SEEN_MAX);
        taken += looked.files.len();
        for file in &looked.files {
            rename(directory.path(), &file.name, file.identity, Verdict::Added).unwrap();
        }
        if taken > 0 && !looked.has_more {
            break;
        }
        seen = looked.seen;
    }
    assert_eq!(taken, 3_000);
}

#[test]
fn no_file_is_replaced_and_another_one_of_the_name_stays() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (content, to) in [("1", "a.pyrate.added"), ("2", "a.pyrate.added.2")] {
        fs::write(path("a.pyrate"), content).unwrap();
        let identity = Identity::of(&fs::metadata(path("a.pyrate")).unwrap());
        rename(directory.path(), OsStr::new("a.pyrate"), identity, Verdict::Added).unwrap();
        assert_eq!(fs::read_to_string(path(to)).unwrap(), content);
        // It is gone.
        rename(directory.path(), OsStr::new("a.pyrate"), identity, Verdict::Added).unwrap();
    }
    fs::write(path("a.pyrate"), "3").unwrap();
    let identity = Identity::of(&fs::metadata(path("a.pyrate")).unwrap());
    fs::write(path("a.pyrate"), "other").unwrap();
    rename(directory.path(), OsStr::new("a.pyrate"), identity, Verdict::Failed).unwrap();
    assert_eq!(fs::read_to_string(path("a.pyrate")).unwrap(), "other");
}

#[test]
fn a_file_that_could_not_be_renamed_is_not_taken_again_until_it_changes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.pyrate");
    fs::write(&path, link("")).unwrap();
    let dealt_with = Seen::from([("a.pyrate".into(), Identity::of(&fs::metadata(&path).unwrap()))]);
    let again = |dealt_with: &Seen| {
        let complete = BTreeSet::from(["a.pyrate".into()]);
        let look =
            Look { directory: directory.path().into(), complete, seen: Seen::new(), dealt_with: dealt_with.clone() };
        look.run().unwrap()
    };
    let looked = again(&dealt_with);
    assert_eq!((looked.files.len(), &looked.dealt_with), (0, &dealt_with));
    fs::write(&path, link("&size=7")).unwrap();
    assert_eq!((again(&dealt_with).files.len(), again(&dealt_with).dealt_with.len()), (1, 0));
}

#[test]
fn nothing_is_taken_while_as_many_as_are_remembered_could_not_be_renamed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.pyrate");
    fs::write(&path, link("")).unwrap();
    let identity = Identity::of(&fs::metadata(&path).unwrap());
    let taken = |count: usize| {
        let dealt_with = (0..count).map(|number| (format!("{number}.pyrate").into(), identity)).collect();
        let complete = BTreeSet::from(["a.pyrate".into()]);
        Look { directory: directory.path().into(), complete, seen: Seen::new(), dealt_with }.run().unwrap()
    };
    assert_eq!(taken(FILES_SEEN_MAX - 1).files.len(), 1);
    let full = taken(FILES_SEEN_MAX);
    assert!(full.files.is_empty() && !full.has_more && full.seen.contains_key(OsStr::new("a.pyrate")));
}

#[test]
fn a_file_that_comes_at_the_same_moment_is_not_replaced() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    for round in 0..2_000 {
        fs::write(path("a.pyrate"), "ours").unwrap();
        let identity = Identity::of(&fs::metadata(path("a.pyrate")).unwrap());
        let both = std::sync::Barrier::new(2);
        let is_theirs = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                both.wait();
                fs::File::create_new(path("a.pyrate.added")).is_ok()
            });
            both.wait();
            rename(directory.path(), OsStr::new("a.pyrate"), identity, Verdict::Added).unwrap();
            other.join().unwrap()
        });
        let ours = if is_theirs { "a.pyrate.added.2" } else { "a.pyrate.added" };
        assert!(!is_theirs || fs::read(path("a.pyrate.added")).unwrap().is_empty(), "replaced in round {round}");
        assert_eq!(fs::read_to_string(path(ours)).unwrap(), "ours");
        ["a.pyrate.added", "a.pyrate.added.2"].iter().for_each(|name| drop(fs::remove_file(path(name))));
    }
}
