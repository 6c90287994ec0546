//! Downloads for wishes.

use super::DownloadMachine;
use super::begin::{DownloadRequest, Wanted};
use super::source::Source;
use super::state::{Download, Life};
use crate::control::{EventKind, Problem};
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::node::contract::{FoundFile, FoundState};
use crate::node::cx::Cx;
use crate::node::network::Net;
use crate::node::search::SearchMachine;
use std::net::SocketAddr;
use std::rc::Rc;

impl DownloadMachine {
    /// Begins the download of what a wish has found, or finds the one that is there. `start_downloads` is to follow.
    pub(in crate::node) fn begin_wished(
        &mut self,
        net: &mut Net,
        search: &SearchMachine,
        file: &FoundFile,
    ) -> Result<TransferId, Problem> {
        let sources = vec![Source::new(file.peer, Rc::new(file.name.clone()), file.size)];
        let request = DownloadRequest { name: file.name.clone(), size: file.size, b3: file.b3, sources };
        let begun = self.begin_download(net, search, Wanted::Named(Box::new(request)), None, false)?;
        begun.ok_or(Problem::NoIdLeft)
    }

    /// Whether a record of a download has been on the disk. `None` if there is no such download.
    pub(in crate::node) fn is_remembered(&self, id: TransferId) -> Option<bool> {
        self.recorded(id).map(|recorded| recorded.accepted)
    }

    /// How a download for a wish stands, or stood at last; `None` if nothing is known of that.
    pub(in crate::node) fn state_for_wish(&self, cx: &Cx, id: TransferId) -> Option<FoundState> {
        let Some(row) = self.downloads.get(id) else {
            let end = cx.event_log.end_of(id)?.event;
            return Some(if end == EventKind::Done { FoundState::Done(id) } else { FoundState::Failed(id) });
        };
        Some(match row.life() {
            Life::Done { .. } => FoundState::Done(id),
            Life::Failed { .. } | Life::Cancelled { .. } => FoundState::Failed(id),
            _ => FoundState::Begun(id),
        })
    }

    /// Whether this content is fetched or was fetched; or this name of this peer is fetched, if it has no hash. What has failed or was
    /// cancelled may be wished for.
    pub(in crate::node) fn has_like(&self, name: &FileName, b3: Option<ContentHash>, peer: SocketAddr) -> bool {
        match b3 {
            Some(_) => {
                let is_had = |row: &Download| !matches!(row.life(), Life::Failed { .. } | Life::Cancelled { .. });
                self.downloads.iter().any(|(_, row)| row.want.b3() == b3 && is_had(row))
            }
            None => self.downloads.of_source(&Rc::new(name.clone()), peer).next().is_some(),
        }
    }
}
