//! What users order of downloads: to begin, follow, pause, resume, retry, cancel and forget them; and the pages on which they see them.
//!
//! An order may concern thousands of downloads. It is carried out in slices, so that it does not hold the loop, and answered
//! when the last slice is done and what it changed is on the disk. Orders are carried out one after the other.

use super::DownloadMachine;
use super::begin::{Wanted, read_output};
use super::part::AfterFault;
use super::remembering::{Answering, Outcome};
use super::source::Source;
use super::state::{Download, Life};
use crate::control::{
    CallId, DownloadRow, DownloadsReply, IdForm, KnownIds, MissingRow, PAGE_ROWS_MAX, Problem, RawText, Selector,
    parse_ids_with_all,
};
use crate::fault::DiskFault;
use crate::id::{ClientId, ContentHash, TransferId};
use crate::link::ContentLink;
use crate::node::contract::Action;
use crate::node::cx::{Cx, Topic};
use crate::node::limits::{ORDER_DOWNLOADS_PER_SLICE, ORDERS_MAX, PAGE_BYTES_MAX};
use crate::node::network::Net;
use crate::node::search::SearchMachine;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// What is to be done with downloads that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Command {
    Pause,
    Resume,
    Retry,
    Cancel,
    Forget,
}

/// What a user has ordered.
#[derive(Debug)]
pub(in crate::node) struct Order {
    left: Left,
    /// The downloads that the answer shows.
    concerned: Vec<TransferId>,
}

/// What of an order is still to be done.
#[derive(Debug)]
enum Left {
    /// The last is next: what waits in the queue is stopped before what is active, and does not take its place.
    Apply { command: Command, ids: Vec<TransferId> },
    /// The first is next.
    Begin { client: ClientId, wanted: VecDeque<Wanted>, output: Option<PathBuf>, single: bool },
}

impl Order {
    pub(super) fn apply(command: Command, ids: Vec<TransferId>) -> Self {
        Self { concerned: ids.clone(), left: Left::Apply { command, ids } }
    }

    pub(super) fn begin(client: ClientId, wanted: Vec<Wanted>, output: Option<PathBuf>) -> Self {
        let single = wanted.len() == 1;
        Self { concerned: Vec::new(), left: Left::Begin { client, wanted: wanted.into(), output, single } }
    }

    /// Downloads that it is still to deal with.
    fn remaining(&self) -> usize {
        match &self.left {
            Left::Apply { ids, .. } => ids.len(),
            Left::Begin { wanted, .. } => wanted.len(),
        }
    }
}

/// An order that takes more than one slice, and who is to be answered.
pub(in crate::node) struct Running {
    client: ClientId,
    call: CallId,
    order: Order,
}

impl DownloadMachine {
    /// Begins downloads.
    pub(in crate::node) fn call_download(
        &mut self,
        net: &mut Net,
        search: &SearchMachine,
        client: ClientId,
        what: &[Selector],
        output: Option<&RawText>,
    ) -> Result<Order, Problem> {
        let (mut wanted, mut counted) = (Vec::new(), (0, 0));
        let has_ids = what.iter().any(|selector| matches!(selector, Selector::Hits(_)));
        // Once for all selectors, since there may be a million.
        let known: KnownIds = search.hits().ids().take_while(|_| has_ids).collect();
        let has_new =
            what.iter().any(|selector| matches!(selector, Selector::NewLink { .. } | Selector::NewManifest { .. }));
        let contents = if has_new { self.known_contents(net.cx) } else { BTreeMap::new() };
        for selector in what {
            if is_begun(&contents, selector) {
                continue;
            }
            wanted.extend(self.read_selector(net, search, (client, &known), selector)?);
            self.check_room_for(search, &wanted, &mut counted)?;
        }
        if wanted.is_empty() && !has_new {
            return Err(Problem::NothingNamed);
        }
        let output = output.map(read_output).transpose()?;
        if output.is_some() {
            // Of one call either everything is begun or nothing.
            let single = wanted.len() == 1;
            for wanted in &wanted {
                self.check_wanted(net.cx, search, wanted, output.as_deref(), single)?;
            }
        }
        Ok(Order::begin(client, wanted, output))
    }

