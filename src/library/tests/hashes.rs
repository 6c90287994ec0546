//! Known contents: hashes added and removed with their files, searches for them, and the choice of files to hash.

use super::*;

fn hash(n: u8) -> ContentHash {
    ContentHash([n; 32])
}

/// A file of this content: the same one until the library changes.
fn of_content(library: &Library, b3: ContentHash) -> Option<(FileName, Shared)> {
    let mut after = None;
    while let Some((id, leaf)) = library.index.leaf_of_content(b3, after) {
        if let Some(row) = leaf.find_content(b3, 0).and_then(|at| leaf.row(at)) {
            return Some(row);
        }
        after = Some(id);
    }
    None
}

/// A content whose hash has the same prefix as `hash(n)`.
fn like_hash(n: u8) -> ContentHash {
    let mut bytes = [n; 32];
    bytes[31] ^= 0xff;
    ContentHash(bytes)
}

fn aged(path: &str, size: u64, mtime_ns: i64) -> ScannedFile {
    let meta = FileMeta { size, mtime_ns, ctime_ns: 2, inode: 1, device: 1 };
    ScannedFile { name: name(path), meta, executable: false }
}

/// A library of these files, each with this hash.
fn hashed(files: &[(&str, ContentHash)]) -> Library {
    let mut library = Library::default();
    for (path, b3) in files {
        library.apply(file(path, 1));
        assert!(library.set_b3(&file(path, 1), *b3));
    }
    library.index.check();
    library
}

fn b3_of(library: &Library, path: &str) -> Option<ContentHash> {
    library.all().get(path.as_bytes()).unwrap().b3
}

fn gathered(library: &Library, files_max: usize, slice: usize) -> Vec<String> {
    let mut gather = Gather::new(files_max);
    while library.gather_step(&mut gather, slice) {}
    gather.into_files().into_iter().map(|file| file.name.to_string()).collect()
}

#[test]
fn a_hash_stays_while_the_file_stays_the_same() {
    let original = file("a", 5);
    let changes: [fn(&mut FileMeta); 5] = [
        |meta| meta.size += 1,
        |meta| meta.mtime_ns += 1,
        |meta| meta.ctime_ns += 1,
        |meta| meta.inode += 1,
        |meta| meta.device += 1,
    ];
    for change in changes {
        let mut library = Library::default();
        library.apply(original.clone());
        assert_eq!((b3_of(&library, "a"), library.unhashed()), (None, 1));
        assert!(library.set_b3(&original, hash(1)));
        library.apply(original.clone());
        assert_eq!((b3_of(&library, "a"), library.unhashed()), (Some(hash(1)), 0));
        assert_eq!(library.all().list_after(None, 1)[0].1.b3, Some(hash(1)));

        let mut changed = original.clone();
        change(&mut changed.meta);
        library.apply(changed.clone());
        assert_eq!((b3_of(&library, "a"), library.unhashed()), (None, 1));
        assert_eq!(of_content(&library, hash(1)), None);
        // The hash of its earlier version comes too late.
        assert!(!library.set_b3(&original, hash(1)));
        assert!(library.set_b3(&changed, hash(2)));
        assert_eq!(b3_of(&library, "a"), Some(hash(2)));
        library.index.check();
    }
}

#[test]
fn a_hash_of_a_removed_file_is_refused() {
    let mut library = hashed(&[("a", hash(1)), ("b", hash(2))]);
    assert!(library.remove(b"a"));
    assert!(!library.set_b3(&file("a", 1), hash(1)));
    assert_eq!(of_content(&library, hash(1)), None);
    assert_eq!((library.len(), library.unhashed()), (1, 0));
    // It may be corrected, and is counted once.
    assert!(library.set_b3(&file("b", 1), hash(3)));
    assert_eq!((of_content(&library, hash(2)), library.unhashed()), (None, 0));
    assert_eq!(of_content(&library, hash(3)).unwrap().0, name("b"));
    library.index.check();
}

