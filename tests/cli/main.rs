//! `pyratectl` as its users run it: the real program against a daemon that follows a script.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod completion;
mod directory_hits;
mod directory_rows;
mod downloads;
mod event_log;
mod failures;
mod fake;
mod followed_downloads;
mod follows;
mod given_manifests;
mod history;
mod left_out;
mod links;
mod listings;
mod locate;
mod manifests;
mod manual;
mod narrow;
#[path = "../common/not_tested.rs"]
mod not_tested;
mod queries;
mod queue;
mod searches;
mod shares;
mod status;
mod terminal;
mod watch;
mod widths;
mod wishes;