    pub(in crate::node) fn call_change(&self, command: Command, ids: &str) -> Result<Order, Problem> {
        let form = if command == Command::Retry { IdForm::Beginnings } else { IdForm::Whole };
        let applies = |row: &Download| match command {
            Command::Pause | Command::Cancel => !row.life().is_over(),
            Command::Resume => matches!(row.life(), Life::Paused | Life::Blocked { .. }),
            Command::Retry => row.life().may_be_retried(),
            Command::Forget => row.life().is_over(),
        };
        Ok(Order::apply(command, self.read_ids(ids, form, applies, |id| self.may_order(command, id))?))
    }

    /// Carries an order out, as far as one slice goes. Returns the answer if that was all.
    pub(in crate::node) fn take_order(
        &mut self,
        net: &mut Net,
        search: &SearchMachine,
        client: ClientId,
        call: &CallId,
        mut order: Order,
    ) -> Option<Outcome> {
        if self.orders.len() >= ORDERS_MAX {
            return Some(Outcome::Reply(Err(Problem::TooManyOrders(ORDERS_MAX))));
        }
        while self.orders.is_empty() {
            if let Some(outcome) = self.advance_order(net, search, &mut order) {
                return Some(outcome);
            }
            // While the node leaves there are no further slices: all of it is done at once.
            if net.cx.is_running() {
                break;
            }
        }
        self.orders.push_back(Running { client, call: call.clone(), order });
        None
    }

    /// The next slice of the order that is carried out; whom to answer what, if that was the last.
    pub(in crate::node) fn work_on_orders(
        &mut self,
        net: &mut Net,
        search: &SearchMachine,
    ) -> Option<(ClientId, CallId, Outcome)> {
        let mut running = self.orders.pop_front()?;
        let outcome = self.advance_order(net, search, &mut running.order);
        self.drive_downloads(net);
        match outcome {
            None => {
                self.orders.push_front(running);
                None
            }
            Some(outcome) => Some((running.client, running.call, outcome)),
        }
    }

    pub(in crate::node) fn reply(&mut self, cx: &mut Cx, client: ClientId, call: CallId, outcome: Outcome) {
        match outcome {
            Outcome::Reply(outcome) => {
                cx.out.act(Action::Reply { client, call, outcome: outcome.map_err(Into::into) });
            }
            Outcome::Rows(ids) => self.answer_when_recorded(cx, client, call, (Answering::Rows, ids)),
            Outcome::Forgotten(ids) => self.answer_when_recorded(cx, client, call, (Answering::Forgotten, ids)),
        }
    }

    /// The node leaves: says of each order how far it came.
    pub(in crate::node) fn break_off_orders(&mut self, cx: &mut Cx) {
        for Running { client, call, order } in std::mem::take(&mut self.orders) {
            let problem = Problem::OrderBrokenOff { downloads: order.remaining() };
            self.reply(cx, client, call, Outcome::Reply(Err(problem)));
        }
    }

    /// One slice. Returns the answer when the order is carried out, or cannot be any further.
    fn advance_order(&mut self, net: &mut Net, search: &SearchMachine, order: &mut Order) -> Option<Outcome> {
        for _ in 0..ORDER_DOWNLOADS_PER_SLICE {
            match &mut order.left {
                Left::Apply { command, ids } => {
                    let Some(id) = ids.pop() else { break };
                    if self.directories.contains(id) {
                        // What is next is the same for its members.
                        ids.extend(self.order_directory(net.cx, *command, id));
                        continue;
                    }
                    match command {
                        Command::Pause => self.pause_download(net.cx, id),
                        Command::Resume => self.resume_download(net.cx, id),
                        Command::Retry => self.retry_download(net.cx, id),
                        Command::Cancel => {
                            self.cancel_download(net.cx, id);
                            self.release_cancelled(net.cx, id);
                        }
                        Command::Forget => self.forget_download(net.cx, id),
                    }
                }
                Left::Begin { wanted, output, single, .. } => {
                    let Some(next) = wanted.pop_front() else { break };
                    match self.begin_download(net, search, next, output.as_deref(), *single) {
                        Ok(begun) => order.concerned.extend(begun),
                        Err(problem) => return Some(Outcome::Reply(Err(problem))),
                    }
                }
            }
        }
        if order.remaining() > 0 {
            return None;
        }
        order.concerned.sort_unstable();
        order.concerned.dedup();
        if let Left::Begin { client, .. } = order.left {
            self.follow_downloads(net.cx, client, &order.concerned);
        }
        self.start_downloads(net.cx);
        let concerned = std::mem::take(&mut order.concerned);
        Some(match order.left {
            Left::Apply { command: Command::Forget, .. } => Outcome::Forgotten(concerned),
            _ => Outcome::Rows(concerned),
        })
    }

