//! What is known of the daemon, what is selected, and what is being typed. Changes by [`News`] and by keys (`commands`); knows no
//! socket, terminal or clock.

mod commands;
mod lists;
mod rates;
mod uploads;

pub(super) use commands::Ask;
pub(super) use lists::{OurSearch, PeerSearch, PeerSearches, Progress, Transfers};
pub(super) use rates::Rates;
pub(super) use uploads::{Stage, Upload, Uploads};

use crate::control::{
    CallError, DownloadRow, DownloadsReply, MetricsReply, Notice, PeerRow, SearchStarted, UploadsReply, WholeNames,
};
use crate::ctl::download::state_of;
use crate::ctl::rows::Order;
use crate::ctl::wording::Remark;
use std::time::Duration;

/// What the loop reports.
#[derive(Debug)]
pub(super) enum News {
    Metrics(Box<MetricsReply>),
    Page {
        after: u32,
        page: DownloadsReply,
    },
    Peers(Vec<PeerRow>),
    /// The page that the model was to ask for, and the date.
    Uploads {
        page: UploadsReply,
        epoch_s: u64,
    },
    Notice(Notice),
    SearchStarted {
        nth: u32,
        started: SearchStarted,
    },
    SearchRefused {
        nth: u32,
        error: CallError,
    },
    /// The downloads that an order or a wish of the user concerned.
    Ordered(Order, DownloadsReply),
    Wished(DownloadsReply),
    /// Another call of the user was refused.
    Refused(CallError),
    Gone(CallError),
    /// A daemon is there again.
    Back,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pane {
    Transfers,
    Uploads,
    Peers,
    Searches,
    Hits,
}

impl Pane {
    pub(super) const ALL: [Self; 5] = [Self::Transfers, Self::Uploads, Self::Peers, Self::Searches, Self::Hits];
}

/// What keys are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Watching,
    /// The text of a search is typed.
    Typing(String),
    /// Whether to cancel this download.
    Confirming(u32),
    Help,
}

