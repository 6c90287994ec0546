//! Every bound and every span of time that this module keeps to, by name.

mod directories;
mod search_waits;
mod searches;
mod wishes;

pub(super) use self::{directories::*, search_waits::*, searches::*, wishes::*};
use std::time::Duration;

/// Peers known at once.
pub(super) const PEERS_MAX: usize = 1_000;
/// Of these, peers that are known only because somebody named their endpoint in a search or a hit.
pub(super) const CLAIMS_MAX: usize = 250;
/// Neighbours of one network, which is an IPv4 address or 64 bits of an IPv6 address.
pub(super) const NEIGHBOURS_PER_NETWORK_MAX: usize = 2;

/// A neighbour that has done nothing but to take connections gives way to others when no list has named it for so long. A list
/// is asked for every 30 to 45 s, and is a random sample where there are many peers: one of 2,000 is missing from all of half
/// an hour by accident once in 100 times. A bootstrap node that has lost its memory knows its peers again within a minute.
pub(super) const UNNAMED_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a claim ([`CLAIMS_MAX`]) is kept while nothing proves it, and a peer that no list names any more while it does not answer.
pub(super) const CLAIM_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// Failures in a row after which a peer is given up, if the network is there at all.
pub(super) const PEER_FAILURES_MAX: u32 = 3;
/// Attempts within this time count as one failure: a search alone makes several.
pub(super) const PEER_FAILURE_SPAN: Duration = Duration::from_secs(30);
/// Peers remembered across restarts.
pub(super) const REMEMBERED_PEERS_MAX: usize = 200;
/// Least time between two orders to remember peers.
pub(super) const REMEMBER_INTERVAL: Duration = Duration::from_secs(60);
/// How long a change of the good peers waits for further ones before it is remembered.
pub(super) const REMEMBER_DELAY: Duration = Duration::from_secs(5);

/// Rows asked of a bootstrap node, and taken from its list.
pub(super) const PEER_LIST_ROWS_ASKED: u32 = 200;
/// Peers new on a list that are asked directly for sources of downloads.
pub(super) const NEWCOMERS_MAX: usize = 16;
/// How long such peers are sent our searches directly, if they are no neighbours.
pub(super) const NEWCOMER_AGE_MAX: Duration = Duration::from_secs(60);
/// A list that is older is asked for again when a search begins, although there are enough neighbours. A user who searches
/// again finds a newcomer 3 s after it has registered.
pub(super) const LIST_AGE_MAX: Duration = Duration::from_secs(2);
/// A list that is younger is not asked for again, although neighbours are wanting.
pub(super) const LIST_AGE_MIN: Duration = Duration::from_secs(1);
/// Lists that searches may ask of one bootstrap node in a minute: of 1,000 nodes whose users search without end, 100 a second.
pub(super) const LISTS_FOR_SEARCHES_PER_MINUTE: u32 = 6;
/// Lists that searches may ask of it at once.
pub(super) const LISTS_FOR_SEARCHES_BURST: u32 = 3;
/// Peers that shall accept our announcement.
pub(super) const ANNOUNCEMENTS_WANTED: usize = 4;
/// Announcements in a run, accepted or not.
pub(super) const ANNOUNCEMENTS_MAX: usize = 16;
/// A node to which no search was forwarded for this long announces itself to one more peer. The time doubles with each
/// announcement. It is checked with each refresh of a list.
pub(super) const NO_SEARCHES_MIN: Duration = Duration::from_secs(30);
/// The longest such time: the interval of these connections in a network without searches.
pub(super) const NO_SEARCHES_MAX: Duration = Duration::from_secs(120);
/// How long a search waits for a list that is on its way, if the last one came in that time.
pub(super) const LIST_WAIT_MAX: Duration = Duration::from_millis(800);
/// How long a search that finds no neighbour waits for a registration that is under way.
pub(super) const REGISTRATION_WAIT_MAX: Duration = Duration::from_secs(2);
/// Announcements in a minute that a node acts on.
pub(super) const ANNOUNCEMENTS_PER_MINUTE: u32 = 60;
/// Of these, those of one network: some nodes behind one address may start together.
pub(super) const ANNOUNCEMENTS_PER_NETWORK: u32 = 10;
/// Newcomers that are being asked back.
pub(super) const NEWCOMER_CONTACTS_MAX: usize = 16;
/// One neighbour in so many may be a peer that has just announced itself.
pub(super) const NEWCOMER_PLACES_OF: usize = 8;
/// Nodes to which one base peer on a list is assigned as a neighbour, where there are enough.
pub(super) const ASSIGNEES_MAX: usize = 4;
/// One neighbour in so many may be a base peer that is assigned.
pub(super) const ASSIGNED_PLACES_OF: usize = 8;
/// Least wait after a bootstrap node failed; doubles with each further failure, and is spread at random within these bounds.
pub(super) const LINK_RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest such wait: a bootstrap node that returns without its memory lists its peers again within a minute.
pub(super) const LINK_RETRY_MAX: Duration = Duration::from_secs(54);
/// Second look at the peer list after a registration: peers that start together then find each other.
pub(super) const FIRST_REFRESH: Duration = Duration::from_secs(2);
/// Time between further looks, at which a peer also finds out that it is not listed any more, and registers again. Each
/// is spread by a third downwards. A list has at most [`PEER_LIST_ROWS_ASKED`] rows, some 5 KB: this bounds what a peer
/// costs a bootstrap node.
pub(super) const REFRESH_MAX: Duration = Duration::from_secs(45);
/// How much later a keepalive is tried that met another task on the same link.
pub(super) const KEEPALIVE_POSTPONED: Duration = Duration::from_secs(1);

