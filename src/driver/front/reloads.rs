//! Reloads of the configuration: one runs at a time; requests made meanwhile share the next one.

use crate::control::CallId;
use crate::id::ClientId;

const CALLERS_MAX: usize = 256;

/// A call that gets its reply when the reload has ended.
pub(crate) type Caller = (ClientId, CallId);

#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// The callers of the running reload; none if a signal caused it.
    running: Option<Vec<Caller>>,
    /// The callers of the next one: the file may have changed since it was read.
    next: Option<Vec<Caller>>,
}

impl Reloads {
    /// Begins a reload, or queues one behind the running one. Returns whether it begins now.
    /// Errors: if too many wait: the caller, and how many wait.
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

    /// Returns the callers of the reload that ended, and whether another one begins.
    pub(super) fn end(&mut self) -> (Vec<Caller>, bool) {
        let callers = std::mem::replace(&mut self.running, self.next.take());
        (callers.unwrap_or_default(), self.running.is_some())
    }
}
