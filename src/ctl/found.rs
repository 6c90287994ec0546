//! `hits` and `searches`: what was found, in which order it is shown, and why nothing was.

use super::Session;
use super::args::Hits;
use super::output::remark;
use super::query::{all_hits, is_all_of_nothing, pages, picked};
use super::rows::{Details, HitsOfAll, bytes_of, is_unverified};
use super::text::name;
use super::values::SortKey;
use super::wording::{Failure, Link, NoHit, Remark};
use crate::control::{
    CallError, ExitCode, HitRow, IdForm, LAST_SEARCH, LinkRow, LinkState, Problem, Request, SearchRow, SearchesReply,
    StatusReply, WholeNames, parse_ids,
};
use std::cmp::Ordering;

/// In which order hits are shown: as they came, without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HitOrder {
    pub(super) key: Option<SortKey>,
    pub(super) reverse: bool,
}

impl HitOrder {
    /// Whether this is the order in which hits come.
    pub(super) fn is_of_arrival(self) -> bool {
        self.key.is_none() && !self.reverse
    }

    /// Sorts hits that are in the order of their ids. Equal ones stay in it; unknown sizes are last in either direction.
    pub(super) fn sort(self, hits: &mut [HitRow]) {
        let directed = |order: Ordering| if self.reverse { order.reverse() } else { order };
        let lower = |hit: &HitRow| String::from_utf8_lossy(hit.name.as_bytes()).to_lowercase();
        match self.key {
            None if self.reverse => hits.reverse(),
            None => {}
            Some(SortKey::Sources) => hits.sort_by(|a, b| directed(b.sources.len().cmp(&a.sources.len()))),
            Some(SortKey::Size) => hits.sort_by(|a, b| match (bytes_of(a), bytes_of(b)) {
                (Some(a), Some(b)) => directed(b.cmp(&a)),
                (a, b) => a.is_none().cmp(&b.is_none()),
            }),
            Some(SortKey::Name) => {
                hits.sort_by_cached_key(|hit| (lower(hit), hit.name.as_bytes().to_vec()));
                if self.reverse {
                    hits.reverse();
                }
            }
        }
    }
}

/// `hits`: a table of those of a search, or of all; or everything that is known of some.
pub(super) fn hits(session: &mut Session, asked: &Hits) -> Result<ExitCode, CallError> {
    let order = HitOrder { key: asked.sort, reverse: asked.reverse };
    let of_any = asked.all || !asked.ids.is_empty();
    let search = asked.search.or((!of_any).then_some(LAST_SEARCH));
    let (mut hits, truncated) = all_hits(session, search)?;
    if let (true, Some(id)) = (hits.is_empty(), asked.search)
        && row_of(session, Some(id))?.is_none()
    {
        return Err(Failure::NoSuchSearch(id).into());
    }
    if !asked.ids.is_empty() && !is_all_of_nothing(&asked.ids, &hits) {
        let chosen = parse_ids(&asked.ids.join(","), IdForm::Beginnings, hits.iter().map(|hit| hit.id));
        let chosen = chosen.map_err(Problem::of_hits)?;
        let mut chosen = picked(hits, &chosen, |hit| hit.id);
        order.sort(&mut chosen);
        session.output.show(&Details(chosen))?;
        return Ok(ExitCode::Done);
    }
    order.sort(&mut hits);
    let shown = HitsOfAll(hits);
    match of_any {
        true => session.output.show(&shown)?,
        false => session.output.show(&shown.0)?,
    }
    let hits = shown.0;
    if hits.is_empty() {
        if session.output.is_text() {
            let row = if of_any { None } else { row_of(session, asked.search).ok().flatten() };
            remark(row.map_or(Remark::NoHit, |row| nothing(session, &row, None)));
        }
        return Ok(ExitCode::NotFound);
    }
    remark_on(session, &hits, truncated, search.is_some());
    Ok(ExitCode::Done)
}

/// What is remarked on hits that are shown, of one search or of several.
pub(super) fn remark_on(session: &Session, hits: &[HitRow], truncated: bool, is_of_one: bool) {
    session.remark_unverified(hits.iter().any(is_unverified));
    if truncated {
        remark(if is_of_one { Remark::HitsOfOneForgotten } else { Remark::HitsForgotten });
    }
}

