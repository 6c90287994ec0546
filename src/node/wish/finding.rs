//! Which answers to wishes are new contents.

use super::state::Wish;
use super::{Others, WishMachine};
use crate::audience::Requester;
use crate::control::{EventKind, EventRow, Notice, RawText};
use crate::id::TransferId;
use crate::library::Fit;
use crate::node::answer::Answer;
use crate::node::contract::{FoundFile, FoundState};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::WISH_SAVE_DELAY;

/// What an answer is to a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Novelty {
    New,
    /// It was found before, at this place; the peer is another source.
    Known(usize),
    /// It does not fit, or we have it.
    Unwanted,
}

impl WishMachine {
    /// A peer has answered a search for a wish.
    pub(in crate::node) fn on_answer(&mut self, others: &mut Others, id: TransferId, answer: &Answer) {
        let Some(wish) = self.wishes.get(&id).filter(|wish| wish.is_looking()) else { return };
        let attributes = answer.file.attributes.unwrap_or_default();
        let file = FoundFile {
            name: answer.file.name.clone(),
            size: attributes.size,
            b3: attributes.b3,
            peer: answer.responder,
            state: if wish.download { FoundState::Wanted } else { FoundState::Reported },
        };
        match novelty(others, wish, &file) {
            Novelty::Unwanted => {}
            Novelty::Known(at) => {
                if let Some(known) = self.wishes.get_mut(&id).and_then(|wish| wish.found.get_mut(at)) {
                    // Its bytes do not change: of a content, the name stays.
                    known.b3 = known.b3.or(file.b3);
                    if known.b3.is_some() && known.name == file.name {
                        known.peer = file.peer;
                    }
                }
            }
            Novelty::New => self.take(others, id, file),
        }
    }

    fn take(&mut self, others: &mut Others, id: TransferId, file: FoundFile) {
        let Some(wish) = self.wishes.get_mut(&id).filter(|wish| wish.has_room_for(file.peer)) else { return };
        log::info!(wish = id.0, peer:% = file.peer, name:% = file.name; "a wish has found a file");
        let event = |event: EventRow| EventRow {
            wish: Some(id.0),
            name: RawText::new(file.name.as_bytes()),
            size: file.size,
            b3: file.b3.map(|b3| b3.to_string()),
            peers: vec![file.peer],
            ..event
        };
        others.cx.log_event(id, EventKind::Wish, event);
        others.cx.notify_events(|| Notice::WishFound {
            wish: id.0,
            name: RawText::new(file.name.as_bytes()),
            size: file.size,
            b3: file.b3.map(|b3| b3.to_string()),
            peer: file.peer,
        });
        wish.push(file);
        self.save_soon(others.cx, id);
    }

    /// Has a wish saved with what else is found shortly after.
    pub(super) fn save_soon(&mut self, cx: &mut Cx, id: TransferId) {
        if self.remembering.unsaved.is_empty() {
            cx.wheel.insert(cx.now + WISH_SAVE_DELAY, NodeTimer::WishSave);
        }
        self.remembering.unsaved.insert(id);
    }
}

fn novelty(others: &Others, wish: &Wish, file: &FoundFile) -> Novelty {
    let name = file.name.as_bytes();
    // What is downloaded without being asked for must be what was wished for: peers are not trusted with that.
    if !wish.query.is_answered_by(name, file.b3) || wish.query.fit(name, file.size) != Fit::Fits {
        return Novelty::Unwanted;
    }
    let is_same = |known: &FoundFile| match (known.b3, file.b3) {
        (Some(known), Some(b3)) => known == b3,
        // A peer may report a file before it knows the hash.
        _ => known.peer == file.peer && known.name == file.name && known.size == file.size,
    };
    if let Some(at) = wish.found.iter().position(is_same) {
        return Novelty::Known(at);
    }
    let is_shared = others.share.library().seen_by(Requester::Anybody).has_like(&file.name, file.size, file.b3);
    let is_fetched = || others.download.has_like(&file.name, file.b3, file.peer);
    if is_shared || is_fetched() { Novelty::Unwanted } else { Novelty::New }
}