/// Searches, listings and first contacts of our own that wait for a worker.
pub(super) const OWN_QUEUED_MAX: usize = 4_096;
/// Requests of peers that wait for a worker, and as many that wait for their turn under `upload_limit`.
pub(super) const REQUESTS_QUEUED_MAX: usize = 4_096;
/// Of these, requests of one network. A node fetches some 40 pieces at once: this serves 25 of them behind one address.
pub(super) const REQUESTS_QUEUED_PER_NETWORK_MAX: usize = 1_024;
/// Hits that wait for a worker, those of one search as one. One network has half.
pub(super) const HITS_QUEUED_MAX: usize = 512;
/// Hits sent at once to requesters of which nothing shows that anybody can connect to them.
pub(super) const STRANGER_DIALS_MAX: usize = 16;
/// Such hits that wait for a worker. One network has half.
pub(super) const STRANGER_DIALS_QUEUED_MAX: usize = 128;
/// Searches of others that wait for a worker. The links bound them before: [`FORWARDS_PER_NEIGHBOUR_MAX`].
pub(super) const FORWARDS_QUEUED_MAX: usize = 2_048;
/// How long connecting may take.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long connecting may take for hits and searches of others, if the other side is not proven. The system sends the first
/// packet again after 1 s.
pub(super) const CONNECT_UNPROVEN_MAX: Duration = Duration::from_secs(3);
/// One in so many workers is kept for what our user waits for; small numbers of workers are shared by all.
pub(super) const WORKERS_KEPT_OF: usize = 16;
/// Searches of others on their way to one neighbour: one that does not answer must not hold up the others.
pub(super) const FORWARDS_PER_NEIGHBOUR_MAX: usize = 16;
/// The same for a neighbour that fails, or has not answered yet and is a mere claim.
pub(super) const FORWARDS_PER_UNPROVEN_MAX: usize = 2;
/// Searches of our own on their way to a peer that is not proven.
pub(super) const SEARCHES_PER_UNPROVEN_MAX: usize = 2;
/// Searches of our own on their way to a peer that a list or the user names, and that was not dialled yet: it may be there, and
/// several searches may begin at once; or a list may name whom it likes, and eight such neighbours have a quarter of the workers.
pub(super) const SEARCHES_PER_UNTRIED_MAX: usize = 8;
/// How many times as many may wait until they can be sent.
pub(super) const FORWARDS_WAITING_TIMES: usize = 4;
/// Searches of others that one neighbour is sent in a second on the average: less than it takes from us
/// ([`SENDER_SEARCHES_PER_SECOND`]).
pub(super) const FORWARDS_PER_SECOND: u32 = 40;
/// Searches of others that it may be sent at once.
pub(super) const FORWARDS_BURST: u32 = 400;
/// Neighbours whose budget is kept account of after they were none any more.
pub(super) const LINKS_KEPT_MAX: usize = 256;
/// Longest wait of a request from the network for a worker: less than its requester waits for a first byte, and more than one that
/// takes nothing holds a worker.
pub(super) const COMMAND_WAIT_MAX: Duration = Duration::from_secs(50);
/// How long a request waits until a slow reader of a network that has more gives way.
pub(super) const DISPLACE_AFTER: Duration = Duration::from_secs(3);
/// How often that is looked at while requests wait.
pub(super) const DISPLACE_CHECK: Duration = Duration::from_secs(1);
/// How long a response may bring nothing that the loop sees, and yet move at [`USEFUL_RATE`]: what may lie in its socket,
/// [`UNSENT_FIRST_BYTES`](crate::node::contract::UNSENT_FIRST_BYTES), lasts so long.
pub(super) const FLOW_SPAN: Duration = Duration::from_secs(8);
/// The same when [`STEADY_BYTES`](crate::node::contract::STEADY_BYTES) have gone out. The socket takes more when half of
/// [`UNSENT_BYTES`](crate::node::contract::UNSENT_BYTES) are gone, which last 32 s.
pub(super) const FLOW_SPAN_STEADY: Duration = Duration::from_secs(40);

