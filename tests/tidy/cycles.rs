//! Which files import which, and the cycles among them.
//!
//! A file imports another when one of its paths (`use` or not) leads there; what a module imports or exports for another one
//! counts as that other one's. Looked at are, folder by folder, its children: a file, or a folder with all that is in it.
//! No child may, directly or over others, import a sibling that imports it back. A folder's `mod.rs` is no child of it: it
//! may import its children, and they may use what it defines. Tests may import anything. Methods that one file adds to a type
//! of another (`impl` blocks) are called without a path and therefore not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The path of a module: `crate` is empty.
type Module = Vec<String>;

/// A path that a file names.
struct Named {
    words: Vec<String>,
    /// The name that it brings, if it stands in a `use`.
    brings: Option<String>,
}

/// How often a name may be imported from where it is imported itself.
const IMPORTS_DEEP_MAX: usize = 8;

/// The modules of a package.
#[derive(Default)]
pub(crate) struct Modules {
    paths: BTreeMap<Module, Vec<Named>>,
}

impl Modules {
    /// Adds a file below `src`.
    pub(crate) fn add(&mut self, path: &Path, text: &str) {
        let mut module: Module =
            path.with_extension("").iter().skip(1).map(|part| part.to_str().unwrap().into()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        self.paths.insert(module, paths(&code(text)));
    }

    /// Each cycle as its folder and the children of that, in order.
    pub(crate) fn cycles(&self) -> BTreeSet<(String, Vec<String>)> {
        let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (module, paths) in &self.paths {
            for target in paths.iter().filter_map(|path| self.target(module, &path.words, IMPORTS_DEEP_MAX)) {
                let shared = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                if shared < module.len() && shared < target.len() {
                    let imports = folders.entry(module[..shared].to_vec()).or_default();
                    imports.entry(module[shared].clone()).or_default().insert(target[shared].clone());
                }
            }
        }
        let of_folder = |(folder, imports): (Module, BTreeMap<String, BTreeSet<String>>)| {
            let name = ["src".to_owned()].into_iter().chain(folder).collect::<Vec<_>>().join("/");
            cycles(&imports).into_iter().map(move |cycle| (name.clone(), cycle)).collect::<Vec<_>>()
        };
        folders.into_iter().flat_map(of_folder).collect()
    }

    /// The module in which that stands to which a path of a module leads; `None` of other crates.
    fn target(&self, from: &Module, path: &[String], deep_max: usize) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path.iter().peekable();
        match path.first()?.as_str() {
            "crate" => at.clear(),
            "self" | "super" => {}
            first if self.has_child(from, first) => {}
            _ => return None,
        }
        while let Some(word) = rest.next_if(|word| matches!(word.as_str(), "crate" | "self" | "super")) {
            if word == "super" {
                at.pop()?;
            }
        }
        for (place, word) in rest.enumerate() {
            if self.has_child(&at, word) {
                at.push(word.clone());
                continue;
            }
            let imported = self.paths.get(&at)?.iter().find(|path| path.brings.as_ref() == Some(word));
            let imported = imported.filter(|_| deep_max > 0 && (place > 0 || at != *from));
            return imported.and_then(|path| self.target(&at, &path.words, deep_max - 1)).or(Some(at));
        }
        Some(at)
    }

    fn has_child(&self, module: &Module, name: &str) -> bool {
        let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
        self.paths.range(child.clone()..).next().is_some_and(|(found, _)| found.starts_with(&child))
    }
}

