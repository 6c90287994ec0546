//! The sandbox that `pyrated` makes for itself, as `status` reports it.

use serde::{Deserialize, Serialize};

/// Whether `pyrated` has restricted itself to its own directories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReply {
    pub state: SandboxState,
    /// The version of Landlock that the kernel offers; `None` without Landlock, and while the sandbox is off.
    pub abi: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    /// Not asked for.
    #[default]
    Off,
    On,
    /// The kernel knows only a part of the rules.
    Partial,
    /// The kernel has no Landlock, or it is not enabled.
    Unavailable,
}