/// Waits before the further attempts to call back a requester that refused the connection (PROTOCOL, "Old peers answer `4`
/// by calling back").
pub(super) const CALL_BACK_WAITS: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Longest time from a request to the last attempt to call its requester back. A requester of that kind waits until
/// somebody ends it; a bootstrap node lists a silent peer for as long as this.
pub(super) const CALL_BACK_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Requesters that are called back, or are to be.
pub(super) const CALL_BACKS_MAX: usize = 1_024;
/// Of these, those of one network. A program that has to be called back fetches one file at a time.
pub(super) const CALL_BACKS_PER_NETWORK_MAX: usize = 64;

/// Bytes a second that each upload gets under `upload_limit`: twice the rate at which it counts as stalled, which is
/// 16 KiB in a minute. More uploads wait for their turn.
pub(super) const UPLOAD_RATE_MIN: u64 = 2 * (16 << 10) / 60;
/// How long after a range the next of the same file to the same address still belongs to the same upload.
pub(super) const RANGES_IDLE_MAX: Duration = Duration::from_secs(30);
/// Such uploads kept account of while no range of them is sent; beyond, the oldest one of the network that has most is over.
pub(super) const RANGE_RUNS_MAX: usize = 1_024;

/// Files of the share whose hash is wanted, gathered at once.
pub(super) const HASH_GATHER_FILES_MAX: usize = 16_384;
/// Library entries looked at for them in one slice of work, and files looked up for a batch.
pub(super) const HASH_ENTRIES_PER_SLICE: usize = 2_000;
/// Files ordered to be hashed at once.
pub(super) const HASH_BATCH_FILES_MAX: usize = 256;
/// Bytes of these. A file that has more is hashed by itself, beside the others: it may take hours.
pub(super) const HASH_BATCH_BYTES_MAX: u64 = 1 << 30;
/// Files that peers asked for and that are hashed before all others.
pub(super) const HASH_ASKED_FILES_MAX: usize = 256;
/// Files that could not be hashed, remembered so that nobody has them read over and over.
pub(super) const HASH_FAILED_FILES_MAX: usize = 1_024;
/// How soon a file is tried again that an error of the system kept from being hashed.
pub(super) const HASH_RETRY: Duration = Duration::from_secs(10);

/// How long the answer of a peer is waited for that was asked what it speaks.
pub(super) const FIRST_CONTACT_WAIT: Duration = Duration::from_secs(2);
/// How long a peer that did not answer is not asked again.
pub(super) const FIRST_CONTACT_AGAIN: Duration = Duration::from_secs(10 * 60);
/// Sources of one download that are asked what they speak at once.
pub(super) const FIRST_CONTACTS_AT_ONCE: usize = 4;
/// Peers that were asked what they speak and have not answered.
pub(super) const FIRST_CONTACTS_MAX: usize = 1_024;

/// Searches for sources of downloads whose hits are still taken.
pub(super) const SEEKS_MAX: usize = 1_024;

