//! When the registrations of the bootstrap node are written, and their copying for that: in slices, since strangers determine how
//! many there are, also when the daemon leaves.

use crate::bootstrap::{Bootstrap, Lease};
use crate::time::Instant;
use std::time::Duration;

/// How soon a change is written.
const SAVE_DELAY: Duration = Duration::from_secs(5);

/// Registrations of a slice.
const ROWS_PER_SLICE: usize = 1000;

#[derive(Default)]
pub(super) struct RegistryFile {
    /// The revision at which copying began last.
    copied: u64,
    copying: Option<Vec<Lease>>,
    /// When copying begins.
    pub(super) save_at: Option<Instant>,
}

impl RegistryFile {
    /// What is registered now is in the file.
    pub(super) fn note_saved(&mut self, bootstrap: &Bootstrap) {
        self.copied = bootstrap.revision();
    }

    pub(super) fn watch(&mut self, bootstrap: &Bootstrap, now: Instant) {
        if bootstrap.revision() != self.copied {
            self.save_at.get_or_insert(now + SAVE_DELAY);
        }
    }

    /// Begins to copy if that is due, and not going on.
    pub(super) fn begin_if_due(&mut self, bootstrap: &Bootstrap, now: Instant) {
        if self.copying.is_none() && self.save_at.take_if(|at| *at <= now).is_some() {
            self.begin(bootstrap);
        }
    }

    /// When the daemon leaves: begins to copy all, if something is not written.
    pub(super) fn begin_last(&mut self, bootstrap: &Bootstrap) {
        self.save_at = None;
        if self.copying.is_some() || bootstrap.revision() != self.copied {
            self.begin(bootstrap);
        }
    }

    fn begin(&mut self, bootstrap: &Bootstrap) {
        self.copied = bootstrap.revision();
        self.copying = Some(Vec::with_capacity(bootstrap.count()));
    }

    pub(super) fn is_copying(&self) -> bool {
        self.copying.is_some()
    }

    /// Copies a slice. Returns all registrations after the last one. A change meanwhile is in it or not, and is written with the
    /// next ones.
    pub(super) fn copy_slice(&mut self, bootstrap: &Bootstrap) -> Option<Vec<Lease>> {
        let copied = self.copying.as_mut()?;
        let before = copied.len();
        let after = copied.last().map(|lease| lease.peer);
        copied.extend(bootstrap.leases_after(after).take(ROWS_PER_SLICE));
        if copied.len() < before + ROWS_PER_SLICE { self.copying.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ExchangeId;
    use crate::wire::Message;
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, SocketAddr};

    const FULL: u32 = crate::bootstrap::REGISTRY_PEERS_MAX as u32;

    fn peer(n: u32) -> SocketAddr {
        (Ipv4Addr::from(0x0a00_0000 + n), 63_339).into()
    }

    fn at(ms: u64) -> Instant {
        Instant::from_ms(ms)
    }

    fn tell(node: &mut Bootstrap, n: u32, message: Message) {
        node.handle(at(0), ExchangeId::Inbound(u64::from(n)), peer(n), message);
        while node.poll_action().is_some() {}
    }

    #[test]
    fn no_turn_copies_many_registrations_of_a_full_registry_which_changes_meanwhile() {
        let (mut node, mut file) = (Bootstrap::new(at(0), [0; 32]), RegistryFile::default());
        (0..FULL).for_each(|n| tell(&mut node, n, Message::Register { port: 63_339, p1: true }));
        file.watch(&node, at(0));
        file.begin_if_due(&node, at(4_999));
        assert!(!file.is_copying());
        file.begin_if_due(&node, at(5_000));
        let mut turns = 0;
        let copied = loop {
            let before = file.copying.as_ref().map_or(0, Vec::len);
            turns += 1;
            // Behind the last one that is copied, and before it.
            for gone in [FULL - turns, turns] {
                tell(&mut node, gone, Message::Unregister { port: 63_339, p1: true });
            }
            if let Some(copied) = file.copy_slice(&node) {
                assert!(copied.len() - before <= 1_000);
                break copied;
            }
            let now = file.copying.as_ref().map_or(0, Vec::len);
            assert!((1..=1_000).contains(&(now - before)), "turn {turns}: {} rows", now - before);
        };
        let peers: BTreeSet<SocketAddr> = copied.iter().map(|lease| lease.peer).collect();
        assert_eq!(peers.len(), copied.len(), "none twice");
        assert!(
            node.snapshot().iter().all(|lease| peers.contains(&lease.peer)),
            "none that is still registered is left out"
        );
        file.watch(&node, at(5_001));
        assert_eq!(file.save_at, Some(at(10_001)), "what changed meanwhile is written later");
        let mut last = || {
            file.begin_last(&node);
            let slices = std::iter::from_fn(|| file.is_copying().then(|| file.copy_slice(&node)));
            slices.fold((0, 0), |(slices, rows), copied| (slices + 1, rows + copied.map_or(0, |rows| rows.len())))
        };
        assert_eq!(last(), (node.count().div_ceil(1_000), node.count()), "also when the daemon leaves");
        assert_eq!(last(), (0, 0), "nothing has changed");
    }
}
