//! Directories: each is one download to its user, made of one download for each of its files.
//!
//! | stage | what happens | then |
//! |---|---|---|
//! | queued | its record is written, and the place that the user has named is probed | describing, listing, reading |
//! | reading | the manifest that the user has given is read from the state directory (`keeping`) | planning, failed |
//! | describing | the peer is asked for the manifest, if it speaks `p1` (`describing`) | planning, listing, waiting |
//! | planning | the manifest becomes a plan (`plan`), a slice at a time | adding, waiting, failed |
//! | listing | the peer is asked for its list; what is beneath the directory becomes a plan (`plan`) | adding, describing, waiting, failed |
//! | adding | each file of the plan becomes a member, a slice at a time (`members`) | making, fetching |
//! | making | the empty directories of the manifest are made (`making`) | fetching, waiting, failed |
//! | fetching | the members are fetched like all downloads; only they do so | done, waiting, failed |
//! | waiting | the list was not to be had, or files were refused: it is asked for again (`judging`) | queued |
//! | paused | by the user; so are its members | fetching, queued |
//! | done, failed, cancelled | over | queued, if the user retries one that has failed |
//!
//! Of a directory whose manifest the user has given, no peer is asked what is beneath it: its members have no source at first, and
//! are searched for in turn (`searching`, `trees`), unless a link names peers that may have them.
//!
//! A member is a row of the table of downloads (`Download::directory`), which its user never sees as a row of its own. Whatever
//! becomes of it, `set_life` reports to its directory, which counts its members by what they do (`tally`).
//!
//! The record of a directory is written before those of its members and says how many these are, once all have records. A member
//! that is done keeps its record until its directory is over. So a restart knows which files are there; where fewer members come
//! back than the record says, the list is asked for again. What was ordered of a directory is in its own record: a restart
//! brings its members into line with it.

mod describing;
mod given;
mod judging;
mod keeping;
mod listing;
mod making;
mod members;
mod orders;
mod plan;
mod remembering;
mod rows;
mod searching;
mod state;
mod table;
mod tally;
mod trees;

pub(super) use table::Directories;
