//! Searches for wishes: each goes to one peer, which does not forward it. Their answers are no hits; what a wish has found becomes
//! hits when a user wants to see it.

use super::SearchMachine;
use super::hit::Grouping;
use super::remembered::Wanted;
use super::sending::{SearchDial, dial_search};
use crate::control::RawText;
use crate::id::{QueryId, SearchId, TransferId};
use crate::library::Query;
use crate::node::answer::Answer;
use crate::node::cx::Cx;
use crate::node::cx::exchanges::Purpose;
use crate::node::limits::WISH_FOUND_MAX;
use crate::node::network::Net;
use crate::wire::Search;
use std::net::SocketAddr;

impl SearchMachine {
    /// Asks one peer for a wish. Answers become a [`Step::WishAnswered`](crate::node::cx::Step), for some minutes. Returns whether
    /// it is being sent.
    pub(in crate::node) fn ask_for_wish(
        &mut self,
        net: &mut Net,
        wish: TransferId,
        query: &Query,
        peer: SocketAddr,
    ) -> bool {
        let Some(requester) = net.advertised() else { return false };
        let id = QueryId::p1(net.cx.rng.number());
        let search = Search { id: id.clone(), text: query.sent().into(), requester, ttl: 0 };
        let is_sent = dial_search(net, peer, &search, Purpose::Wish) == SearchDial::Sent;
        if is_sent {
            self.wished.insert(net.cx.now, id, wish);
        }
        is_sent
    }

    pub(super) fn wished_for(&mut self, cx: &Cx, query: &QueryId) -> Option<TransferId> {
        self.wished.expire(cx.now);
        self.wished.download(query)
    }

    /// Whether a search is one that we have made.
    pub(super) fn is_ours(&self, query: &QueryId) -> bool {
        self.searches.is_ours(query) || self.seeks.is_ours(query) || self.wished.is_ours(query)
    }

    /// Makes what a wish has found the rows of a search that is over: of `shown_as`, if that is still remembered.
    pub(in crate::node) fn show_wish(
        &mut self,
        cx: &mut Cx,
        shown_as: Option<SearchId>,
        text: &RawText,
        found: impl Iterator<Item = Answer>,
    ) -> SearchId {
        let id = shown_as.filter(|id| self.remembered.has(*id)).unwrap_or_else(|| {
            let id = self.searches.next_id();
            self.remembered.insert(cx.now, id, Wanted::Text(text.clone()));
            id
        });
        for answer in found {
            // What has no room is shown when other rows have gone.
            let _ = self.hits.take(cx.now, id, Grouping::Content, answer, WISH_FOUND_MAX as u64);
        }
        id
    }
}