/// Searches that one network may send in a second on the average: so many of its own, and so many that it passes on.
pub(super) const SENDER_SEARCHES_PER_SECOND: u32 = 50;
/// Searches that it may send at once.
pub(super) const SENDER_SEARCHES_BURST: u32 = 500;
/// Of these, new ones that clients of `events` are told of: so many of one network, and so many of all.
pub(super) const SEARCHES_TOLD_OF_NETWORK_PER_SECOND: u32 = 1;
pub(super) const SEARCHES_TOLD_OF_NETWORK_BURST: u32 = 10;
pub(super) const SEARCHES_TOLD_PER_SECOND: u32 = 10;
pub(super) const SEARCHES_TOLD_BURST: u32 = 50;
/// How much they are told of its text.
pub(super) const TOLD_TEXT_BYTES_MAX: usize = 256;
/// What answers may cost that one network causes in a second on the average: so much by its own searches, and so much by
/// those that it passes on. An answer costs 1, and 1 more for each [`ANSWER_UNIT_ENTRIES`] and [`ANSWER_UNIT_HITS`].
pub(super) const ANSWER_UNITS_PER_SECOND: u32 = 50;
/// What they may cost at once. One answer may cost more: then none is looked for until that is made up for, some 10 s at most.
pub(super) const ANSWER_UNITS_BURST: u32 = 500;
/// Library entries looked at that cost as much as an answer. A million files make 51.
pub(super) const ANSWER_UNIT_ENTRIES: usize = 20_000;
/// Hits sent that cost as much as an answer.
pub(super) const ANSWER_UNIT_HITS: usize = 25;
/// Such networks kept account of.
pub(super) const SENDERS_MAX: usize = 4_096;
/// Searches of others that are remembered, so that a repetition is known.
pub(super) const SEEN_MAX: usize = 50_000;
/// How long each is remembered.
pub(super) const SEEN_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Searches of others whose answer is being looked for.
pub(super) const ANSWERS_PENDING_MAX: usize = 256;
/// Of these, searches that came from one network: a flood of one neighbour leaves places for the others.
pub(super) const ANSWERS_PENDING_PER_NETWORK_MAX: usize = 64;
/// Hits sent to a `p1` requester (PROTOCOL, Matching).
pub(super) const ANSWER_HITS_MAX: usize = 50;
/// Hits sent to one that names a higher number, and whose search came from its own address.
pub(super) const ANSWER_HITS_NAMED_MAX: usize = SEARCH_ROWS_MAX as usize;
/// While so many answers are on their way, or wait for a worker, none has more hits than [`ANSWER_HITS_MAX`].
pub(super) const LONG_ANSWERS_BESIDE_MAX: usize = 64;
/// Library entries looked at in one slice of work.
pub(super) const ANSWER_ENTRIES_PER_SLICE: usize = 2_000;
/// Connections a minute to a requester that we do not know as a peer, and how many may come at once.
pub(super) const STRANGER_DIALS_PER_MINUTE: u32 = 20;
/// Of these, connections with hits for searches that came from one network.
pub(super) const STRANGER_DIALS_PER_SENDER: u32 = STRANGER_DIALS_PER_MINUTE / 2;
/// Of these, connections that are left for hits when searches of others have used up the rest.
pub(super) const STRANGER_HITS_KEPT: u32 = 15;
/// How long the rings of one search count as one such connection: two searches for the same are seldom closer.
pub(super) const RINGS_SPAN: Duration = Duration::from_secs(10);
/// Strangers whose allowance is kept account of.
pub(super) const STRANGERS_MAX: usize = 4_096;
/// Lowest port that a search result is sent to.
pub(super) const REQUESTER_PORT_MIN: u16 = 1_024;