#[test]
fn a_content_is_found_under_any_of_its_names() {
    let mut library = hashed(&[
        ("x/one", hash(7)),
        ("y/one", like_hash(7)),
        ("a/copy", hash(7)),
        ("b", hash(8)),
        ("c", hash(7)),
        ("d", hash(9)),
        ("e", hash(10)),
    ]);
    let text = format!("b3={}", hash(7));
    assert_eq!(found(&library, &text), ["a/copy", "c", "x/one"]);
    assert_eq!(found(&library, &text.replace("b3=07", "b3=06")), Vec::<String>::new());
    assert_eq!(search(&library, &text, 1, 1), [b"a/copy"]);
    assert_eq!(search(&library, &text, 0, 1).len(), 0);
    let upper = format!("b3={}", like_hash(7).to_string().to_uppercase());
    assert_eq!(found(&library, &upper), ["y/one"]);

    // Any that is left.
    for left in (0..3).rev() {
        let (found, shared) = of_content(&library, hash(7)).unwrap();
        assert_eq!(shared.b3, Some(hash(7)));
        assert!(library.remove(found.as_bytes()));
        library.index.check();
        assert_eq!(search(&library, &text, 9, 1).len(), left);
    }
    assert_eq!(of_content(&library, hash(7)), None);
    assert_eq!(of_content(&library, like_hash(7)).unwrap().0, name("y/one"));
}

#[test]
fn a_content_is_a_better_match_than_a_name_that_looks_like_it() {
    let text = format!("b3={}", hash(7));
    let within = format!("dir/{text}");
    let mut library = hashed(&[(&text, hash(1)), (&within, hash(2)), ("z", hash(7))]);
    assert_eq!(found(&library, &text), ["z", &text, &within]);
    assert_eq!(search(&library, &text, 1, 1), [b"z"]);
    assert_eq!(search(&library, &text, 2, 1), [b"z".as_slice(), text.as_bytes()]);
    // A file that has this name and this content is one hit.
    assert!(library.set_b3(&file(&text, 1), hash(7)));
    assert!(library.set_b3(&file(&within, 1), hash(7)));
    assert_eq!(found(&library, &text), [text.as_str(), &within, "z"]);
}

#[test]
fn a_hash_in_other_text_is_a_term_like_any_other() {
    let text = format!("b3={} of a film", hash(7));
    let library = hashed(&[("film", hash(7)), (&format!("A {text}"), hash(1))]);
    assert_eq!(found(&library, &text), [format!("A {text}")]);
    assert_eq!(Query::parse(text.as_bytes()).content, None);
}

#[test]
fn a_search_for_a_content_returns_the_files_as_they_are_at_its_end() {
    let text = format!("b3={}", hash(7));
    let mut library = hashed(&[("a", hash(7)), ("b", hash(7)), (&text, hash(7)), ("d", hash(1))]);
    let mut cursor = SearchCursor::new(Query::parse(text.as_bytes()), 9);
    assert!(library.all().search_step(&mut cursor, 1));
    library.apply(file("a", 2));
    assert!(library.remove(b"b"));
    // This one still has the name, although its content has changed.
    assert!(library.set_b3(&file(&text, 1), hash(2)));
    while library.all().search_step(&mut cursor, 1) {}
    let hits = cursor.into_hits();
    assert_eq!(hits[0].1.b3, Some(hash(2)));
    assert_eq!(names(hits), [text.as_bytes()]);
}

#[test]
fn a_sweep_removes_the_contents_of_the_files_it_removes() {
    let many: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
    let files: Vec<(&str, ContentHash)> = many.iter().map(|path| (path.as_str(), hash(1))).collect();
    let mut library = hashed(&files);
    assert_eq!(search(&library, format!("b3={}", hash(1)), 100, 7).len(), 50);
    scan(&mut library, [file("07", 1), file("30", 2), file("99", 3)], 3);
    library.index.check();
    assert_eq!((library.len(), library.unhashed()), (3, 2));
    assert_eq!(found(&library, &format!("b3={}", hash(1))), ["07"]);
}

#[test]
fn the_smallest_and_newest_are_hashed_first() {
    let mut library = Library::default();
    let files = [
        aged("huge", 1 << 40, 9_000),
        aged("tiny, old", 1, 10),
        aged("tiny, new", 1, 2_000),
        aged("empty", 0, -5),
        aged("1000 bytes", 1_000, 30),
        aged("600 bytes, newer", 600, 31),
        aged("1024 bytes", 1_024, 5_000),
        aged("a twin", 5, 1),
        aged("b twin", 5, 1),
        aged("largest", u64::MAX, i64::MIN),
    ];
    files.iter().for_each(|file| library.apply(file.clone()));
    let order = [
        "empty",
        "tiny, new",
        "tiny, old",
        "a twin",
        "b twin",
        "600 bytes, newer",
        "1000 bytes",
        "1024 bytes",
        "huge",
        "largest",
    ];
    for files_max in 0..=order.len() + 1 {
        for slice in [1, 3, 1_000] {
            assert_eq!(gathered(&library, files_max, slice), order[..files_max.min(order.len())]);
        }
    }
    // Those that are hashed are left out.
    for file in &files[..9] {
        assert!(library.set_b3(file, hash(3)));
    }
    assert_eq!(gathered(&library, 9, 2), ["largest"]);
    assert!(library.set_b3(&files[9], hash(3)));
    assert_eq!((gathered(&library, 9, 2).len(), library.unhashed()), (0, 0));
}

