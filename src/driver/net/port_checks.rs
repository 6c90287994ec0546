//! Checking whether registrants of our bootstrap node listen where they say.

use super::Net;
use super::budget::Use;
use super::exchange::{PortCheck, Proof};
use super::table::Connection;
use crate::driver::cx::{Cx, Output};
use std::net::SocketAddr;

impl Net {
    /// Dials a registrant. `ours` is the port that we name as ours.
    pub(crate) fn check_port(&mut self, to: SocketAddr, p1: bool, ours: u16, cx: &mut Cx) {
        let Ok(permit) = self.table.budget.take(Use::Own) else {
            return cx.out.push(Output::Checked(to, None));
        };
        self.ports_checked += 1;
        let proof = if p1 { Proof::FirstContact } else { Proof::Connection };
        let token = self.table.next_token();
        match PortCheck::dial(
            to,
            proof,
            (self.ports_checked, ours),
            &self.interface,
            self.poll.registry(),
            token,
            cx.now,
        ) {
            Ok(check) => drop(self.table.insert(Connection::Check(check), permit)),
            Err(_) => cx.out.push(Output::Checked(to, Some(false))),
        }
    }
}
