//! The files of the state directory that the loop writes whole: the peers to remember, one endpoint a line, the registry of
//! the bootstrap node, and the directories in use. One that cannot be written is written again, less and less often, until
//! it is on the disk or a newer one takes its place.

use super::jobs::{Done, Jobs, Key, Lane};
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

/// How soon what could not be written is tried again.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// How long that wait may become.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How long to wait after this number of failures in a row.
pub(crate) fn back_off(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << failures.min(8)).min(RETRY_MAX)
}

/// The state directory, and the files in it that are not known to be on the disk as they should be.
pub(super) struct StateFiles {
    directory: Option<StateDirectory>,
    unsaved: BTreeMap<&'static str, Unsaved>,
    pub(super) retry_at: Option<Instant>,
}

struct Unsaved {
    bytes: Arc<[u8]>,
    /// Attempts in a row that failed.
    failures: u32,
    /// The last attempt is over.
    has_failed: bool,
}

impl StateFiles {
    pub(super) fn new(directory: Option<StateDirectory>) -> Self {
        Self { directory, unsaved: BTreeMap::new(), retry_at: None }
    }

    pub(super) fn directory(&self) -> Option<&StateDirectory> {
        self.directory.as_ref()
    }

    pub(super) fn save(&mut self, file: &'static str, bytes: Vec<u8>, jobs: &mut Jobs) {
        let failures = self.unsaved.get(file).map_or(0, |unsaved| unsaved.failures);
        let unsaved = Unsaved { bytes: bytes.into(), failures, has_failed: false };
        write(self.directory.as_ref(), file, &unsaved.bytes, jobs);
        self.unsaved.insert(file, unsaved);
    }

    /// A file is on the disk, or could not be written.
    pub(super) fn on_written(
        &mut self,
        file: &'static str,
        bytes: &Arc<[u8]>,
        outcome: Result<(), DiskFault>,
        cx: &Cx,
    ) {
        // A newer one may be on its way.
        let Some(unsaved) = self.unsaved.get_mut(file).filter(|unsaved| Arc::ptr_eq(&unsaved.bytes, bytes)) else {
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
                self.retry_at.get_or_insert(cx.now + back_off(unsaved.failures));
                unsaved.failures = unsaved.failures.saturating_add(1);
                unsaved.has_failed = true;
            }
        }
    }

    /// Writes the files again that could not be written.
    pub(super) fn retry(&mut self, jobs: &mut Jobs) {
        self.retry_at = None;
        for (file, unsaved) in self.unsaved.iter_mut().filter(|(_, unsaved)| unsaved.has_failed) {
            unsaved.has_failed = false;
            write(self.directory.as_ref(), file, &unsaved.bytes, jobs);
        }
    }
}

fn write(directory: Option<&StateDirectory>, file: &'static str, bytes: &Arc<[u8]>, jobs: &mut Jobs) {
    if let Some(directory) = directory {
        let (directory, bytes, written) = (directory.share(), Arc::clone(bytes), Arc::clone(bytes));
        let done = move |outcome| Done::Written(file, Arc::clone(&written), outcome);
        let work = move || directory.write(file, &bytes).map_err(DiskFault::from);
        jobs.submit((Lane::Sync, Key::File(file)), done, Err(DiskFault::Other(0)), work);
    }
}

/// Known peers across restarts.
pub(crate) const PEERS_FILE: &str = "peers";

/// The line of this file behind the peers that have answered as neighbours. Earlier versions take no line for an endpoint
/// that is none.
const PROVEN_END: &str = "-- have answered as neighbours --";

/// Registrations of the bootstrap node across restarts.
pub(crate) const REGISTRY_FILE: &str = "registry";

/// The directories in use across restarts.
pub(crate) const PLACES_FILE: &str = "places";

/// Reads a file; damage and absence are both nothing, damage is logged.
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

/// Lines that are no endpoint are left out.
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
    fn damage_costs_only_the_lines_it_hits() {
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
