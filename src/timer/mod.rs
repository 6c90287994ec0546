//! Deadlines in a hierarchical timer wheel.
//!
//! Owns the deadlines of a state machine or loop, at a resolution of one millisecond. Reads no clock: the owner passes the
//! time, and bounds the number of deadlines.
//!
//! Eleven levels of 64 slots cover the whole range of [`Instant`]. An entry is at the level of the highest six-bit digit in
//! which its deadline differs from the wheel's time, in the slot of that digit. So all entries of a level are due before
//! those of the levels above; the first occupied slot of a level is due before the others; and entries with the same
//! deadline share a slot, in order of insertion.

#[cfg(test)]
mod tests;

use crate::time::Instant;
use std::cell::Cell;

/// Bits of a deadline for one level.
const LEVEL_BITS: u32 = 6;

const SLOTS: usize = 1 << LEVEL_BITS;

const LEVELS: usize = u64::BITS.div_ceil(LEVEL_BITS) as usize;

/// No entry: the end of a list.
const NIL: u32 = u32::MAX;

/// Names one entry of one wheel, for [`TimerWheel::cancel`]. Invalid once the entry has fired or was cancelled, also if its place
/// is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TimerId {
    place: u32,
    generation: u64,
}

#[derive(Debug)]
pub(crate) struct TimerWheel<K> {
    /// Everything up to this time has fired. Never after the earliest deadline.
    elapsed_ms: u64,
    slots: Vec<Slot>,
    /// For each level, a bit for each occupied slot.
    occupied: [u64; LEVELS],
    /// Entries and free places.
    entries: Vec<Entry<K>>,
    /// The first free place; the others follow by `next`.
    free: u32,
    len: usize,
    /// Of the next entry.
    generation: u64,
    earliest_ms: Cell<Option<u64>>,
}

/// One slot: a list of entries in order of insertion.
#[derive(Debug, Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
    /// The entries are in order of deadline, so that the first is the earliest.
    ordered: bool,
}

/// An entry, or a free place when `key` is `None`.
#[derive(Debug)]
struct Entry<K> {
    key: Option<K>,
    generation: u64,
    at_ms: u64,
    slot: usize,
    previous: u32,
    next: u32,
}

impl Slot {
    const EMPTY: Slot = Slot { first: NIL, last: NIL, ordered: true };
}

