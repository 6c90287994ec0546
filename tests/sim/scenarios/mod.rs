//! Stories of networks, each told for several seeds.

mod chaos;
mod contents;
mod downloads;
mod helpers;
mod membership;
mod ordeal;
mod part_files;
mod searching;
mod sources;
mod swarms;
mod workers;

/// The seed of the environment alone, or some for everyday.
fn seeds(everyday: &[u64]) -> Vec<u64> {
    match std::env::var("PYRATE_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => everyday.to_vec(),
    }
}
