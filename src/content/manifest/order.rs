//! Which paths a manifest may have, one after the other.

use super::{LineFault, MANIFEST_DEPTH_MAX};
use crate::name::{COMPONENT_BYTES_MAX, FileName};

/// Takes the paths of a manifest in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct PathOrder {
    last: Vec<u8>,
    /// The lengths of the earlier paths that the last one begins with, byte by byte, and its own: the shortest first. The
    /// paths between such a one and what is beneath it all begin with it, so no other needs to be known.
    prefixes: Vec<usize>,
}

impl PathOrder {
    pub(super) fn take(&mut self, path: &[u8]) -> Result<FileName, LineFault> {
        let name = FileName::from_bytes(path).ok_or(LineFault::Path)?;
        let (mut depth, mut is_long) = (0, false);
        for part in path.split(|&byte| byte == b'/') {
            if matches!(part, b"" | b"." | b"..") {
                return Err(LineFault::NotRelative);
            }
            depth += 1;
            is_long |= part.len() > COMPONENT_BYTES_MAX;
        }
        if depth > MANIFEST_DEPTH_MAX || is_long {
            return Err(LineFault::TooDeep);
        }
        if !self.last.is_empty() && *path <= *self.last {
            return Err(LineFault::Order);
        }
        let common = self.last.iter().zip(path).take_while(|(one, other)| one == other).count();
        while self.prefixes.last().is_some_and(|&bytes| bytes > common) {
            self.prefixes.pop();
        }
        if self.prefixes.last().is_some_and(|&above| path.get(above) == Some(&b'/')) {
            return Err(LineFault::InTheWay);
        }
        self.last.clear();
        self.last.extend_from_slice(path);
        self.prefixes.push(path.len());
        Ok(name)
    }
}
