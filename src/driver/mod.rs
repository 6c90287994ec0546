//! The loop: one thread, one mio poll, every socket a nonblocking state machine.
//!
//! A turn (`turn`): wait for readiness or the next deadline; note who is ready; give each ready connection one bounded
//! step; let time pass; let the node, the scanner and the search do one slice; carry out what the node ordered (`route`). The
//! loop decides nothing about the network: it tells the [`Node`] and the [`Bootstrap`] what happened and does what they say.
//!
//! It has three parts with private state. Each executes orders, and reports their outcome in `Cx`:
//!
//! | part | owns | may call |
//! |---|---|---|
//! | `net` | sockets, descriptors, deadlines, rate limits | none |
//! | `disk` | the share, part files, hashes, what is remembered, threads | `net`, for descriptors |
//! | `front` | the control socket, its clients, the host | none |
//!
//! | file | job |
//! |---|---|
//! | `start` | bind, open, restore: everything that can fail before the first turn |
//! | `turn` | the loop itself |
//! | `leaving` | the beginning of the end |
//! | `route` | orders of the node and the bootstrap node to the parts, and their reports to the nodes |
//! | `responses` | orders that take a file and a connection |
//! | `calls`, `metrics` | what the loop knows for control calls; what is measured |
//! | `interface`, `interface_watch` | what all sockets are bound to; whether it is there |
//! | `passed` | sockets that the program was started with |
//! | `handing_over` | what is left to the next run, and taken over from the one before |
//! | `scanned` | those who came before the first scan |
//! | `supervision` | what a service manager is to hear at intervals |
//! | `host` | what the loop and the program that runs it know of each other |
//! | `cx`, `socket`, `open_parts`, `shared_files` | what the parts share: reports, readiness, what exchanges write to and read from |
//! | `clock`, `signals`, `local_addrs`, `refusals`, `tokens` | time, signals, our addresses, the log of refusals, names of sockets |
//! | `histogram` | how long turns took and jobs waited |

mod calls;
mod clock;
mod cx;
mod disk;
mod front;
mod handing_over;
mod histogram;
mod host;
mod interface;
mod interface_watch;
mod leaving;
mod local_addrs;
mod metrics;
mod net;
mod open_parts;
mod passed;
mod rate_orders;
mod refusals;
mod responses;
mod route;
mod scanned;
mod shared_files;
mod signals;
mod socket;
mod start;
mod supervision;
mod tokens;
mod turn;

pub(crate) use clock::{Clock, wall_clock};
pub(crate) use disk::was_in_use;
pub(crate) use front::check_control_socket;
pub use host::{Facts, StartFault};
pub(crate) use host::{Handle, Host, Reload, ReloadJob, Report, Settings, Supervised};
pub(crate) use interface::Interface;
pub(crate) use local_addrs::may_have_address;
pub(crate) use net::{RateLimits, check_listen};
pub(crate) use passed::{BOOTSTRAP, KEPT_PREFIX, PEER, Passed};
pub(crate) use rate_orders::{RateTimes, TimedRate, WeekTimes};
pub(crate) use signals::{survive_file_size_limit, with_signals_blocked};

use crate::bootstrap::Bootstrap;
use crate::node::Node;
use crate::time::Instant;
use cx::Cx;
use disk::Disk;
use front::Front;
use handing_over::HandingOver;
use histogram::Histogram;
use net::Net;
use rate_orders::RateOrders;
use responses::AwaitingFile;
use signals::Signals;
use supervision::Supervision;

pub(crate) struct Driver {
    clock: Clock,
    cx: Cx,
    net: Net,
    rate_orders: RateOrders,
    disk: Disk,
    front: Front,
    node: Node,
    bootstrap: Option<Bootstrap>,
    signals: Option<Signals>,
    /// Watched, if the configuration names one.
    interface: Option<interface_watch::Watch>,
    handle: Handle,
    facts: Facts,
    awaiting_file: AwaitingFile,
    supervision: Option<Supervision>,
    handing_over: Option<HandingOver>,
    /// Connections to a listener that was passed wait until then at the latest.
    held_until: Option<Instant>,
    /// How long the turns took.
    turns: Histogram,
}

impl Driver {
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}
