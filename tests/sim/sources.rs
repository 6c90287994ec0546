//! Sources of one file with a vice each: they die, stall, lie, truncate, refuse, forge or trickle, as `p1` peers or as
//! peers of the base protocol, which die of every word of part 2.

use crate::content::{Content, Spoils};
use crate::flows::{Ending, Flow};
use crate::random::Random;
use crate::responses::Metadata;
use crate::rogue::{Answer, Registering, Rogue, Sending};
use pyrate::fault::DiskFault;
use pyrate::id::ContentHash;
use pyrate::name::FileName;
use pyrate::time::Instant;
use pyrate::wire::{Attributes, Listed, Message, Search, SearchResponse};
use std::net::SocketAddr;

/// What is wrong with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vice {
    Honest,
    /// Each response is broken off half-way.
    Dies,
    /// Each response stops half-way, and the connection stays.
    Stalls,
    /// Takes every request and says nothing.
    Mute,
    /// Every so many-th group is wrong.
    Lies(u64),
    /// Half of what was asked for, then FIN.
    Truncates,
    /// A byte more than was asked for.
    Overdoes,
    /// No range is served: only the whole file.
    RefusesRanges,
    /// No metadata are served: the file is not hashed.
    RefusesMetadata,
    /// Hits and metadata say another size.
    ClaimsSize(u64),
    /// Hits and metadata say the hash, and everything served is another file.
    Pretends(Content),
    /// Hits say the hash, and the metadata are of another file.
    ForgesMetadata(Content),
    /// The file is overwritten while it is sent.
    Changes,
    /// Hits are sent in the name of others, with attributes.
    SpeaksFor(SocketAddr),
    /// So many bytes a second.
    Trickles(u64),
    /// Every second request is refused.
    Fickle,
    /// Everything is sent, and the connection stays.
    NeverEnds,
    /// A file is sent only on a connection of its own making, as the client of 2013 does.
    CallsBack,
}

/// A source of one file.
pub(crate) struct Source {
    pub(crate) name: FileName,
    /// What it has, but for its vice.
    pub(crate) content: Content,
    /// It speaks part 2. If not, it dies of it.
    pub(crate) p1: bool,
    pub(crate) vice: Vice,
    registering: Registering,
    asked: u64,
}

impl Source {
    pub(crate) fn new(bootstrap: SocketAddr, name: &FileName, content: Content, p1: bool, vice: Vice) -> Self {
        // What it speaks shows when it is asked.
        let registering = Registering::new(bootstrap, false);
        Self { name: name.clone(), content, p1, vice, registering, asked: 0 }
    }

    /// What a hit says of the file.
    fn attributes(&self) -> Attributes {
        let size = if let Vice::ClaimsSize(size) = self.vice { size } else { self.content.size };
        Attributes { size: Some(size), b3: Some(self.content.b3()), more: false }
    }

    fn metadata(&self) -> Answer {
        let said = Metadata { chain: self.content, b3: self.content.b3(), size: self.content.size, pending: 0 };
        Answer::Metadata(match self.vice {
            Vice::RefusesMetadata => return Answer::Refuse,
            Vice::Mute => return Answer::Silence,
            Vice::ClaimsSize(size) => Metadata { size, ..said },
            Vice::ForgesMetadata(other) | Vice::Pretends(other) => Metadata { chain: other, size: other.size, ..said },
            _ => said,
        })
    }

    /// The bytes of a range, or of the whole file, as its vice has it.
    fn bytes(&self, offset: u64, length: u64) -> Answer {
        let fair = Flow::range(self.content, offset, length);
        let half = length / 2;
        let flow = match self.vice {
            Vice::Mute => return Answer::Silence,
            Vice::Fickle if self.asked.is_multiple_of(2) => return Answer::Refuse,
            Vice::Dies => Flow { length: half, ending: Ending::Reset(DiskFault::Shrank), ..fair },
            Vice::Stalls => Flow { length: half, ending: Ending::Silence, ..fair },
            Vice::NeverEnds => Flow { ending: Ending::Silence, ..fair },
            Vice::Lies(one_in) => Flow { spoils: Spoils::OneIn(one_in), ..fair },
            Vice::Truncates => Flow { length: half, ..fair },
            Vice::Overdoes => Flow { length: length + 1, ..fair },
            Vice::Pretends(other) => Flow { content: other, ..fair },
            Vice::Changes => Flow { spoils: Spoils::From(offset + half), ..fair },
            Vice::Trickles(rate) => Flow { rate: Some(rate), ..fair },
            _ => fair,
        };
        Answer::File(flow)
    }

    fn range(&self, offset: u64, length: u64) -> Answer {
        let size = if let Vice::ClaimsSize(size) = self.vice { size } else { self.content.size };
        if self.vice == Vice::RefusesRanges || offset.saturating_add(length) > size {
            return Answer::Refuse;
        }
        self.bytes(offset, length)
    }

    fn matches(&self, search: &Search) -> bool {
        let by_hash = search.text.strip_prefix(b"b3=").and_then(ContentHash::from_hex);
        let by_name = *search.text == *self.name.as_bytes() || *search.text == *self.name.last_component();
        by_name || (self.p1 && by_hash == Some(self.content.b3()))
    }

    fn answer_search(&self, me: SocketAddr, search: &Search) -> Vec<Sending> {
        if !self.matches(search) || search.requester == me {
            return Vec::new();
        }
        let attributes = (self.p1 && search.id.is_p1()).then(|| self.attributes());
        let file = Listed { name: self.name.clone(), attributes };
        let hit = |responder| {
            let file = file.clone();
            Message::SearchResponse(SearchResponse { id: search.id.clone(), responder, file })
        };
        let mut sendings = vec![(search.requester, vec![hit(me)])];
        if let Vice::SpeaksFor(other) = self.vice {
            sendings.push((search.requester, vec![hit(other)]));
        }
        sendings
    }
}

impl Rogue for Source {
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        self.asked += 1;
        let answer = match message {
            Message::ListFiles { p1: true } | Message::RangeRequest { .. } | Message::MetadataRequest { .. }
                if !self.p1 =>
            {
                Answer::Die
            }
            Message::Search(search) => return (Answer::Close, self.answer_search(me, search)),
            Message::ListFiles { p1 } => {
                let attributes = p1.then(|| self.attributes());
                Answer::List(vec![Listed { name: self.name.clone(), attributes }])
            }
            Message::DownloadRequest { name } if *name == self.name && self.vice == Vice::CallsBack => {
                Answer::CallBack(Flow::whole(self.content))
            }
            Message::DownloadRequest { name } if *name == self.name => self.bytes(0, self.content.size),
            Message::RangeRequest { offset, length, name } if *name == self.name => self.range(*offset, *length),
            Message::MetadataRequest { name } if *name == self.name => self.metadata(),
            Message::FirstContact { .. } if self.p1 => Answer::SpeaksP1,
            Message::FirstContact { .. } | Message::SearchResponse(_) => Answer::Close,
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