    /// Stops a download and keeps what it has. One that is about to get its final name is stopped if it does not get it.
    pub(super) fn pause_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        if download.is_committing() {
            self.note_order(id, AfterFault::Pause);
        } else if !download.life().is_over() && !matches!(download.life(), Life::Paused) {
            self.set_life(cx, id, Life::Paused);
        }
    }

    pub(super) fn resume_download(&mut self, cx: &mut Cx, id: TransferId) {
        self.note_order(id, AfterFault::Resume);
        let Some(download) = self.downloads.get_mut(id) else { return };
        match download.life() {
            Life::Paused => self.set_life(cx, id, Life::Queued { waited: None }),
            Life::Blocked { fault, .. } => {
                if *fault == DiskFault::NotMounted {
                    // Another filesystem is in use there, and the user wants the download started again on it.
                    download.spec.filesystem = None;
                }
                self.probe_disk(cx, id);
            }
            _ => {}
        }
    }

    /// Has a download try again at once that waits for its sources or for the disk, or has failed. Every source is asked
    /// again, but for those that sent wrong bytes.
    pub(super) fn retry_download(&mut self, cx: &mut Cx, id: TransferId) {
        self.note_order(id, AfterFault::Retry);
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_fetching = download.open().is_some();
        if is_fetching || download.life().may_be_retried() {
            download.sources.iter_mut().for_each(Source::give_another_chance);
            download.checks_failed = 0;
        }
        match download.life() {
            Life::Waiting { .. } | Life::Failed { .. } => {
                // Whoever asks for another attempt wants others to be looked for as well.
                download.seek.next = Some(cx.now);
                download.seek.sought_at = None;
                download.seek.by_name = true;
                self.set_life(cx, id, Life::Queued { waited: None });
                self.probe_target_again(cx, id);
            }
            Life::Blocked { .. } => self.probe_disk(cx, id),
            Life::Active if is_fetching => self.downloads.mark_dirty(id),
            _ => {}
        }
    }

    /// Ends a download and removes its part file. One that is done stays as it is; one that is about to get its final name is
    /// cancelled if it does not get it.
    pub(super) fn cancel_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        let is_over = matches!(download.life(), Life::Done { .. } | Life::Cancelled { .. });
        if download.is_committing() {
            self.note_order(id, AfterFault::Cancel);
        } else if !is_over {
            self.end_download(cx, id, |shown| Life::Cancelled { shown });
        }
    }

    /// Ids as users type them; `all` means those to which the order applies. There may be none: then all that is wanted is so
    /// already.
    pub(super) fn read_ids(
        &self,
        ids: &str,
        form: IdForm,
        applies: impl Fn(&Download) -> bool,
        applies_to_directory: impl Fn(TransferId) -> bool,
    ) -> Result<Vec<TransferId>, Problem> {
        let known = self.downloads.ids().chain(self.directories.iter().map(|(id, _)| id.0)).collect();
        let ids = parse_ids_with_all(ids, form, &known, self.applying(applies, applies_to_directory));
        Ok(ids.map_err(|problem| self.with_advice(problem))?.into_iter().map(TransferId).collect())
    }

    /// What is wrong with ids, and what to do: files of directories have ids too.
    pub(super) fn with_advice(&self, problem: Problem) -> Problem {
        if let Problem::NoSuchId { part } | Problem::NotWhole { part, .. } = &problem
            && let Ok(id) = part.parse()
            && let Some(directory) = self.downloads.get(TransferId(id)).and_then(|row| row.directory)
        {
            return Problem::FileOfDirectory { id, directory: directory.0 };
        }
        problem.of_downloads()
    }

    /// What `all` stands for.
    pub(super) fn applying(
        &self,
        applies: impl Fn(&Download) -> bool,
        applies_to_directory: impl Fn(TransferId) -> bool,
    ) -> impl Iterator<Item = u32> {
        let files = self.downloads.iter().filter(move |(_, row)| row.directory.is_none() && applies(row));
        let directories = self.directories.iter().map(|(id, _)| id).filter(move |id| applies_to_directory(*id));
        files.map(|(id, _)| id).chain(directories).map(|id| id.0)
    }

    /// Reports these downloads to a client from now on, as far as they are unfinished.
    pub(super) fn follow_downloads(&mut self, cx: &mut Cx, client: ClientId, ids: &[TransferId]) {
        for &id in ids {
            let is_unfinished = self.downloads.get(id).is_some_and(|row| !row.life().is_over());
            if is_unfinished || !self.directories.is_over(id) {
                cx.subscriptions.subscribe(Topic::Download(id), client);
            }
        }
    }

    pub(super) fn downloads_reply(&self, cx: &Cx, ids: &[TransferId]) -> DownloadsReply {
        let ids: BTreeSet<TransferId> = ids.iter().copied().collect();
        let places = self.downloads.queued.places();
        let row = |id: TransferId| {
            let row = self.row(cx, id).or_else(|| self.past_row(cx, id))?;
            Some(DownloadRow { place: places.get(&id).copied(), ..row })
        };
        let rows = ids.iter().filter_map(|id| Some((id.0, row(*id)?)));
        let (downloads, next) = page(rows, download_bytes);
        DownloadsReply { downloads, next, ids: ids.iter().map(|id| id.0).collect() }
    }
}

