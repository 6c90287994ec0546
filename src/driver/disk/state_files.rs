//! The files of the state directory that the loop writes whole: known peers (one endpoint a line), the registry of the
//! bootstrap node, and the directories in use. A failed write is retried with increasing delays until it succeeds or a newer
//! one replaces it.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use super::state_content::StateContent;
use crate::driver::cx::Cx;
use crate::fault::DiskFault;
use crate::node::RememberedPeers;
use crate::store::StateDirectory;
use crate::time::Instant;
use log::{info, warn};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// The delay after the first failure.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(1);

const RETRY_MAX: Duration = Duration::from_secs(60);

/// The delay before the next attempt. `failures`: earlier ones in a row.
pub(super) fn back_off(min: Duration, failures: u32) -> Duration {
    min.saturating_mul(1 << failures.min(8)).min(RETRY_MAX)
}

/// The state directory, and the files in it that may not be on the disk yet.
pub(super) struct StateFiles {
    directory: Option<StateDirectory>,
    unsaved: BTreeMap<&'static str, Unsaved>,
    pub(super) retry_at: Option<Instant>,
}

struct Unsaved {
    content: Arc<StateContent>,
    /// Attempts in a row that failed.
    failures: u32,
    has_failed: bool,
}

impl StateFiles {
    pub(super) fn new(directory: Option<StateDirectory>) -> Self {
        Self { directory, unsaved: BTreeMap::new(), retry_at: None }
    }

    pub(super) fn directory(&self) -> Option<&StateDirectory> {
        self.directory.as_ref()
    }

    pub(super) fn save(&mut self, file: &'static str, content: StateContent, jobs: &mut Jobs) {
        let failures = self.unsaved.get(file).map_or(0, |unsaved| unsaved.failures);
        let unsaved = Unsaved { content: Arc::new(content), failures, has_failed: false };
        write(self.directory.as_ref(), file, &unsaved.content, jobs);
        self.unsaved.insert(file, unsaved);
    }

    pub(super) fn on_written(
        &mut self,
        file: &'static str,
        content: &Arc<StateContent>,
        outcome: Result<(), DiskFault>,
        cx: &Cx,
    ) {
        // A newer one may be being written.
        let Some(unsaved) = self.unsaved.get_mut(file).filter(|unsaved| Arc::ptr_eq(&unsaved.content, content)) else {
            return;
        };
        match outcome {
            Ok(()) => {
                if unsaved.failures > 0 {
                    info!("the state file {file} is written again");
                }
                self.unsaved.remove(file);
            }
            Err(fault) => {
                if unsaved.failures == 0 {
                    warn!("cannot write the state file {file}, trying again: {fault}");
                }
                self.retry_at.get_or_insert(cx.now + back_off(RETRY_MIN, unsaved.failures));
                unsaved.failures = unsaved.failures.saturating_add(1);
                unsaved.has_failed = true;
            }
        }
    }

    pub(super) fn retry(&mut self, jobs: &mut Jobs) {
        self.retry_at = None;
        for (file, unsaved) in self.unsaved.iter_mut().filter(|(_, unsaved)| unsaved.has_failed) {
            unsaved.has_failed = false;
            write(self.directory.as_ref(), file, &unsaved.content, jobs);
        }
    }
}

fn write(directory: Option<&StateDirectory>, file: &'static str, content: &Arc<StateContent>, jobs: &mut Jobs) {
    if let Some(directory) = directory {
        let (directory, content, written) = (directory.share(), Arc::clone(content), Arc::clone(content));
        let done = move |outcome| Done::Written(file, Arc::clone(&written), outcome);
        let work = move || directory.write(file, &content.encoded()).map_err(DiskFault::from);
        jobs.submit((Lane::State, Key::File(file)), done, Err(DiskFault::Internal), work);
    }
}

/// Known peers across restarts.
pub(crate) const PEERS_FILE: &str = "peers";

/// The line of this file after the peers that have answered as neighbours. Earlier versions ignore it as no endpoint.
const PROVEN_END: &str = "-- have answered as neighbours --";

/// Registrations of the bootstrap node across restarts.
pub(crate) const REGISTRY_FILE: &str = "registry";

/// The directories in use across restarts.
pub(crate) const PLACES_FILE: &str = "places";

/// Reads a file. A missing or unreadable one counts as empty.
pub(crate) fn read(state: Option<&StateDirectory>, file: &str) -> Vec<u8> {
    match state.map(|state| state.read(file)) {
        Some(Ok(Some(bytes))) => bytes,
        Some(Err(error)) => {
            warn!("cannot read the state file {file}, going on without it: {error}");
            Vec::new()
        }
        Some(Ok(None)) | None => Vec::new(),
    }
}

pub(crate) fn encode_peers(peers: &RememberedPeers) -> Vec<u8> {
    let mut text = String::new();
    // Writing to a string does not fail.
    peers.proven.iter().for_each(|peer| _ = writeln!(text, "{peer}"));
    let _ = writeln!(text, "{PROVEN_END}");
    peers.others.iter().for_each(|peer| _ = writeln!(text, "{peer}"));
    text.into_bytes()
}

/// Ignores lines that are no endpoint.
pub(crate) fn decode_peers(bytes: &[u8]) -> RememberedPeers {
    let lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
    let end = lines.iter().position(|line| *line == PROVEN_END.as_bytes()).unwrap_or(0);
    let endpoints = |lines: &[&[u8]]| {
        let endpoint = |line: &&[u8]| std::str::from_utf8(line).ok()?.trim().parse().ok();
        lines.iter().filter_map(endpoint).collect()
    };
    RememberedPeers { proven: endpoints(&lines[..end]), others: endpoints(&lines[end..]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn damaged_lines_are_ignored() {
        let [one, other]: [SocketAddr; 2] = ["192.0.2.1:63339", "[2001:db8::1]:9"].map(|addr| addr.parse().unwrap());
        let peers = RememberedPeers { proven: vec![one], others: vec![other] };
        let mut bytes = encode_peers(&peers);
        bytes.splice(0..0, *b"nonsense\n\xff\xff\n\n");
        assert_eq!(decode_peers(&bytes), peers);
        // As earlier versions wrote it.
        let others = vec![one, other];
        assert_eq!(
            decode_peers(b"192.0.2.1:63339\n[2001:db8::1]:9\n"),
            RememberedPeers { others, ..Default::default() }
        );
    }
}
