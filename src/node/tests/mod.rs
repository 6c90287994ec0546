//! Tests of one node, event by event, and of several connected ones.

mod announcing;
mod answering;
mod assigned;
mod call_backs;
mod calls;
mod displacing;
mod downloads;
mod flooding;
mod hashing;
mod left_out;
mod listings;
mod manifests;
mod membership;
mod mistyped;
mod networks;
mod newcomers;
mod p1;
mod queries;
mod ranges;
mod relayed;
mod rig;
mod search_end;
mod searching;
mod seeking;
mod serving;
mod settling;
mod speech;
mod strangers;
mod telling;
mod turnover;
mod turns;
mod uploads;
mod wishes;
mod world;

use crate::node::contract::Action;
