//! The permission to execute a file.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;

const EXECUTE: u32 = 0o111;

/// Lets those who may read a file execute it, as far as the umask allows. All else of its mode stays.
/// Errors: as the system reports them; some filesystems have no such permission.
pub(super) fn allow(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    file.set_permissions(Permissions::from_mode(mode | granted(mode, umask())))
}

fn granted(mode: u32, umask: u32) -> u32 {
    (mode & 0o444) >> 2 & !umask & EXECUTE
}

/// The umask of this process, which nothing in it changes. umask(2) would change it for all threads to tell it. Where the system
/// does not show it, the mode of the file alone counts, which the umask has shaped.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        mask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readers_may_execute_and_only_as_the_umask_allows() {
        for (mode, umask, after) in
            [(0o644, 0o022, 0o755), (0o600, 0o022, 0o700), (0o664, 0o113, 0o664), (0o644, 0o077, 0o744), (0, 0, 0)]
        {
            assert_eq!(mode | granted(mode, umask), after, "{mode:o} {umask:o}");
        }
        let file = tempfile::tempfile().unwrap();
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        allow(&file).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o640 | granted(0o640, umask()));
        assert_ne!(file.metadata().unwrap().permissions().mode() & 0o100, 0, "umask {:o}", umask());
    }
}