/// The strongly connected parts of more than one member.
fn cycles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<Vec<String>> {
    let reached = |from: &String| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(next) = left.pop() {
            left.extend(imports.get(next).into_iter().flatten().filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> = imports.keys().map(|name| (name, reached(name))).collect();
    let cycle_of = |name: &String| {
        let back = |other: &&String| all.get(*other).is_some_and(|reached| reached.contains(name));
        all[name].iter().filter(back).cloned().collect::<Vec<_>>()
    };
    imports.keys().map(cycle_of).filter(|cycle| cycle.len() > 1).collect()
}

/// A file without comments, texts and its tests.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let mut code = String::new();
    for line in lines.filter(|line| !line.trim_start().starts_with("//")) {
        // Pieces between quotes; a quote as a character or behind a backslash is none.
        let line = line.replace("'\"'", "").replace("\\\"", "");
        let outside: Vec<&str> = line.split('"').step_by(2).collect();
        code.extend([outside.join(" ").split(" //").next().unwrap_or_default(), "\n"]);
    }
    code
}

/// All paths of two words or more.
fn paths(code: &str) -> Vec<Named> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        let from = &rest[at..];
        let joined = at > 0 && rest[..at].ends_with([':', '.']);
        let end = from.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).unwrap_or(from.len());
        match &from[..end] {
            "use" => {
                let (tree, after) = from[end..].split_once(';').unwrap_or((&from[end..], ""));
                use_tree(&[], &tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut paths);
                rest = after;
                continue;
            }
            path if path.contains("::") && !joined => {
                let words = path.split("::").filter(|word| !word.is_empty()).map(str::to_owned);
                paths.push(Named { words: words.collect(), brings: None });
            }
            _ => {}
        }
        rest = &from[end..];
    }
    paths
}

/// Adds the paths of a `use`: `a::{b, c::d as e}`.
fn use_tree(before: &[String], tree: &str, paths: &mut Vec<Named>) {
    let tree = tree.trim();
    let (path, group) = tree.split_once('{').map_or((tree, None), |(path, group)| (path, Some(group)));
    let (path, alias) = path.split_once(" as ").map_or((path, None), |(path, alias)| (path, Some(alias.to_owned())));
    let words = path.trim().split("::").filter(|word| !word.is_empty() && *word != "*").map(str::to_owned);
    let mut path: Vec<String> = before.iter().cloned().chain(words).collect();
    let Some(group) = group else {
        if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
            path.pop();
        }
        let brings = alias.or_else(|| path.last().cloned()).filter(|_| !tree.ends_with('*'));
        paths.push(Named { words: path, brings });
        return;
    };
    let (mut depth, mut start) = (0, 0);
    let group = group.strip_suffix('}').unwrap_or(group);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    use_tree(&path, &group[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

#[test]
fn cycles_are_found_through_all_forms_of_paths() {
    let files = [
        ("src/lib.rs", "pub mod a;\npub mod b;\npub mod c;\n"),
        // Siblings, one of them through what the parent exports.
        (
            "src/a/mod.rs",
            "mod one;\nmod two;\nmod three;\npub(crate) use two::{Two, Zwei as Deux};\nuse three::Three;\n",
        ),
        ("src/a/one.rs", "use super::{Deux, x::Y};\nuse crate::b::{self, B};\n"),
        ("src/a/two.rs", "// use crate::c::C;\nfn f() { let x = \"crate::c::C\"; super::three::g(x) }\n"),
        ("src/a/three.rs", "use super::one::{\n    A,\n    B as C,\n};\n#[cfg(test)]\nuse crate::c::C;\n"),
        ("src/b.rs", "fn f(c: crate::c::C) {}\n"),
        // A child and its parent, and a parent and its child.
        ("src/c/mod.rs", "mod deep;\npub(crate) struct C;\nuse deep::D;\n"),
        ("src/c/deep.rs", "use super::C;\nuse super::super::a::Two;\n"),
    ];
    let mut modules = Modules::default();
    files.iter().for_each(|(path, text)| modules.add(Path::new(path), text));
    let cycle = |folder: &str, members: &[&str]| (folder.to_owned(), members.iter().map(|m| (*m).to_owned()).collect());
    assert_eq!(
        modules.cycles().into_iter().collect::<Vec<_>>(),
        [cycle("src", &["a", "b", "c"]), cycle("src/a", &["one", "three", "two"])]
    );
    // Without one of its links, there is no cycle.
    modules.add(Path::new("src/c/deep.rs"), "use super::C;\n");
    modules.add(Path::new("src/a/three.rs"), "");
    assert_eq!(modules.cycles().len(), 0);
}