/// `searches`: those that are remembered.
pub(super) fn searches(session: &mut Session) -> Result<ExitCode, CallError> {
    let rows = all_searches(session)?;
    session.output.show_or_remark(&rows, Remark::NoSearch)?;
    Ok(ExitCode::Done)
}

fn all_searches(session: &mut Session) -> Result<Vec<SearchRow>, CallError> {
    pages(session, 0, |after| Request::Searches { after }, |page: SearchesReply| (page.searches, page.next))
}

/// The row of a search, or of the last one.
fn row_of(session: &mut Session, search: Option<u32>) -> Result<Option<SearchRow>, CallError> {
    let Some(id) = search else { return Ok(all_searches(session)?.pop()) };
    let page: SearchesReply = session.call(&Request::Searches { after: id.saturating_sub(1) })?;
    Ok(page.searches.into_iter().next().filter(|row| row.id == id))
}

/// Why a search that was begun has no hit, and what to try.
pub(super) fn nothing_found(
    session: &mut Session,
    search: u32,
    words: &[u8],
    whole_names: Option<WholeNames>,
) -> Remark {
    match row_of(session, Some(search)) {
        // How long it was waited for is the user's choice.
        Ok(Some(row)) => nothing(session, &SearchRow { running: false, ..row }, whole_names),
        _ => Remark::NoHitFor { words: name(words), why: NoHit::Unknown },
    }
}

fn nothing(session: &mut Session, row: &SearchRow, whole_names: Option<WholeNames>) -> Remark {
    let words = match (&row.text, row.peer) {
        (Some(text), _) => name(text.as_bytes()),
        (None, Some(peer)) => return Remark::EmptyList(peer),
        (None, None) => return Remark::NoHit,
    };
    let Ok(status) = session.call::<StatusReply>(&Request::Status) else {
        return Remark::NoHitFor { words, why: NoHit::Unknown };
    };
    let silent = |link: &&LinkRow| link.state == LinkState::Waiting;
    let why = |error: &Option<String>| error.as_ref().map(|error| name(error.as_bytes()));
    let links: Vec<Link> =
        status.bootstraps.iter().filter(silent).map(|link| (name(link.addr.as_bytes()), why(&link.error))).collect();
    let is_alone = !links.is_empty() && links.len() == status.bootstraps.len();
    let why = match (row.filtered, whole_names) {
        _ if status.peers == 0 => NoHit::NoPeer(if is_alone { links } else { Vec::new() }),
        (1.., _) => NoHit::Filtered(row.filtered),
        _ if row.running => NoHit::Running,
        (0, Some(WholeNames::TooShort)) => NoHit::TooShort,
        (0, Some(WholeNames::TooLong)) => NoHit::TooLong,
        _ if is_alone => NoHit::Down { peers: status.peers, links },
        (0, None) => NoHit::Unknown,
    };
    Remark::NoHitFor { words, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::RawText;

    fn hit(id: u32, name: &str, size: Option<u64>, sources: usize) -> HitRow {
        let sources = (0..sources).map(|n| std::net::SocketAddr::from(([192, 0, 2, 1], n as u16 + 1))).collect();
        HitRow {
            id,
            name: RawText::new(name),
            names: Vec::new(),
            size,
            b3: None,
            sources,
            truncated: false,
            directory: None,
            search: None,
        }
    }

    #[test]
    fn hits_are_sorted_in_both_directions() {
        let hits = [hit(1, "b", Some(5), 1), hit(2, "A", None, 3), hit(3, "c", Some(9), 1), hit(4, "a", Some(5), 2)];
        for (key, reverse, ids) in [
            (None, false, [1, 2, 3, 4]),
            (None, true, [4, 3, 2, 1]),
            (Some(SortKey::Sources), false, [2, 4, 1, 3]),
            (Some(SortKey::Sources), true, [1, 3, 4, 2]),
            (Some(SortKey::Size), false, [3, 1, 4, 2]),
            (Some(SortKey::Size), true, [1, 4, 3, 2]),
            (Some(SortKey::Name), false, [2, 4, 1, 3]),
            (Some(SortKey::Name), true, [3, 1, 4, 2]),
        ] {
            let mut sorted = hits.clone();
            HitOrder { key, reverse }.sort(&mut sorted);
            assert_eq!(sorted.map(|hit| hit.id), ids, "{key:?} {reverse}");
        }
    }
}
