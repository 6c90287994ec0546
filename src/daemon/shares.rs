//! Further shares: `[[share]]` in the configuration.

use super::tables::{Entry, Field};
use super::value::{ForWhom, Kind, Path, Truth, named, quoted, string};
use crate::audience::Audience;
use crate::name::{COMPONENT_BYTES_MAX, FileName};
use crate::node::contract::ShareNamed;
use std::path::PathBuf;

/// A further share: its files have names that begin with its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedShare {
    /// The directory shared, recursively; a leading `~` is expanded.
    pub path: PathBuf,
    /// What the names of its files begin with: one component, which no other share has.
    pub name: String,
    /// Whether symbolic links in it are followed.
    pub follow_symlinks: bool,
    /// For whom it is.
    pub audience: Audience,
}

impl NamedShare {
    /// For the node. A name that was not checked is none.
    pub(super) fn place(&self) -> Option<ShareNamed> {
        let name = FileName::from_bytes(self.name.as_bytes())?;
        Some(ShareNamed { name, path: Some(self.path.clone()), follow_symlinks: self.follow_symlinks })
    }
}

impl Entry for NamedShare {
    const NAME: &'static str = "share";
    const COUNT_MAX: usize = 64;
    const FIELDS: &'static [Field<Self>] = &[
        Field {
            name: "path",
            set: |share, value| Path::toml(value).map(|path| share.path = path),
            show: |share| Some(Path::show(&share.path)),
        },
        Field {
            name: "name",
            set: |share, value| component(string(value)?).map(|name| share.name = name),
            show: |share| Some(quoted(&share.name)),
        },
        Field {
            name: "follow_symlinks",
            set: |share, value| Truth::toml(value).map(|follows| share.follow_symlinks = follows),
            show: |share| share.follow_symlinks.then(|| Truth::show(&true)),
        },
        Field {
            name: "audience",
            set: |share, value| ForWhom::toml(value).map(|audience| share.audience = audience),
            show: |share| (share.audience != Audience::all()).then(|| ForWhom::show(&share.audience)),
        },
    ];

    fn lacks(&self) -> Option<&'static str> {
        if self.path.as_os_str().is_empty() {
            return Some("path, as in path = \"/data/music\"");
        }
        self.name.is_empty().then_some("name, as in name = \"music\"")
    }
}

/// The name of a share.
fn component(name: &str) -> Result<String, String> {
    let is_component = FileName::from_bytes(name.as_bytes()).is_some() && name.len() <= COMPONENT_BYTES_MAX;
    if !is_component || name.contains('/') || name.starts_with('.') {
        let expected = "expected a directory name without / that does not begin with a dot";
        return Err(format!("{expected}, not {}", named(name)));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tables::Tables;
    use toml::de::DeTable;

    type Shares = Tables<NamedShare>;

    fn read(text: &str) -> Result<Vec<NamedShare>, String> {
        let table = DeTable::parse(text).unwrap();
        Shares::toml(table.get_ref().get("share").unwrap().get_ref())
    }

    #[test]
    fn shares_are_read_from_tables_and_shown_so_that_they_read_back() {
        let text = "[[share]]\npath = \"/data/mu\\\"sic\"\nname = \"music\"\n\n[[share]]\npath = \"~/b\"\nname = \"b \u{e9}\"\n\
                    follow_symlinks = true\naudience = [\"10.0.0.0/8\", \"::1\"]\n";
        let shares = read(text).unwrap();
        let of = |path: &str, name: &str, follow_symlinks| NamedShare {
            path: path.into(),
            name: name.into(),
            follow_symlinks,
            audience: Audience::all(),
        };
        let for_some =
            NamedShare { audience: Audience::of(["::1", "10.0.0.0/8"]).unwrap(), ..of("~/b", "b \u{e9}", true) };
        assert_eq!(shares, [of("/data/mu\"sic", "music", false), for_some]);
        assert_eq!(Shares::word(&Shares::show(&shares)).unwrap(), shares);
        assert_eq!(Shares::word("").unwrap(), []);
    }

    #[test]
    fn what_is_no_share_is_refused_with_what_it_lacks() {
        for (text, problem) in [
            ("share = \"/data\"", "expected tables, each begun by [[share]], not a value of type string"),
            ("share = [\"/data\"]", "expected tables, each begun by [[share]], not"),
            ("[[share]]\npath = \"/a\"", "a [[share]] lacks name"),
            ("[[share]]\nname = \"a\"", "a [[share]] lacks path"),
            ("[[share]]\nname = 7\npath = \"/a\"", "name: expected a string"),
            ("[[share]]\nname = \"a\"\npath = \"\"", "path: expected a path"),
            ("[[share]]\nname = \"a\"\npath = \"/a\"\nfollow_symlinks = 1", "follow_symlinks: expected true or false"),
            ("[[share]]\nname = \"a\"\npath = \"/a\"\naudience = []", "audience: an empty list is for nobody"),
            ("[[share]]\nname = \"a\"\npath = \"/a\"\naudience = \"me\"", "audience: expected \"all\" or a list"),
            ("[[share]]\nname = \"a\"\npath = \"/a\"\nfollow-symlink = true", "did you mean \"follow_symlinks\"?"),
            ("[[share]]\nname = \"a\"\npath = \"/a\"\nsecret = true", "it has path, name, follow_symlinks, audience"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
        for name in ["", ".", "..", ".a", "a/b", "a\\nb"] {
            let said = read(&format!("[[share]]\npath = \"/a\"\nname = \"{name}\"")).unwrap_err();
            assert!(
                said.contains("name: expected a directory name without / that does not begin with a dot"),
                "{name}: {said}"
            );
        }
        assert!(Shares::word("/data").unwrap_err().contains("expected tables as in [{"));
    }
}
