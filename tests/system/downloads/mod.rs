//! Downloads: from the first byte to the final name, over refusals, restarts and faults of the disk.

mod broken;
mod copies;
mod crash;
mod directories;
mod directory_hits;
mod disk;
mod filesystems;
mod finish;
mod given_manifests;
mod hung_disks;
mod large;
mod links;
mod moves;
mod naming;
mod orphans;
mod queue;
mod remembering;
mod requests;
mod resume;
mod small_files;
mod transfers;
mod unverified;
mod watched;