#[test]
fn a_file_that_cannot_be_hashed_waits_for_the_next_scan() {
    let mut library = library(&["a", "b"]);
    library.set_unhashable(&file("a", 1));
    library.set_unhashable(&file("gone", 1));
    assert_eq!((gathered(&library, 9, 1), library.unhashed()), (vec!["b".to_string()], 2));
    scan(&mut library, [file("a", 1), file("b", 1)], 1);
    assert_eq!(gathered(&library, 9, 1), ["a", "b"]);
    // Known hashes stay, and reports on other files do not count.
    assert!(library.set_b3(&file("a", 1), hash(1)));
    library.set_unhashable(&file("a", 1));
    library.set_unhashable(&file("b", 2));
    assert_eq!(b3_of(&library, "a"), Some(hash(1)));
    assert_eq!((gathered(&library, 9, 1), library.unhashed()), (vec!["b".to_string()], 1));
    // It can still be corrected.
    library.set_unhashable(&file("b", 1));
    assert!(library.set_b3(&file("b", 1), hash(2)));
    assert_eq!(library.unhashed(), 0);
    library.index.check();
}

#[test]
fn a_choice_names_each_file_once_as_it_was_when_visited() {
    let mut library = library(&["a", "b", "c", "d", "e", "f"]);
    let mut gather = Gather::new(9);
    // The first four stand in one leaf.
    assert!(library.gather_step(&mut gather, 1));
    library.apply(file("a", 7));
    assert!(library.remove(b"b") && library.remove(b"e"));
    assert!(library.set_b3(&file("f", 1), hash(1)));
    library.apply(file("aa", 1));
    library.apply(file("g", 1));
    while library.gather_step(&mut gather, 1) {}
    assert!(!library.gather_step(&mut gather, 1), "over is over");
    let files = gather.into_files();
    assert_eq!(files, ["a", "b", "c", "d", "g"].map(|path| file(path, 1)));
    let taken: Vec<bool> = files.iter().map(|file| library.set_b3(file, hash(2))).collect();
    assert_eq!(taken, [false, false, true, true, true]);
    assert_eq!(gathered(&library, 9, 1), ["aa", "a"]);
}

/// A file in a model without index: its version, its hash, and whether it was reported as unhashable.
type Known = BTreeMap<Vec<u8>, (u8, Option<u8>, bool)>;

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<u8>, u8),
    Remove(Vec<u8>),
    Scan(BTreeMap<Vec<u8>, u8>),
    Hashed(Vec<u8>, u8, u8),
    Unhashable(Vec<u8>, u8),
}

/// A file in one of six versions: of three sizes, older or newer.
fn version(path: &[u8], version: u8) -> ScannedFile {
    let (size, mtime_ns) = (u64::from(version % 3) + 1, i64::from(version / 3));
    let meta = FileMeta { size, mtime_ns, ctime_ns: 2, inode: 1, device: 1 };
    ScannedFile { name: name(path), meta, executable: false }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few paths, so that the same are often meant.
    let path = || (0..20u8).prop_map(|n| format!("{n}").into_bytes());
    let step = prop_oneof![
        6 => (path(), 0..6u8).prop_map(|(path, version)| Step::Apply(path, version)),
        1 => path().prop_map(Step::Remove),
        1 => prop::collection::btree_map(path(), 0..6u8, 0..40).prop_map(Step::Scan),
        8 => (path(), 0..6u8, 0..4u8).prop_map(|(path, version, n)| Step::Hashed(path, version, n)),
        2 => (path(), 0..6u8).prop_map(|(path, version)| Step::Unhashable(path, version)),
    ];
    prop::collection::vec(step, 1..100)
}

/// Half of the contents in these tests have hashes with the same prefix.
fn some_hash(n: u8) -> ContentHash {
    if n.is_multiple_of(2) { hash(n) } else { like_hash(n - 1) }
}

fn see(model: &mut Known, path: &[u8], version: u8) {
    let before = model.get(path).copied();
    let b3 = before.filter(|known| known.0 == version).and_then(|known| known.1);
    model.insert(path.to_vec(), (version, b3, false));
}

