//! The directories in use and their filesystems, saved across restarts, so that an empty mount point is not taken for the
//! share or a directory of downloads.

use super::job::{Device, Done, Key, Lane};
use super::jobs::Jobs;
use super::state_content::StateContent;
use super::state_files::{PLACES_FILE, StateFiles, read};
use crate::control::RawText;
use crate::id::FilesystemId;
use crate::store::{DirectoryMount, KnownMounts, StateDirectory};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PLACES_MAX: usize = 256;

#[derive(Serialize, Deserialize)]
struct Form {
    path: RawText,
    filesystem: String,
    mount_point: RawText,
}

#[derive(Debug, Default)]
pub(super) struct Places {
    known: Arc<KnownMounts>,
}

impl Places {
    pub(super) fn open(state: Option<&StateDirectory>) -> Self {
        Self { known: Arc::new(decode(&read(state, PLACES_FILE))) }
    }

    pub(super) fn known(&self) -> Arc<KnownMounts> {
        Arc::clone(&self.known)
    }

    /// What a directory is on, as far as is known without asking its disk: as the nearest directory in use above it.
    pub(super) fn device_of(&self, directory: &Path) -> Device {
        let known = directory.ancestors().find_map(|above| self.known.get(above));
        known.map_or_else(|| Device::Directory(directory.into()), |mount| Device::Filesystem(mount.filesystem))
    }

    /// Records that a directory is in use, on this filesystem.
    pub(super) fn note(&mut self, path: &Path, mount: DirectoryMount, state: &mut StateFiles, jobs: &mut Jobs) {
        if self.known.get(path) == Some(&mount) {
            return;
        }
        let known = Arc::make_mut(&mut self.known);
        known.insert(path.to_owned(), mount);
        while known.len() > PLACES_MAX {
            let Some(other) = known.keys().find(|other| *other != path).cloned() else { break };
            known.remove(&other);
        }
        state.save(PLACES_FILE, StateContent::Text(encode(&self.known)), jobs);
    }

    /// Records directories that exist and were not in use before: if one is missing at a later start, the configuration is not
    /// wrong.
    pub(super) fn look_for_new(&self, paths: impl IntoIterator<Item = PathBuf>, jobs: &mut Jobs) {
        for path in paths.into_iter().filter(|path| !self.known.contains_key(path)) {
            let (key, found) = (Key::Mount(path.clone()), path.clone());
            let done = move |mount| Done::MountFound(found.clone(), mount);
            let directory = Arc::from(path.as_path());
            jobs.submit_on(Some(&directory), (Lane::Scan, key), done, None, move || DirectoryMount::of(&path).ok());
        }
    }
}

/// Whether a directory was in use by a daemon with this state directory.
pub(crate) fn was_in_use(state_directory: &Path, directory: &Path) -> bool {
    // A daemon that starts also treats an unreadable file as empty.
    let bytes = std::fs::read(state_directory.join(PLACES_FILE)).unwrap_or_default();
    decode(&bytes).contains_key(directory)
}

fn encode(known: &KnownMounts) -> Vec<u8> {
    let text = |path: &Path| RawText::new(path.as_os_str().as_bytes());
    let form = |(path, mount): (&PathBuf, &DirectoryMount)| Form {
        path: text(path),
        filesystem: mount.filesystem.to_string(),
        mount_point: text(&mount.mount_point),
    };
    // Plain data of known shape always has a JSON form.
    serde_json::to_vec(&known.iter().map(form).collect::<Vec<_>>()).unwrap_or_default()
}

/// A damaged file counts as empty.
fn decode(bytes: &[u8]) -> KnownMounts {
    let forms: Vec<Form> = serde_json::from_slice(bytes).unwrap_or_default();
    let path = |text: &RawText| PathBuf::from(OsStr::from_bytes(text.as_bytes()));
    let place = |form: &Form| {
        let filesystem = FilesystemId::parse(&form.filesystem)?;
        Some((path(&form.path), DirectoryMount { filesystem, mount_point: path(&form.mount_point) }))
    };
    forms.iter().filter_map(place).take(PLACES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_with_any_bytes_are_encoded_and_decoded() {
        let mount = |number, at: &[u8]| DirectoryMount {
            filesystem: FilesystemId { kind: u64::MAX, number },
            mount_point: PathBuf::from(OsStr::from_bytes(at)),
        };
        let known = KnownMounts::from([
            (PathBuf::from("/a b/ü"), mount(0, b"/")),
            (PathBuf::from(OsStr::from_bytes(b"/\xff")), mount(7, b"/\xfe")),
        ]);
        assert_eq!(decode(&encode(&known)), known);
        for damaged in [&b""[..], b"[", b"[{}]", br#"[{"path":"/","filesystem":"x","mount_point":"/"}]"#] {
            assert_eq!(decode(damaged), KnownMounts::new());
        }
    }

    #[test]
    fn a_directory_is_on_the_filesystem_of_the_nearest_known_one_above_it() {
        let on = |number| FilesystemId { kind: 1, number };
        let mount = |number| DirectoryMount { filesystem: on(number), mount_point: "/".into() };
        let known = [("/a", 1), ("/a/b", 2)].map(|(path, number)| (PathBuf::from(path), mount(number)));
        let places = Places { known: Arc::new(KnownMounts::from(known)) };
        for (path, number) in [("/a", 1), ("/a/c/d", 1), ("/a/b/c", 2)] {
            assert_eq!(places.device_of(Path::new(path)), Device::Filesystem(on(number)), "{path}");
        }
        assert_eq!(places.device_of(Path::new("/c")), Device::Directory(Path::new("/c").into()));
    }
}