/// Whether a content that is only wanted if it is new was asked for before.
fn is_begun(contents: &BTreeMap<ContentHash, u64>, selector: &Selector) -> bool {
    let (b3, since) = match selector {
        Selector::NewLink { link, since } => (ContentLink::parse(link.as_bytes()).ok().map(|link| link.b3), since),
        Selector::NewManifest { b3, since, .. } => (ContentHash::from_hex(b3.as_bytes()), since),
        _ => return false,
    };
    b3.and_then(|b3| contents.get(&b3)).is_some_and(|begun| begun >= since)
}

/// What a row takes as a line of JSON, at most.
pub(super) fn download_bytes(row: &DownloadRow) -> usize {
    let path = row.path.as_ref().map_or(0, |path| path.as_bytes().len());
    let missing = row.directory.iter().flat_map(|part| &part.missing);
    let message = |row: &MissingRow| row.error.as_ref().map_or(0, |error| error.message.len());
    let missing: usize = missing.map(|row| 500 + message(row) + row.name.as_bytes().len() * TEXT_BLOAT_MAX).sum();
    missing + 500 + (row.name.as_bytes().len() + path) * TEXT_BLOAT_MAX + row.sources.len() * (64 + SHARE_BYTES_MAX)
}

/// What a source's share takes as a line of JSON, at most, roughly.
const SHARE_BYTES_MAX: usize = 300;

/// How much longer a byte of a name may get in JSON: as hex beside its replacement character.
pub(in crate::node) const TEXT_BLOAT_MAX: usize = 6;

/// One page of rows with their ids: within the bounds of rows and bytes, and where to go on if there are more.
pub(in crate::node) fn page<K, R>(
    rows: impl Iterator<Item = (K, R)>,
    row_bytes: impl Fn(&R) -> usize,
) -> (Vec<R>, Option<K>) {
    let (mut taken, mut last, mut bytes) = (Vec::new(), None, 0);
    for (id, row) in rows {
        bytes += row_bytes(&row);
        let full = taken.len() >= PAGE_ROWS_MAX as usize || bytes > PAGE_BYTES_MAX;
        if full && last.is_some() {
            return (taken, last);
        }
        taken.push(row);
        last = Some(id);
    }
    (taken, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_bounds_and_says_where_to_go_on() {
        let rows = |n: u32| (1..=n).map(|id| (id, id));
        assert_eq!(page(rows(0), |_| 1), (vec![], None));
        assert_eq!(page(rows(500), |_| 1).1, None);
        let (first, next) = page(rows(501), |_| 1);
        assert_eq!((first.len(), next), (500, Some(500)));
        let (first, next) = page(rows(9), |_| PAGE_BYTES_MAX / 2);
        assert_eq!((first.len(), next), (2, Some(2)));
        let (first, next) = page(rows(3), |_| PAGE_BYTES_MAX + 1);
        assert_eq!((first.len(), next), (1, Some(1)), "a page is never empty while rows are left");
    }
}