/// TTLs of the rings before the last one.
pub(super) const RING_TTLS: [u8; 3] = [1, 2, 4];
/// Rows that end a search early, if one is counted of each network.
pub(super) const RING_ROWS_ENOUGH: u64 = 25;
/// If less than one in so many of these rows has come, the next ring is the last: all are asked.
pub(super) const RINGS_SKIPPED_BELOW: u64 = 4;
/// Distinct senders that have one content under the very name or hash that is searched for, which end a search at once. As many
/// as [`RING_ROWS_ENOUGH`]: a tenth of 200 peers can claim a file without keeping its honest sources from being found.
pub(super) const EXACT_SOURCES_ENOUGH: usize = 25;
/// How long a ring is listened to before the next goes out, if somebody does not say that it is done.
pub(super) const RING_WAIT: Duration = Duration::from_millis(800);
/// How long the last ring is listened to.
pub(super) const LAST_RING_WAIT: Duration = Duration::from_millis(1_600);
/// Searches of others that are open: somebody waits to hear that we are done with them.
pub(super) const OPEN_SEARCHES_MAX: usize = 1_024;
/// Of these, those that came first from one network. A neighbour passes on 40 a second, each of which is open for 1.6 s at most where
/// `max_ttl` is 7.
pub(super) const OPEN_SEARCHES_PER_NETWORK_MAX: usize = 128;
/// Connections that wait to hear of one search.
pub(super) const OPEN_ASKERS_MAX: usize = 32;
/// How long after its end a search still takes hits.
pub(super) const LATE_HITS: Duration = Duration::from_secs(5 * 60);
/// Least time between two looks for searches that have been over for so long.
pub(super) const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// Rows remembered for a search that does not say how many.
pub(super) const SEARCH_ROWS_DEFAULT: u32 = 150;
/// Rows remembered for a search at most.
pub(super) const SEARCH_ROWS_MAX: u32 = 1_000;
/// Rows remembered of one listing; a longer one is broken off.
pub(super) const LISTING_FILES_MAX: u64 = 1_000_000;
/// The files of all listings. A million takes 100 bytes each with names of 40 bytes.
pub(super) const LISTINGS_BYTES_MAX: usize = 128 << 20;
/// Of one listing, rows that do not come in the order of their names.
pub(super) const UNORDERED_FILES_MAX: usize = 100_000;
/// Rows of a search that one network may have at least; where there are more than four times as many, it may have a
/// quarter. A user who wants this few rows takes the first that come.
pub(super) const ROWS_PER_NETWORK_MIN: u64 = 5;
/// Of so many rows that may be shared, one is for a network that has none.
pub(super) const ROWS_FOR_NEWCOMERS_OF: u64 = 3;
/// Rows remembered in all, beside those of ordered listings: an unordered one leaves room for searches.
pub(super) const HITS_MAX: usize = UNORDERED_FILES_MAX + 25_000;
/// Names and sources of all rows.
pub(super) const HITS_BYTES_MAX: usize = 48 << 20;
/// Of these, those of one search or unordered listing.
pub(super) const HITS_GROUP_BYTES_MAX: usize = HITS_BYTES_MAX / 4 * 3;
/// How long rows that a user has seen do not give way to others, unless theirs are the most.
pub(super) const HITS_SEEN_SPAN: Duration = Duration::from_secs(10 * 60);
/// Sources remembered of one row; beyond, a network that has more of them than another gives way to it.
pub(super) const HIT_SOURCES_MAX: usize = 64;
/// Hits of one content that are looked at for the sources of a download.
pub(super) const CONTENT_HITS_MAX: usize = 1_024;
/// Sources that sent wrong bytes and have given their places to others, remembered of one download.
pub(super) const LEFT_OUT_MAX: usize = 256;
/// Names of one source of a download.
pub(super) const SOURCE_NAMES_MAX: usize = 8;
/// Text of the names that are remembered of all sources of one download across restarts; each source with one at least.
pub(super) const RECORD_NAMES_BYTES_MAX: usize = 64 << 10;
/// Names of one row that are shown, and remembered of one that a single source has.
pub(super) const HIT_NAMES_MAX: usize = 16;
/// Of these, as much text as fits: a row is a line that a control client takes at once.
pub(super) const HIT_ROW_NAMES_BYTES_MAX: usize = 16 << 10;

