//! Reloads of the configuration: a helper reads and checks it, since the disk may keep it waiting, and the loop puts it in
//! force.

use crate::control::{CallError, CallId, ExitCode, ReloadReply, Reply};
use crate::driver::disk::jobs::Job;
use crate::driver::net::pace::Direction;
use crate::driver::{Driver, Reload};
use crate::id::ClientId;
use crate::node::Event;

/// Calls that wait for a reload.
const CALLERS_MAX: usize = 256;

/// A call that is answered when a reload is done.
type Caller = (ClientId, CallId);

/// The reload that runs, and the one that follows it.
#[derive(Debug, Default)]
pub(in crate::driver) struct Reloads {
    /// Who waits for the one that runs; nobody if a signal asked for it.
    running: Option<Vec<Caller>>,
    /// What was asked for meanwhile: the file may have changed since it was read.
    next: Option<Vec<Caller>>,
}

impl Driver {
    /// Begins a reload, or has one follow that which runs. The host logs how it went.
    pub(in crate::driver) fn begin_reload(&mut self, caller: Option<Caller>) {
        let Reloads { running, next } = &mut self.reloads;
        if running.is_none() {
            *running = Some(caller.into_iter().collect());
            return self.read_configuration();
        }
        let callers = next.get_or_insert_default();
        if callers.len() < CALLERS_MAX {
            callers.extend(caller);
        } else if let Some((client, call)) = caller {
            let message = format!("{CALLERS_MAX} reloads are waiting; try again");
            self.reply(client, &call, &Err(CallError::new(ExitCode::Other, message)));
        }
    }

    fn read_configuration(&mut self) {
        let job = self.host.reload();
        self.helpers.submit(Job::Reload(job));
    }

    /// The configuration has been read.
    pub(in crate::driver) fn on_configuration_read(&mut self) {
        let outcome = match self.host.reloaded() {
            Ok(reload) => Ok(Reply::Reload(self.put_in_force(reload))),
            Err(error) => Err(CallError::new(ExitCode::Other, error)),
        };
        for (client, call) in self.reloads.running.take().unwrap_or_default() {
            self.reply(client, &call, &outcome);
        }
        self.reloads.running = self.reloads.next.take();
        if self.reloads.running.is_some() {
            self.read_configuration();
        }
    }

    /// Listeners stay where they are.
    fn put_in_force(&mut self, reload: Reload) -> ReloadReply {
        let Reload { node: mut config, limits, report } = reload;
        self.pace.set(limits, self.now);
        for direction in [Direction::Up, Direction::Down] {
            self.wake_paced(direction);
        }
        config.listen = self.facts.listen.unwrap_or(config.listen);
        config.local_addrs = crate::driver::start::local_addrs();
        self.node.handle(self.now, Event::Reconfigure(Box::new(config)));
        // Downloads may go elsewhere from now on.
        self.note_new_places();
        self.search_orphans();
        report
    }
}
