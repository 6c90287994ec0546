//! Which part of the node a message, the end of an exchange, and a [`Step`] are for.

use super::contract::{Action, DialOutcome, Refusal};
use super::dials::{Dial, Purpose};
use super::steps::Step;
use super::{Node, Phase};
use crate::id::ExchangeId;
use crate::time::Instant;
use crate::wire::Message;
use std::net::SocketAddr;

impl Node {
    /// A message came in. Exactly one action answers it, at once or when a worker is free.
    pub(super) fn on_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, message: Message) {
        if !self.config.peer {
            return self.refuse(exchange, Refusal::WrongNode);
        }
        if !matches!(self.phase, Phase::Running) {
            return self.refuse(exchange, Refusal::Leaving);
        }
        match message {
            Message::DownloadRequest { name } => self.on_download_request(now, exchange, from, name),
            Message::ListFiles { p1 } => self.on_list_files(now, exchange, from, p1),
            Message::RangeRequest { offset, length, name } => {
                self.on_range_request(now, exchange, from, (offset, length), name);
            }
            Message::MetadataRequest { name } => self.on_metadata_request(now, exchange, from, name),
            Message::Search(search) => {
                self.actions.push_back(Action::Close { exchange });
                self.on_search(now, exchange, from, search);
            }
            Message::SearchResponse(response) => {
                self.actions.push_back(Action::Close { exchange });
                self.on_search_response(now, from, response);
            }
            Message::FirstContact { requester, .. } => {
                self.actions.push_back(Action::AnswerFirstContact { exchange });
                self.on_announced(now, from, requester);
            }
            Message::Register { .. }
            | Message::RequestPeerList { .. }
            | Message::Unregister { .. }
            | Message::Keepalive { .. } => self.refuse(exchange, Refusal::WrongNode),
        }
    }

    pub(super) fn on_dial_ended(&mut self, now: Instant, exchange: ExchangeId, outcome: DialOutcome) {
        let Some(Dial { to, purpose }) = self.forget_dial(exchange) else {
            log::debug!("an exchange that is not open ended: {exchange:?}");
            return;
        };
        match purpose {
            Purpose::Link(link, errand) => {
                self.on_errand_ended(now, link, errand, exchange, outcome);
                self.steps.push_back(Step::ListEnded);
            }
            Purpose::Unregister => self.on_unregister_ended(exchange),
            Purpose::CallBack(id) => self.on_call_back_ended(now, id, exchange, outcome),
            Purpose::Announcement => self.on_announcement_ended(now, to, &outcome),
            _ => {
                self.weigh_peer(now, to, &outcome);
                match purpose {
                    Purpose::Ring(search, open) => {
                        self.on_ring_dial_ended(search, to, &outcome);
                        self.on_part_dialled(now, Some(open), to, &outcome);
                    }
                    Purpose::Hits(open) => self.on_answer_ended(now, open),
                    Purpose::FirstContact => self.on_contact_dial_ended(now, to, &outcome),
                    Purpose::Newcomer => self.on_newcomer_dial_ended(now, to, &outcome),
                    Purpose::List(search) => self.on_list_ended(now, search, exchange, to, outcome),
                    Purpose::Fetch(download) => self.on_fetch_ended(now, download, exchange, outcome),
                    Purpose::Forward(open) => self.on_forward_ended(now, to, open, &outcome),
                    _ => {}
                }
            }
        }
        self.free_worker(now, exchange);
    }

    /// Carries out what the parts of the node have left to each other.
    pub(super) fn run_steps(&mut self, now: Instant) {
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Listed { is_whole } => {
                    self.seek_among_newcomers(now);
                    self.on_newcomers_listed(now, is_whole);
                }
                Step::ListEnded => self.on_list_errand_ended(now),
                Step::SpeechChanged { peer, before, after } => self.on_speech_changed(peer, before, after),
                Step::Found { found, sought } => self.on_found(now, &found, sought),
                Step::DownloadOver { id } => self.end_seeks(id),
                Step::Granted { exchange } => self.on_granted(now, exchange),
                Step::RequestDropped { exchange } => self.drop_request(exchange),
                Step::HitsDropped { open } => self.on_answer_ended(now, open),
            }
        }
    }
}