/// Downloads remembered; beyond, the one that finished first is forgotten.
pub(super) const DOWNLOADS_MAX: usize = 10_000;
/// Downloads that an order deals with in one slice of work: each may write a record.
pub(super) const ORDER_DOWNLOADS_PER_SLICE: usize = 64;
/// Orders of users that are in progress because they take more than one slice.
pub(super) const ORDERS_MAX: usize = 64;
/// How long the answer to an order waits until what it changed is on the disk.
pub(super) const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);
/// Answers that wait for that; beyond, the oldest is given without.
pub(super) const RECORD_ANSWERS_MAX: usize = 1_024;
/// Least wait before a source that failed is asked again; doubles, and is spread at random within these bounds.
pub(super) const SOURCE_REST_MIN: Duration = Duration::from_secs(5);
/// Longest such wait.
pub(super) const SOURCE_REST_MAX: Duration = Duration::from_secs(60);
/// Bytes of a group that an exchange has to bring before it breaks off for its source not to count as one that fails again
/// and again.
pub(super) const BROUGHT_BYTES_MIN: u64 = 64 << 10;
/// Times in a row that a source may say no which has brought something, or while others bring it, until it is believed.
pub(super) const SOURCE_REFUSALS_MAX: u32 = 8;
/// Times in a row that a source which the user chose may be out of reach until one is asked in its place that was found by
/// the name alone: some minutes, or less where its machine refuses at once.
pub(super) const SOURCE_SILENCES_MAX: u32 = 5;
/// A source that refuses after so long had us wait for our turn: it is busy.
pub(super) const BUSY_AFTER: Duration = Duration::from_secs(10);
/// Fetches in a row that a source may fail until others are asked as if it were not there.
pub(super) const FAILURES_RELIED_MAX: u32 = 3;
/// Exchanges of one download at once.
pub(super) const FETCHES_PER_DOWNLOAD_MAX: usize = 16;
/// Exchanges of all downloads at once, beside the first of each: every one may hold a group in memory.
pub(super) const FETCHES_MAX: usize = 32;
/// Bytes a second that each exchange gets under `download_limit`: twice the rate below which the other side takes us for
/// stalled.
pub(super) const FETCH_RATE_MIN: u64 = UPLOAD_RATE_MIN;
/// Groups asked of a source whose speed is not known.
pub(super) const RANGE_GROUPS_FIRST: u64 = 2;
/// Groups asked of a source at once.
pub(super) const RANGE_GROUPS_MAX: u64 = 64;
/// A source is asked for what it sends in this time.
pub(super) const RANGE_SPAN: Duration = Duration::from_secs(4);
/// How long nothing may come from a source while another has nothing to do.
pub(super) const STALL_AFTER: Duration = Duration::from_secs(10);
/// After how long without a byte, or at less than [`USEFUL_RATE`], a source is taken to bring nothing: others are tried in its
/// place.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(2);
/// How long metadata, or the group that proves the size, are waited for until another source is asked beside.
pub(super) const HEDGE_AFTER: Duration = Duration::from_secs(1);
/// Sources that have brought nothing yet and are asked at once, of one download that gets groups from another.
pub(super) const EXPLORED_AT_ONCE: usize = 4;
/// How long the group that proves the size is waited for, however slowly it comes.
pub(super) const PROOF_AFTER: Duration = Duration::from_secs(2);
/// If it would take longer than this, another source may prove the size.
pub(super) const PROOF_ETA: Duration = Duration::from_secs(8);
/// How long a stream is waited for, however slow it is.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(30);
/// A stream that would take longer than this is slow.
pub(super) const SLOW_ETA: Duration = Duration::from_secs(10 * 60);
/// Bytes per second below which a source is slow that sends something small, or something of unknown size.
pub(super) const SLOW_RATE: u64 = 16 << 10;
/// Bytes per second below which what comes is as good as nothing: others are asked as if it were not there, and a download
/// does not keep others waiting. Below the share of a slow link that several sources use at once.
pub(super) const USEFUL_RATE: u64 = 2 << 10;
/// The span over which a download must come at less than that.
pub(super) const PACE_SPAN: Duration = Duration::from_secs(60);
/// How often the active downloads are looked at while others wait for a place.
pub(super) const PACE_CHECK: Duration = Duration::from_secs(5);
/// Milliseconds that must be left of a range for its end to be worth another exchange.
pub(super) const STEAL_WORTH_MS: u64 = 500;
/// How long a source has for its last group before another is asked for it as well.
pub(super) const DUPLICATE_AFTER: Duration = Duration::from_secs(1);
/// How long a fetch runs before its own rate says more than earlier ones.
pub(super) const SPEED_AFTER: Duration = Duration::from_secs(1);
/// How long after our limit held a fetch back its rate still says nothing about its source: the span of a rate, and the
/// time between two reports.
pub(super) const HELD_AFTERMATH: Duration = Duration::from_millis(RATE_SPAN.as_millis() as u64 + 1_000);
/// How often a download is looked at that has an idle source.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Full checks of one download that may find groups to be others than were written, until the disk is blamed.
pub(super) const CHECKS_FAILED_MAX: u32 = 3;
/// First wait before a disk that stopped a download is tried again; doubles.
pub(super) const PROBE_MIN: Duration = Duration::from_secs(15);
/// Longest such wait.
pub(super) const PROBE_MAX: Duration = Duration::from_secs(60);
/// A download with fewer sources than this looks for others as soon as it begins.
pub(super) const SOURCES_ENOUGH: usize = 8;
/// First wait between two searches for sources of one download; doubles.
pub(super) const SEEK_MIN: Duration = Duration::from_secs(60);
/// Longest such wait.
pub(super) const SEEK_MAX: Duration = Duration::from_secs(5 * 60);
/// Wait before the next, when no neighbour was there to be asked.
pub(super) const SEEK_AGAIN: Duration = Duration::from_secs(10);
/// First wait between two searches for the first source of a download; doubles up to the longest of the others.
pub(super) const UNSOURCED_SEEK_MIN: Duration = Duration::from_secs(15);
/// Least time between the first searches of downloads that begin without a source: a thousand may begin at once.
pub(super) const FIRST_SEARCH_SPACING: Duration = Duration::from_millis(100);
/// Least time after a search for sources of a download until peers that are new on a list call for another.
pub(super) const SEEK_NEWCOMERS_MIN: Duration = Duration::from_secs(10);
/// Downloads that look for sources when a list brings new peers.
pub(super) const SEEK_NEWCOMERS_DOWNLOADS_MAX: usize = 64;
/// Least time between a search for sources and the next, when a source has refused in between.
pub(super) const SEEK_REFUSED_MIN: Duration = Duration::from_secs(10);
/// First wait between two searches while no source can be asked; doubles up to `SEEK_MIN`.
pub(super) const SEEK_STUCK_MIN: Duration = Duration::from_secs(10);
/// Searches a minute of all downloads that cannot ask a source, and how many may go out at once: neighbours refuse more
/// than `SENDER_SEARCHES_PER_SECOND`.
pub(super) const SEEKS_STUCK_PER_MINUTE: u32 = 600;
/// See there.
pub(super) const SEEKS_STUCK_BURST: u32 = 100;
/// How long a download that every source refused waits for what a search brings.
pub(super) const SEEK_WAIT: Duration = Duration::from_secs(3);
/// The span over which a rate is measured.
pub(super) const RATE_SPAN: Duration = Duration::from_secs(3);
/// Least span over which a rate is told: what came in the first moment is no rate yet.
pub(super) const RATE_SPAN_MIN: Duration = Duration::from_secs(1);
/// Measurements kept for a rate.
pub(super) const RATE_SAMPLES_MAX: usize = 32;
/// Least time between two notices of progress of one download.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Least time between two notices of progress of a listing or a scan.
pub(super) const LISTING_INTERVAL: Duration = Duration::from_millis(250);

