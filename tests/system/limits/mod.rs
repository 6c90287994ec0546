//! What many, greedy, slow or hostile peers can cause, and what honest ones still get.

mod bounds;
mod descriptors;
mod hostile;
mod rate;
mod refusals;
mod slow_readers;
mod stalling;
mod strangers;
mod times;
mod turns;
mod worker_queue;
