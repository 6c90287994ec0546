//! Drawing without repetition.

use rand_chacha::rand_core::Rng;
use std::collections::BTreeMap;

/// The numbers below a count in random order, drawn one at a time, a Fisher-Yates shuffle that stores only the moved numbers.
///
/// Most draw few numbers, of which a tree finds one sooner than a hash is computed.
#[derive(Debug)]
pub(super) struct Shuffle {
    count: usize,
    drawn: usize,
    moved: BTreeMap<usize, usize>,
}

impl Shuffle {
    pub(super) fn new(count: usize) -> Self {
        Self { count, drawn: 0, moved: BTreeMap::new() }
    }

    /// The next number, until all have been drawn.
    pub(super) fn draw(&mut self, random: &mut impl Rng) -> Option<usize> {
        let step = self.drawn;
        let left = self.count.checked_sub(step).filter(|left| *left > 0)?;
        let at = step + below(random, left as u64) as usize;
        let drawn = self.moved.get(&at).copied().unwrap_or(at);
        let displaced = self.moved.remove(&step).unwrap_or(step);
        self.moved.insert(at, displaced);
        self.drawn += 1;
        Some(drawn)
    }
}

/// A number below `bound`, which is not 0, every one equally likely.
fn below(random: &mut impl Rng, bound: u64) -> u64 {
    // The upper half of the product is uniform if the products of an incomplete round are rejected.
    let rejected_below = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        if product as u64 >= rejected_below {
            return (product >> 64) as u64;
        }
    }
}