#[derive(Debug)]
pub(super) struct Model {
    /// Why there is no daemon.
    pub(super) gone: Option<CallError>,
    pub(super) metrics: Option<Box<MetricsReply>>,
    pub(super) rates: Rates,
    pub(super) transfers: Transfers,
    pub(super) uploads: Uploads,
    pub(super) peers: Vec<PeerRow>,
    pub(super) searches: PeerSearches,
    pub(super) ours: Option<OurSearch>,
    pub(super) pane: Pane,
    pub(super) mode: Mode,
    /// The outcome of what the user did last.
    pub(super) remark: Option<String>,
    /// How long the daemon has owed an answer, if that is long.
    pub(super) silent_for: Option<Duration>,
    /// The place of the selected row in each pane.
    selected: [usize; Pane::ALL.len()],
    searches_begun: u32,
    /// The download that the user has selected; until then the first is.
    chosen: Option<u32>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            gone: None,
            metrics: None,
            rates: Rates::default(),
            transfers: Transfers::default(),
            uploads: Uploads::default(),
            peers: Vec::new(),
            searches: PeerSearches::default(),
            ours: None,
            pane: Pane::Transfers,
            mode: Mode::Watching,
            remark: None,
            silent_for: None,
            selected: [0; Pane::ALL.len()],
            searches_begun: 0,
            chosen: None,
        }
    }

    /// Takes what has happened by this time, which counts from the start.
    pub(super) fn hear(&mut self, now: Duration, news: News) {
        match news {
            News::Metrics(metrics) => {
                self.rates.read(now, [metrics.status.bytes_down, metrics.bytes_sent]);
                self.metrics = Some(metrics);
            }
            // Where to go on is for the loop to know.
            News::Page { after, page } => drop(self.transfers.turn_page(after, page)),
            News::Peers(peers) => self.peers = peers,
            News::Uploads { page, epoch_s } => self.uploads.turn_page(now, epoch_s, page),
            News::Notice(notice) => self.on_notice(now, notice),
            News::SearchStarted { nth, started } => {
                if let Some(ours) = self.ours.as_mut().filter(|ours| ours.is_begun(nth)) {
                    ours.progress = Progress::Running(started.search);
                    self.remark = started.whole_names.map(|why| self.whole_names(why));
                }
            }
            News::Ordered(order, reply) => {
                let told: Vec<String> = reply.downloads.iter().map(|row| order.told(row)).collect();
                self.remark = Some(if told.is_empty() { Remark::NothingToDo.to_string() } else { told.join("; ") });
                self.put_all(reply.downloads);
            }
            News::Wished(reply) => {
                self.remark = reply.downloads.first().map(|row| state_of(row).to_string());
                self.chosen = reply.downloads.first().map(|row| row.id).or(self.chosen);
                self.put_all(reply.downloads);
            }
            News::SearchRefused { nth, error } => {
                self.ours.take_if(|ours| ours.is_begun(nth));
                self.remark = Some(error.message);
            }
            News::Refused(error) => self.remark = Some(error.message),
            News::Gone(error) => self.gone = Some(error),
            News::Back => {
                self.gone = None;
                self.uploads.forget_unfinished();
                // Its numbers are not those of the daemon before.
                self.transfers = Transfers::default();
                self.ours = None;
            }
        }
    }

    fn put_all(&mut self, rows: Vec<DownloadRow>) {
        rows.into_iter().for_each(|row| self.transfers.put(row));
    }

    fn whole_names(&self, why: WholeNames) -> String {
        let words = self.ours.as_ref().map_or_else(String::new, |ours| ours.text.clone());
        Remark::WholeNames { words, why }.to_string()
    }

    fn on_notice(&mut self, now: Duration, notice: Notice) {
        match notice {
            Notice::Download { download } => self.transfers.put(download),
            Notice::UploadStarted { to, name } => self.uploads.begin(now, to, name),
            Notice::UploadEnded { to, name, bytes, error } => {
                self.uploads.end(now, (to, name), bytes, error);
            }
            Notice::PeerSearch { from, requester, text, ttl } => {
                self.searches.put(PeerSearch { at: now, from, requester, text, ttl });
            }
            Notice::Hit { search, hit } => {
                if let Some(ours) = self.ours.as_mut().filter(|ours| ours.is(search)) {
                    ours.put(hit);
                }
            }
            Notice::SearchDone { search, error, .. } => {
                if let Some(ours) = self.ours.as_mut().filter(|ours| ours.is(search)) {
                    ours.progress = Progress::Over(search);
                    if let Some(error) = error {
                        self.remark = Some(error.message);
                    }
                }
            }
            _ => {}
        }
    }

    /// Brings the lists into order, and the selection to a row that is there. Before anything is drawn, and at no
    /// other time: a key means the row that the user sees.
    pub(super) fn arrange(&mut self) {
        self.transfers.arrange();
        // The selection stays with its download, wherever that goes.
        let ids = self.transfers.ids();
        let place = self.chosen.and_then(|chosen| ids.iter().position(|id| *id == chosen));
        let transfers = Pane::Transfers as usize;
        self.selected[transfers] = place.unwrap_or(self.selected[transfers]);
        for pane in Pane::ALL {
            let last = self.len(pane).saturating_sub(1);
            self.selected[pane as usize] = self.selected[pane as usize].min(last);
        }
    }

    /// Rows of a pane.
    pub(super) fn len(&self, pane: Pane) -> usize {
        match pane {
            Pane::Transfers => self.transfers.len(),
            Pane::Uploads => self.uploads.len(),
            Pane::Peers => self.peers.len(),
            Pane::Searches => self.searches.len(),
            Pane::Hits => self.ours.as_ref().map_or(0, OurSearch::len),
        }
    }

    /// Which row of a pane is selected; 0 if there is none.
    pub(super) fn selected(&self, pane: Pane) -> usize {
        self.selected[pane as usize]
    }

    /// The download that is selected.
    pub(super) fn transfer(&self) -> Option<&DownloadRow> {
        self.transfers.get(*self.transfers.ids().get(self.selected(Pane::Transfers))?)
    }
}

#[cfg(test)]
pub(super) mod tests;
