//! Manifests that clients give in parts, each until an order names it.

use crate::content::{ManifestReader, ManifestText};
use crate::control::Problem;
use crate::id::{ClientId, ContentHash};
use crate::node::limits::MANIFESTS_GIVEN_MAX;
use std::collections::VecDeque;

/// The oldest first; one for each client.
#[derive(Default)]
pub(in crate::node::download) struct GivenManifests(VecDeque<Given>);

struct Given {
    client: ClientId,
    manifest: State,
}

enum State {
    /// What has come of one that comes in parts.
    Parts {
        text: Vec<u8>,
        reader: Box<ManifestReader>,
    },
    Whole(ManifestText),
}

impl GivenManifests {
    /// Takes the next part. One that begins at 0 replaces what the client has given before.
    pub(super) fn take_part(&mut self, client: ClientId, after: u64, part: &[u8]) -> Result<(), Problem> {
        if after == 0 {
            self.begin(client, State::Parts { text: Vec::new(), reader: Box::default() });
        }
        let given = self.0.iter_mut().find(|given| given.client == client).map(|given| &mut given.manifest);
        let Some(State::Parts { text, reader }) = given else { return Err(Problem::ManifestPartMissing) };
        if text.len() as u64 != after {
            return Err(Problem::ManifestPartMissing);
        }
        if let Err(fault) = reader.push(part) {
            self.forget(client);
            return Err(Problem::BadManifest(fault));
        }
        text.extend_from_slice(part);
        Ok(())
    }

    /// Takes one that was checked before.
    pub(super) fn take_whole(&mut self, client: ClientId, manifest: ManifestText) {
        self.begin(client, State::Whole(manifest));
    }

    fn begin(&mut self, client: ClientId, manifest: State) {
        self.forget(client);
        if self.0.len() >= MANIFESTS_GIVEN_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Given { client, manifest });
    }

    /// The manifest with this hash that a client has given.
    pub(super) fn finish(&mut self, client: ClientId, b3: ContentHash) -> Result<ManifestText, Problem> {
        let at = self.0.iter().position(|given| given.client == client).ok_or(Problem::ManifestNotGiven)?;
        let given = self.0.remove(at).ok_or(Problem::ManifestNotGiven)?;
        let manifest = match given.manifest {
            State::Whole(manifest) => manifest,
            State::Parts { text, reader } => {
                let read = reader.finish().map_err(Problem::BadManifest)?;
                ManifestText { text, b3: read.b3, files: read.files, bytes: read.bytes }
            }
        };
        if manifest.b3 == b3 { Ok(manifest) } else { Err(Problem::ManifestNotGiven) }
    }

    pub(super) fn forget(&mut self, client: ClientId) {
        self.0.retain(|given| given.client != client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{EntryKind, ManifestWriter};

    fn manifest() -> ManifestText {
        let mut writer = ManifestWriter::default();
        let kind = EntryKind::File { size: 7, b3: ContentHash([1; 32]), executable: false };
        ["a", "b/c"].iter().for_each(|path| writer.push(path.as_bytes(), kind).unwrap());
        ManifestText::check(writer.finish().text.to_vec()).unwrap()
    }

    fn give(given: &mut GivenManifests, client: ClientId, text: &[u8]) -> Result<(), Problem> {
        let parts = text.chunks(50).enumerate();
        parts.map(|(at, part)| (at as u64 * 50, part)).try_for_each(|(at, part)| given.take_part(client, at, part))
    }

    #[test]
    fn parts_come_to_a_manifest_once_and_each_client_has_its_own() {
        let (mut given, manifest) = (GivenManifests::default(), manifest());
        for client in [ClientId(1), ClientId(2)] {
            assert_eq!(give(&mut given, client, &manifest.text), Ok(()));
        }
        assert_eq!(given.finish(ClientId(1), manifest.b3), Ok(manifest.clone()));
        assert_eq!(given.finish(ClientId(1), manifest.b3), Err(Problem::ManifestNotGiven), "it was taken");
        assert_eq!(given.finish(ClientId(2), ContentHash([9; 32])), Err(Problem::ManifestNotGiven));
        given.take_whole(ClientId(3), manifest.clone());
        assert_eq!(given.finish(ClientId(3), manifest.b3), Ok(manifest));
    }

    #[test]
    fn what_is_no_manifest_or_has_gaps_is_refused() {
        let (mut given, client, manifest) = (GivenManifests::default(), ClientId(1), manifest());
        assert!(matches!(give(&mut given, client, b"a text that is something else\n"), Err(Problem::BadManifest(_))));
        assert_eq!(given.take_part(client, 50, b"more"), Err(Problem::ManifestPartMissing));
        assert_eq!(given.take_part(client, 0, &manifest.text[..50]), Ok(()));
        assert_eq!(given.take_part(client, 60, &manifest.text[60..]), Err(Problem::ManifestPartMissing));
        assert_eq!(given.take_part(client, 50, &manifest.text[50..90]), Ok(()));
        assert!(matches!(given.finish(client, manifest.b3), Err(Problem::BadManifest(_))), "it was cut");
    }

    #[test]
    fn the_oldest_gives_way() {
        let (mut given, manifest) = (GivenManifests::default(), manifest());
        for client in 0..=MANIFESTS_GIVEN_MAX as u64 {
            assert_eq!(give(&mut given, ClientId(client), &manifest.text), Ok(()));
        }
        assert_eq!(given.finish(ClientId(0), manifest.b3), Err(Problem::ManifestNotGiven));
        assert!(given.finish(ClientId(1), manifest.b3).is_ok());
        given.forget(ClientId(2));
        assert_eq!(given.finish(ClientId(2), manifest.b3), Err(Problem::ManifestNotGiven));
    }
}
