//! Scenarios of networks, each run for several seeds.

mod chaos;
mod contents;
mod directories;
mod disturbed;
mod downloads;
mod events;
mod helpers;
mod hostile;
mod membership;
mod newcomers;
mod part_files;
mod recall;
mod renames;
mod searching;
mod sources;
mod swarms;
mod traps;
mod wishes;
mod workers;

/// The seed of the environment alone, or some for everyday; or as many others as `PYRATE_SIM_HUNT` says.
fn seeds(everyday: &[u64]) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    match (number("PYRATE_SIM_SEED"), number("PYRATE_SIM_HUNT")) {
        (Some(seed), _) => vec![seed],
        (None, Some(hunted)) => (1_000..1_000 + hunted).collect(),
        (None, None) => everyday.to_vec(),
    }
}
