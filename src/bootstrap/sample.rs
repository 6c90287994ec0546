//! Drawing without repeats.

use rand_chacha::rand_core::Rng;
use std::collections::HashMap;

/// `wanted` different positions below `count`, or all of them if there are fewer, every choice and order equally likely.
/// O(`wanted`), whatever `count` is.
///
/// This is the beginning of a Fisher-Yates shuffle of all positions, of which only those that have moved are stored.
pub(super) fn without_repeats(random: &mut impl Rng, count: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(count);
    let mut moved: HashMap<usize, usize> = HashMap::with_capacity(wanted);
    let draw = |step: usize| {
        let at = step + below(random, (count - step) as u64) as usize;
        let drawn = moved.get(&at).copied().unwrap_or(at);
        let displaced = moved.get(&step).copied().unwrap_or(step);
        moved.insert(at, displaced);
        drawn
    };
    (0..wanted).map(draw).collect()
}

/// A number below `bound`, which is not 0, every one equally likely.
fn below(random: &mut impl Rng, bound: u64) -> u64 {
    // The upper half of a product with 2^64 is uniform once the products that stand for an incomplete round are
    // rejected.
    let rejected_below = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        if product as u64 >= rejected_below {
            return (product >> 64) as u64;
        }
    }
}
