//! Further shares that a reload cannot put in force.

use super::config::Config;
use super::probe::Probed;
use super::sandbox::Sandbox;
use super::shares::NamedShare;
use crate::name::Escaped;
use crate::node::contract::ShareNamed;
use std::path::PathBuf;

/// A share that the next start puts in force. Nothing is shared under its name until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WaitingShare {
    pub(super) share: NamedShare,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// Landlock does not let the process read there.
    OutsideSandbox,
    /// With what `local_directory` is until the next start.
    Overlaps(PathBuf),
    /// The next start runs no peer, so that nothing has checked this share.
    NoPeer,
}

impl WaitingShare {
    /// For whoever asked for the reload.
    pub(super) fn remark(&self) -> String {
        let (name, path) = (Escaped(self.share.name.as_bytes()), Escaped::path(&self.share.path));
        let until = match &self.why {
            Why::OutsideSandbox => format!("{path} lies outside of the sandbox, which the next start extends"),
            Why::Overlaps(directory) => format!(
                "{path} and {}, which is local_directory until the next start, are the same, or one is inside of the other",
                Escaped::path(directory)
            ),
            Why::NoPeer => return format!("share {name}: not shared, since peer is false from the next start on"),
        };
        format!("share {name}: {until}; nothing is shared under this name until then")
    }

    /// For the node.
    pub(super) fn place(&self) -> Option<ShareNamed> {
        Some(ShareNamed { path: None, ..self.share.place()? })
    }
}

/// The shares of a configuration that could be started, as far as a daemon with the other configuration in force cannot share
/// them. Looks at the disk.
pub(super) fn waiting_shares(
    next: &Config,
    in_force: &Config,
    sandbox: &Sandbox,
    probed: &Probed,
) -> Vec<WaitingShare> {
    if !in_force.peer {
        return Vec::new();
    }
    let main = &in_force.local_directory;
    let why = |share: &NamedShare| {
        let is_same = |other: &NamedShare| (&other.name, &other.path) == (&share.name, &share.path);
        if in_force.share.iter().any(is_same) {
            return None;
        }
        let overlaps =
            || next.local_directory != *main && probed.overlap(&probed.real(&share.path), &probed.real(main));
        match () {
            () if !next.peer => Some(Why::NoPeer),
            () if !sandbox.covers_share(&share.path, probed) => Some(Why::OutsideSandbox),
            () if overlaps() => Some(Why::Overlaps(main.clone())),
            () => None,
        }
    };
    next.share.iter().filter_map(|share| Some(WaitingShare { share: share.clone(), why: why(share)? })).collect()
}