fn take(library: &mut Library, model: &mut Known, step: &Step) {
    match step {
        Step::Apply(path, seen) => {
            library.apply(version(path, *seen));
            see(model, path, *seen);
        }
        Step::Remove(path) => assert_eq!(library.remove(path), model.remove(path).is_some()),
        Step::Scan(seen) => {
            scan(library, seen.iter().map(|(path, seen)| version(path, *seen)), 3);
            model.retain(|path, _| seen.contains_key(path));
            seen.iter().for_each(|(path, seen)| see(model, path, *seen));
        }
        Step::Hashed(path, read, n) => {
            let known = model.get_mut(path).filter(|known| known.0 == *read);
            assert_eq!(library.set_b3(&version(path, *read), some_hash(*n)), known.is_some());
            if let Some(known) = known {
                known.1 = Some(*n);
            }
        }
        Step::Unhashable(path, read) => {
            library.set_unhashable(&version(path, *read));
            if let Some(known) = model.get_mut(path).filter(|known| known.0 == *read && known.1.is_none()) {
                known.2 = true;
            }
        }
    }
    library.index.check();
}

/// The expected choice of everything: the sizes 2 and 3 count as equal.
fn wanted(model: &Known) -> Vec<Vec<u8>> {
    let mut wanted: Vec<&Vec<u8>> =
        model.iter().filter(|(_, known)| known.1.is_none() && !known.2).map(|(path, _)| path).collect();
    wanted.sort_by_key(|path| (!model[*path].0.is_multiple_of(3), model[*path].0 < 3));
    wanted.into_iter().cloned().collect()
}

proptest! {
    #[test]
    fn the_known_contents_are_those_that_were_reported(steps in steps(), slice in 1..9usize, files_max in 0..12usize) {
        let (mut library, mut model) = (Library::default(), Known::new());
        for step in &steps {
            take(&mut library, &mut model, step);
            let unhashed = model.values().filter(|known| known.1.is_none()).count();
            prop_assert_eq!(library.unhashed(), unhashed as u64);
        }
        for (path, known) in &model {
            prop_assert_eq!(library.all().get(path).unwrap().b3, known.1.map(some_hash));
        }
        for n in 0..4 {
            let holders: Vec<Vec<u8>> =
                model.iter().filter(|(_, known)| known.1 == Some(n)).map(|(path, _)| path.clone()).collect();
            let one = of_content(&library, some_hash(n)).map(|(name, _)| name.as_bytes().to_vec());
            prop_assert_eq!(one.is_some(), !holders.is_empty());
            prop_assert!(one.is_none_or(|one| holders.contains(&one)));
            let text = format!("b3={}", some_hash(n));
            prop_assert_eq!(&search(&library, &text, 100, slice), &holders);
            let first = &holders[..holders.len().min(files_max)];
            prop_assert_eq!(search(&library, &text, files_max, slice), first);
        }
        let all = wanted(&model);
        let first: Vec<String> =
            all[..all.len().min(files_max)].iter().map(|path| name(path).to_string()).collect();
        prop_assert_eq!(gathered(&library, files_max, slice), first);
    }

    #[test]
    fn a_choice_and_a_search_survive_changes(before in steps(), during in steps(), n in 0..4u8) {
        let (mut library, mut model) = (Library::default(), Known::new());
        before.iter().for_each(|step| take(&mut library, &mut model, step));
        let mut gather = Gather::new(usize::MAX);
        let text = format!("b3={}", some_hash(n));
        let mut cursor = SearchCursor::new(Query::parse(text.as_bytes()), usize::MAX);
        let holds = |model: &Known, path: &[u8]| model.get(path).is_some_and(|known| known.1 == Some(n));
        let mut wanted_throughout = wanted(&model);
        let mut held_throughout: Vec<Vec<u8>> = model.keys().filter(|path| holds(&model, path)).cloned().collect();
        for step in &during {
            library.gather_step(&mut gather, 1);
            library.all().search_step(&mut cursor, 1);
            let before = model.clone();
            take(&mut library, &mut model, step);
            let now = wanted(&model);
            wanted_throughout.retain(|path| now.contains(path) && before[path].0 == model[path].0);
            held_throughout.retain(|path| holds(&model, path));
        }
        while library.gather_step(&mut gather, 1) {}
        while library.all().search_step(&mut cursor, 1) {}
        let chosen = gather.into_files();
        let distinct: BTreeSet<&FileName> = chosen.iter().map(|file| &file.name).collect();
        prop_assert_eq!(distinct.len(), chosen.len());
        prop_assert!(wanted_throughout.iter().all(|path| distinct.contains(&name(path))));
        let hits = names(cursor.into_hits());
        let distinct: BTreeSet<&Vec<u8>> = hits.iter().collect();
        prop_assert_eq!(distinct.len(), hits.len());
        prop_assert!(held_throughout.iter().all(|path| distinct.contains(path)));
    }
}
