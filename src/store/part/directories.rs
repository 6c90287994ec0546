//! Directories of a download that have no file.

use super::PartRequest;
use crate::fault::DiskFault;
use crate::name::FileName;
use crate::part::Target;
use crate::store::descent::{self, Missing};
use crate::store::disk::fault;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::sync::Arc;

impl PartRequest {
    /// Creates these directories beneath the one that the target names, with those on the way. Returns the paths that something
    /// else is in the way of. Waits for the disk.
    /// Errors: [`DiskFault::EmptyMountPoint`] if the directory's filesystem seems not to be mounted; otherwise as the system
    /// reports them. Then some may be there.
    pub(crate) fn make_directories(&self, paths: Vec<FileName>) -> Result<Vec<FileName>, DiskFault> {
        let Target::Within { directory, .. } = &self.spec.target else { return Ok(paths) };
        self.check_mount(directory)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let base = Arc::new(open(directory, flags, Mode::empty()).map_err(fault)?);
        let mut in_the_way = Vec::new();
        for path in paths {
            descent::split(path.as_bytes())?;
            match descent::descend(Arc::clone(&base), path.as_bytes(), Missing::Created) {
                Ok(_) => {}
                Err(DiskFault::NotDirectory | DiskFault::Exists) => in_the_way.push(path),
                Err(fault) => return Err(fault),
            }
        }
        Ok(in_the_way)
    }
}