/// Batches of a scan held back for [`work`](crate::node::Node::work); beyond, they are applied at once.
pub(super) const SCAN_BATCHES_MAX: usize = 64;
/// How long a file must not have been changed before it is shared.
pub(super) const REST: Duration = Duration::from_secs(2);
/// The same of a file that was seen to change: whoever writes it waits for a network or a person now and then. A scan
/// tells apart whatever was changed within this time.
pub(super) const REST_AFTER_CHANGE: Duration = crate::library::RECENT_MAX;
/// The first wait before files that are not at rest are looked at again: the clock of files is some milliseconds late.
pub(super) const LOOK_WAIT: Duration = Duration::from_millis(REST.as_millis() as u64 + 100);
/// The longest such wait, while files keep changing.
pub(super) const LOOK_WAIT_MAX: Duration = Duration::from_secs(5);
/// Files looked at again with one order.
pub(super) const LOOK_FILES_MAX: usize = 128;
/// Files not at rest that are looked at again. Further ones are left to the next scan.
pub(super) const UNSETTLED_FILES_MAX: usize = 65_536;
/// How soon the next scan begins at the latest where that was so.
pub(super) const RESCAN_SOON: Duration = Duration::from_secs(10);

/// Library entries swept in one slice of work.
pub(super) const SWEEP_ENTRIES_PER_SLICE: usize = 2_000;

/// Text in one page of an answer, roughly.
pub(super) const PAGE_BYTES_MAX: usize = 256 << 10;
/// How long leaving waits for bootstrap nodes.
pub(super) const LEAVE_MAX: Duration = Duration::from_secs(3);
