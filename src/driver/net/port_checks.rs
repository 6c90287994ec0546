//! Seeing whether those who register with our bootstrap node listen where they say.

use crate::driver::Driver;
use crate::driver::net::budget::Use;
use crate::driver::net::exchange::{Checked, PortCheck, Proof};
use crate::driver::net::table::Connection;
use std::net::SocketAddr;

impl Driver {
    /// Dials a registrant.
    pub(in crate::driver) fn check_port(&mut self, to: SocketAddr, p1: bool) {
        if self.table.take(Use::Own).is_err() {
            return self.checked(to, None);
        }
        self.ports_checked += 1;
        let proof = if p1 { Proof::FirstContact } else { Proof::Connection };
        let ours = self.facts.bootstrap.map_or(to.port(), |addr| addr.port());
        let token = self.table.next_token();
        match PortCheck::dial(to, proof, (self.ports_checked, ours), self.poll.registry(), token, self.now) {
            Ok(check) => {
                let key = self.table.insert(Connection::Check(Box::new(check)), Some(Use::Own), 0);
                self.table.arm(key, &mut self.timers);
            }
            Err(_) => {
                self.table.give_back(Use::Own);
                self.checked(to, Some(false));
            }
        }
    }

    /// Follows what a step of a check brought.
    pub(in crate::driver) fn follow_check(&mut self, key: usize, checked: Checked) {
        let Some(Connection::Check(check)) = self.table.get_mut(key) else { return };
        let to = check.to();
        match checked {
            Checked::Wait => self.table.arm(key, &mut self.timers),
            Checked::Again => self.table.make_ready(key),
            Checked::Over(answered) => {
                self.close(key);
                self.checked(to, Some(answered));
                self.carry_out();
            }
        }
    }

    fn checked(&mut self, to: SocketAddr, answered: Option<bool>) {
        if let Some(bootstrap) = &mut self.bootstrap {
            bootstrap.on_checked(self.now, to, answered);
        }
    }
}
