//! Why a search has found nothing, where that has a cause, and what the user can do about it.

use super::SearchMachine;
use crate::control::{CallError, ExitCode};
use crate::node::network::NetworkMachine;

impl SearchMachine {
    /// Why there is no hit; `None` if peers were asked, and have none. `asked`: copies of the search that were sent;
    /// `answered`: of these, copies of which a peer has shown that it took them.
    pub(super) fn why_nothing_was_found(
        &self,
        network: &NetworkMachine,
        asked: u32,
        answered: u32,
    ) -> Option<CallError> {
        if answered > 0 {
            return None;
        }
        let (known, alive) = (network.peers().len(), network.peers().count());
        let error = |message: String| CallError::new(ExitCode::Network, message);
        Some(match (known, alive) {
            (0, _) => {
                let lists = match network.is_registered() {
                    true => "the bootstrap node lists nobody else",
                    false => "no bootstrap node has answered",
                };
                error(format!("no peer is known to ask (peers: 0), and {lists}; check `pyratectl bootstrap`"))
            }
            (known, 0) => error(format!(
                "no peer could be reached: all {known} that are known have stopped answering; `pyratectl peers` shows them, \
                 `pyratectl bootstrap` whether new ones can be learnt of"
            )),
            (_, alive) if asked > 0 => error(format!(
                "no peer has answered (peers: {alive}); `pyratectl peers` shows their states, and whether this machine \
                 has a network `pyratectl bootstrap`"
            )),
            _ => CallError::new(ExitCode::NoSource, "too many commands wait for a worker; try again later"),
        })
    }
}
