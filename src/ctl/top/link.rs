//! The calls to the daemon, of which several wait for their answers at once, and what comes of them.

use super::model::News;
use crate::control::{CallError, CallId, Request};
use crate::ctl::clock::epoch_s;
use crate::ctl::connection::{Call, Connection, Heard, Received};
use crate::ctl::rows::Order;
use serde::de::IgnoredAny;
use std::collections::VecDeque;
use std::time::Duration;

/// The socket of a daemon that reads takes a call at once.
const SEND_MAX: Duration = Duration::from_secs(1);

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Events,
    Metrics,
    /// The page of downloads after this one.
    Page(u32),
    Peers,
    Uploads,
    /// The search of the user that has this number here.
    Search {
        nth: u32,
    },
    Order(Order),
    Wish,
}

impl Purpose {
    /// Whether the user waits for the answer.
    pub(super) fn is_of_user(self) -> bool {
        matches!(self, Self::Search { .. } | Self::Order(_) | Self::Wish)
    }
}

struct Open {
    call: Call,
    purpose: Purpose,
    since: Duration,
}

/// The calls that are not answered, the oldest first.
#[derive(Default)]
pub(super) struct Link {
    open: VecDeque<Open>,
}

/// What came from the daemon.
pub(super) enum Came {
    News(News),
    /// The answer to a call of the user.
    ForUser(News),
    /// Nothing to show.
    Other,
    /// An answer that no daemon of this version gives: it would be the same each time.
    Unfit(CallError),
}

impl Link {
    /// Makes a call, unless one for the same waits for its answer: then the daemon is slow, and is not asked again.
    pub(super) fn ask(
        &mut self,
        connection: &mut Connection,
        now: Duration,
        request: &Request,
        purpose: Purpose,
    ) -> Result<(), CallError> {
        let is_same = |open: &Open| std::mem::discriminant(&open.purpose) == std::mem::discriminant(&purpose);
        if !purpose.is_of_user() && self.open.iter().any(is_same) {
            return Ok(());
        }
        let call = connection.begin(request, SEND_MAX)?;
        self.open.push_back(Open { call, purpose, since: now });
        Ok(())
    }

    /// Since when the daemon owes its oldest answer.
    pub(super) fn waits_since(&self) -> Option<Duration> {
        self.open.front().map(|open| open.since)
    }

    /// What has come; `None` if nothing has. The error says why the connection is of no use any more.
    pub(super) fn receive(&mut self, connection: &mut Connection) -> Result<Option<Came>, CallError> {
        Ok(match connection.receive_now()? {
            None => None,
            Some(Received::Answer(id, outcome)) => {
                Some(self.answered(connection, &id, outcome).unwrap_or_else(Came::Unfit))
            }
            Some(Received::Heard(Heard::Notice(notice))) => Some(Came::News(News::Notice(notice))),
            Some(Received::Heard(Heard::Ended)) => return Err(connection.hung_up()),
            Some(Received::Heard(_)) => Some(Came::Other),
        })
    }

    /// What an answer is. The error is that of one that cannot be understood.
    fn answered(
        &mut self,
        connection: &Connection,
        id: &CallId,
        outcome: Result<String, CallError>,
    ) -> Result<Came, CallError> {
        let Some(at) = self.open.iter().position(|open| open.call.is(id)) else { return Ok(Came::Other) };
        let Some(Open { purpose, .. }) = self.open.remove(at) else { return Ok(Came::Other) };
        let json = match outcome {
            Ok(json) => json,
            Err(error) => {
                return Ok(Came::ForUser(match purpose {
                    Purpose::Search { nth } => News::SearchRefused { nth, error },
                    _ => News::Refused(error),
                }));
            }
        };
        let news = match purpose {
            Purpose::Events => return connection.answer_in::<IgnoredAny>(&json).map(|_| Came::Other),
            Purpose::Metrics => News::Metrics(connection.answer_in(&json)?),
            Purpose::Page(after) => News::Page { after, page: connection.answer_in(&json)? },
            Purpose::Peers => News::Peers(connection.answer_in(&json)?),
            Purpose::Uploads => News::Uploads { page: connection.answer_in(&json)?, epoch_s: epoch_s() },
            Purpose::Search { nth } => News::SearchStarted { nth, started: connection.answer_in(&json)? },
            Purpose::Order(order) => News::Ordered(order, connection.answer_in(&json)?),
            Purpose::Wish => News::Wished(connection.answer_in(&json)?),
        };
        Ok(if purpose.is_of_user() { Came::ForUser(news) } else { Came::News(news) })
    }
}