impl<K> TimerWheel<K> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            elapsed_ms: now.as_ms(),
            slots: vec![Slot::EMPTY; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            entries: Vec::new(),
            free: NIL,
            len: 0,
            generation: 0,
            earliest_ms: Cell::new(None),
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The exact earliest deadline: a loop that sleeps until then never wakes early. A deadline that had passed when it was
    /// inserted counts as the wheel's time of that moment.
    ///
    /// Cached. After a change of the earliest entry this searches a single slot at worst, and only its first entry if its
    /// deadlines were inserted in order, as those of equal spans are.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.earliest_ms.get().is_none() {
            self.earliest_ms.set(self.find_earliest_ms());
        }
        self.earliest_ms.get().map(Instant::from_ms)
    }

    /// Adds a key that fires at `at`, or at the next [`expire`](Self::expire) if that has passed. O(1).
    pub(crate) fn insert(&mut self, at: Instant, key: K) -> TimerId {
        let at_ms = at.as_ms().max(self.elapsed_ms);
        let generation = self.generation;
        self.generation += 1;
        let entry = Entry { key: Some(key), generation, at_ms, slot: 0, previous: NIL, next: NIL };
        let place = self.take_place(entry);
        self.append(place);
        if self.len == 0 || self.earliest_ms.get().is_some_and(|earliest| at_ms < earliest) {
            self.earliest_ms.set(Some(at_ms));
        }
        self.len += 1;
        TimerId { place, generation }
    }

    /// Removes an entry before it fires. `None` if it has fired or was cancelled. O(1).
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<K> {
        let entry = self.entries.get(id.place as usize)?;
        if entry.generation != id.generation || entry.key.is_none() {
            return None;
        }
        self.remove(id.place)
    }

    /// Removes and returns the next key whose deadline is not after `now`; call until `None`. Keys come in order of deadline, and
    /// those with the same deadline in order of insertion. O(1) amortised: each entry moves down at most once for each level.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<K> {
        let now_ms = now.as_ms();
        while let Some((level, digit)) = self.first_occupied() {
            let start_ms = self.slot_start_ms(level, digit);
            if start_ms > now_ms {
                break;
            }
            self.elapsed_ms = start_ms;
            let index = level * SLOTS + digit;
            if level == 0 {
                return self.remove(self.slots[index].first);
            }
            self.cascade(index);
        }
        self.elapsed_ms = self.elapsed_ms.max(now_ms);
        None
    }

    /// The lowest occupied level, and its first occupied slot.
    fn first_occupied(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    fn slot_start_ms(&self, level: usize, digit: usize) -> u64 {
        let shift = level as u32 * LEVEL_BITS;
        // The digits above are those of the wheel's time; the top level has none.
        let above = u64::MAX.checked_shl(shift + LEVEL_BITS).unwrap_or(0);
        (self.elapsed_ms & above) | ((digit as u64) << shift)
    }

    fn find_earliest_ms(&self) -> Option<u64> {
        let (level, digit) = self.first_occupied()?;
        let slot = self.slots[level * SLOTS + digit];
        if level == 0 || slot.ordered {
            return Some(self.entries[slot.first as usize].at_ms);
        }
        let mut earliest_ms = u64::MAX;
        let mut place = slot.first;
        while place != NIL {
            let entry = &self.entries[place as usize];
            earliest_ms = earliest_ms.min(entry.at_ms);
            place = entry.next;
        }
        Some(earliest_ms)
    }

    /// Moves the entries of a due slot to the levels below.
    fn cascade(&mut self, index: usize) {
        let mut place = self.slots[index].first;
        self.slots[index] = Slot::EMPTY;
        self.occupied[index / SLOTS] &= !(1 << (index % SLOTS));
        while place != NIL {
            let next = self.entries[place as usize].next;
            self.append(place);
            place = next;
        }
    }

    fn append(&mut self, place: u32) {
        let at_ms = self.entries[place as usize].at_ms;
        let differing = at_ms ^ self.elapsed_ms;
        let level = differing.checked_ilog2().unwrap_or(0) / LEVEL_BITS;
        let digit = (at_ms >> (level * LEVEL_BITS)) as usize % SLOTS;
        let index = level as usize * SLOTS + digit;

        let last = self.slots[index].last;
        let slot = &mut self.slots[index];
        slot.last = place;
        if last == NIL {
            slot.first = place;
            self.occupied[level as usize] |= 1 << digit;
        } else {
            slot.ordered &= self.entries[last as usize].at_ms <= at_ms;
            self.entries[last as usize].next = place;
        }
        let entry = &mut self.entries[place as usize];
        (entry.slot, entry.previous, entry.next) = (index, last, NIL);
    }

    /// Removes an entry from its slot and frees its place.
    fn remove(&mut self, place: u32) -> Option<K> {
        let entry = &mut self.entries[place as usize];
        let key = entry.key.take();
        let (at_ms, index, previous, next) = (entry.at_ms, entry.slot, entry.previous, entry.next);
        entry.next = self.free;
        self.free = place;
        self.len -= 1;

        match previous {
            NIL => self.slots[index].first = next,
            _ => self.entries[previous as usize].next = next,
        }
        match next {
            NIL => self.slots[index].last = previous,
            _ => self.entries[next as usize].previous = previous,
        }
        if self.slots[index].first == NIL {
            self.slots[index] = Slot::EMPTY;
            self.occupied[index / SLOTS] &= !(1 << (index % SLOTS));
        }
        if self.earliest_ms.get() == Some(at_ms) {
            self.earliest_ms.set(None);
        }
        key
    }

    /// Stores an entry in a free place, or in a new one.
    fn take_place(&mut self, entry: Entry<K>) -> u32 {
        if self.free == NIL {
            let place = self.entries.len() as u32;
            debug_assert!(place < NIL, "the owner's tables bound the number of timers far below this");
            self.entries.push(entry);
            return place;
        }
        let place = self.free;
        self.free = self.entries[place as usize].next;
        self.entries[place as usize] = entry;
        place
    }
}
