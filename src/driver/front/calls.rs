//! The control calls that concern the process and not the node: bootstrap, reload, log level, stop.

use crate::control::{
    BootstrapReply, CallError, CallId, ChecksReply, ExitCode, PAGE_ROWS_MAX, RegistryPage, RegistryRow, Reply, Request,
    encode_reply,
};
use crate::driver::Driver;
use crate::driver::front::control::ControlClient;
use crate::driver::net::table::Connection;
use crate::id::ClientId;
use crate::node::Event;
use std::net::SocketAddr;
use std::time::Duration;

impl Driver {
    /// Answers a call, or hands it to the node.
    pub(in crate::driver) fn on_call(&mut self, client: ClientId, call: CallId, request: Request) {
        let outcome = match request {
            Request::Bootstrap { after } => Ok(self.bootstrap_reply(after)),
            Request::Reload => return self.begin_reload(Some((client, call))),
            Request::LogLevel { level } => match self.host.set_log_level(&level) {
                Ok(()) => Ok(Reply::Done {}),
                Err(error) => Err(CallError::new(ExitCode::Usage, error)),
            },
            Request::Stop => {
                self.reply(client, &call, &Ok(Reply::Done {}));
                self.leave("asked by a control client");
                return;
            }
            request => {
                self.node.handle(self.now, Event::Call { client, call, request });
                return;
            }
        };
        self.reply(client, &call, &outcome);
    }

    /// Queues the answer to a call.
    pub(in crate::driver) fn reply(&mut self, client: ClientId, call: &CallId, outcome: &Result<Reply, CallError>) {
        self.push_by(client, |connection| connection.push_reply(&encode_reply(call, outcome)));
    }

    /// Queues a line for a control client; one that does not read is hung up on.
    pub(in crate::driver) fn push_line(&mut self, client: ClientId, line: &[u8]) {
        self.push_by(client, |connection| connection.push(line));
    }

    fn push_by(&mut self, client: ClientId, push: impl FnOnce(&mut ControlClient) -> bool) {
        let Some(key) = self.table.client_key(client) else { return };
        let Some(Connection::Client(connection)) = self.table.get_mut(key) else { return };
        if push(connection) {
            self.table.make_ready(key);
        } else {
            self.logbook.refused(self.now, "control_client", None, &"it does not read");
            self.drop_client(key);
        }
    }

    fn bootstrap_reply(&self, after: Option<SocketAddr>) -> Reply {
        let registry = self.bootstrap.as_ref().map(|bootstrap| {
            let (rows, next) = bootstrap.page(self.now, after, PAGE_ROWS_MAX as usize);
            let row = |(addr, left): (SocketAddr, Duration)| RegistryRow {
                addr,
                expires_in_s: left.as_secs(),
                answered: bootstrap.answered(addr),
            };
            let (answered, silent) = bootstrap.answered_counts();
            let checks = ChecksReply { answered: answered as u64, silent: silent as u64 };
            RegistryPage {
                peers: rows.into_iter().map(row).collect(),
                count: bootstrap.count() as u64,
                checks: bootstrap.is_checking().then_some(checks),
                next,
            }
        });
        Reply::Bootstrap(BootstrapReply { links: self.node.links(self.now), registry })
    }
}
