//! The saved form of events, in the records of downloads and wishes.

use crate::control::EventRow;
use serde_json::Value;
use std::rc::Rc;

pub(super) fn event_values(events: &[Rc<EventRow>]) -> Vec<Value> {
    events.iter().filter_map(|event| serde_json::to_value(&**event).ok()).collect()
}

/// Ignores events of a kind that this version does not know.
pub(super) fn read_events(values: Vec<Value>) -> Vec<Rc<EventRow>> {
    values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).map(Rc::new).collect()
}
