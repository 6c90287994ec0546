//! What holds between events, whatever the network does. Debug builds look after every event, and so does the
//! simulator.

use super::Node;

impl Node {
    /// Looks whether the tables agree with each other and keep to their bounds.
    ///
    /// # Panics
    ///
    /// When they do not: that is an error of this module, never of the network.
    pub fn check_invariants(&self) {
        let Self { cx, network, share, search, upload, download, wish, .. } = self;
        cx.exchanges.workers().check_invariants();
        cx.event_log.check_invariants();
        network.check_invariants(cx);
        share.check_invariants();
        search.check_invariants(cx);
        upload.check_invariants(cx);
        download.check_invariants(cx);
        wish.check_invariants();
        assert!(!cx.out.has_steps(), "the machines have left nothing to each other");
    }
}
