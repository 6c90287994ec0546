//! Sources of a directory: what they say of it may be false, and so may be what they send.

use crate::content::Content;
use crate::flows::Ending;
use crate::random::Random;
use crate::responses::Metadata;
use crate::rogue::{Answer, Registering, Rogue, Sending};
use crate::sources::{Source, Vice};
use pyrate::content::{EntryKind, ManifestWriter};
use pyrate::id::ContentHash;
use pyrate::name::FileName;
use pyrate::time::Instant;
use pyrate::wire::{Attributes, Listed, Message};
use std::net::SocketAddr;

/// What a source answers to those who ask for a manifest.
#[derive(Debug, Clone)]
pub(crate) enum Described {
    /// It refuses.
    Not,
    /// It names this hash and size, and sends these bytes.
    As { b3: ContentHash, size: u64, bytes: Vec<u8>, ending: Ending },
}

/// A source of a directory that speaks `p1`.
pub(crate) struct DirectorySource {
    registering: Registering,
    /// Ends in `/`.
    directory: FileName,
    files: Vec<Source>,
    described: Described,
    /// Lines of its list.
    listed: Vec<Listed>,
}

impl Described {
    /// Bytes that are what the source says that they are.
    pub(crate) fn by(bytes: Vec<u8>) -> Self {
        let b3 = ContentHash(*blake3::hash(&bytes).as_bytes());
        Self::As { b3, size: bytes.len() as u64, bytes, ending: Ending::Fin }
    }

    /// The true manifest of these files. The paths ascend.
    pub(crate) fn of(files: &[(&str, Content)]) -> Self {
        Self::by(manifest_of(files))
    }
}

/// The manifest of these files. The paths ascend.
pub(crate) fn manifest_of(files: &[(&str, Content)]) -> Vec<u8> {
    let mut writer = ManifestWriter::default();
    for (path, content) in files {
        let kind = EntryKind::File { size: content.size, b3: content.b3(), executable: false };
        writer.push(path.as_bytes(), kind).unwrap();
    }
    writer.finish().text.to_vec()
}

impl DirectorySource {
    /// Files beneath the directory, each with a vice.
    pub(crate) fn new(
        bootstrap: SocketAddr,
        directory: &str,
        files: &[(&str, Content, Vice)],
        described: Described,
    ) -> Self {
        let name = |path: &str| FileName::from_bytes(format!("{directory}{path}").as_bytes()).unwrap();
        let source =
            |(path, content, vice): &(&str, Content, Vice)| Source::new(bootstrap, &name(path), *content, true, *vice);
        let line = |(path, content, _): &(&str, Content, Vice)| Listed {
            name: name(path),
            attributes: Some(Attributes { size: Some(content.size), b3: Some(content.b3()), more: false }),
        };
        Self {
            registering: Registering::new(bootstrap, true),
            directory: FileName::from_bytes(directory.as_bytes()).unwrap(),
            files: files.iter().map(source).collect(),
            described,
            listed: files.iter().map(line).collect(),
        }
    }

    fn describe(&self, wants_text: bool) -> Answer {
        match &self.described {
            Described::Not => Answer::Refuse,
            Described::As { bytes, ending, .. } if wants_text => Answer::Manifest(bytes.clone(), *ending),
            Described::As { b3, size, .. } => {
                Answer::Metadata(Metadata { chain: Content { id: 0, size: *size }, b3: *b3, size: *size, pending: 0 })
            }
        }
    }
}

impl Rogue for DirectorySource {
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        let answer = match message {
            Message::MetadataRequest { name } if *name == self.directory => self.describe(false),
            Message::RangeRequest { name, .. } if *name == self.directory => self.describe(true),
            Message::ListFiles { .. } => Answer::List(self.listed.clone()),
            Message::FirstContact { .. } => Answer::SpeaksP1,
            Message::Search(_) | Message::SearchResponse(_) => Answer::Close,
            Message::DownloadRequest { name }
            | Message::RangeRequest { name, .. }
            | Message::MetadataRequest { name } => {
                let source = self.files.iter_mut().find(|source| source.name == *name);
                return source.map_or((Answer::Refuse, Vec::new()), |source| source.on_request(me, message));
            }
            _ => Answer::Refuse,
        };
        (answer, Vec::new())
    }

    fn next_tick(&self) -> Option<Instant> {
        self.registering.next_tick()
    }

    fn on_tick(&mut self, now: Instant, me: SocketAddr, _: &mut Random) -> Vec<Sending> {
        self.registering.on_tick(now, me)
    }
}
