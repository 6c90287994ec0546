//! Reloads of the configuration: one runs at a time, and one more follows if it is asked for meanwhile.

use crate::control::CallId;
use crate::id::ClientId;

const CALLERS_MAX: usize = 256;

/// A call that is answered when a reload is done.
pub(crate) type Caller = (ClientId, CallId);

/// The reload that runs, and the one that follows it.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// Who waits for the one that runs; none if a signal asked for it.
    running: Option<Vec<Caller>>,
    /// What was asked for meanwhile: the file may have changed since it was read.
    next: Option<Vec<Caller>>,
}

impl Reloads {
    /// Begins a reload, or has one follow that which runs. Says whether it begins now.
    /// Errors: when too many wait: who asked, and how many wait.
    pub(super) fn begin(&mut self, caller: Option<Caller>) -> Result<bool, (Caller, usize)> {
        if self.running.is_none() {
            self.running = Some(caller.into_iter().collect());
            return Ok(true);
        }
        let callers = self.next.get_or_insert_default();
        match caller {
            Some(caller) if callers.len() >= CALLERS_MAX => return Err((caller, CALLERS_MAX)),
            caller => callers.extend(caller),
        }
        Ok(false)
    }

    /// The one that ran is done. Who waited for it, and whether another follows.
    pub(super) fn end(&mut self) -> (Vec<Caller>, bool) {
        let callers = std::mem::replace(&mut self.running, self.next.take());
        (callers.unwrap_or_default(), self.running.is_some())
    }
}
