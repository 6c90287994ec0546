//! Whether the disks of the configured paths answer: each path is looked at in a thread of its own, for a limited time, before
//! anything waits for it. One that hangs holds its thread, and nothing else.

use super::config::Config;
use super::fault::Fault;
use super::value::LogPlace;
use crate::driver::{Clock, with_signals_blocked};
use crate::fault::DiskFault;
use crate::store::{check_readable_directory, check_writable_directory};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a start waits for a disk: most of those that stood still have spun up by then.
pub(super) const START_WAIT_MAX: Duration = if cfg!(test) { RELOAD_WAIT_MAX } else { Duration::from_secs(10) };

/// How long a reload waits for a disk. It looks twice, and is given up after 20 s.
pub(super) const RELOAD_WAIT_MAX: Duration =
    if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(5) };

/// Most threads that hang while they look at one path. More than one, since a filesystem that is mounted there anew answers, while a
/// thread that looks at the one before still hangs.
const THREADS_PER_PATH_MAX: usize = 4;

const THREAD_NAME: &str = "pyrate-probe";

/// How far the looks have come that have not ended, by the path that they are at.
static LOOKS: Mutex<BTreeMap<PathBuf, Vec<Arc<Mutex<Reached>>>>> = Mutex::new(BTreeMap::new());

/// The last directory on the way to a path that has answered.
#[derive(Debug, Clone)]
struct Reached {
    path: PathBuf,
    /// Without links.
    real: PathBuf,
    /// It was waited for in vain: the look hangs.
    is_given_up: bool,
}

impl Reached {
    fn at(path: &Path, real: PathBuf) -> Self {
        Self { path: path.to_owned(), real, is_given_up: false }
    }

    fn root() -> Self {
        Self::at(Path::new("/"), "/".into())
    }

    fn go_on(&mut self, path: &Path, real: PathBuf) {
        (self.path, self.real) = (path.to_owned(), real);
    }

    /// What does not answer on the way to a path.
    fn next_to(&self, path: &Path) -> PathBuf {
        let rest = path.strip_prefix(&self.path).ok();
        let next = rest.and_then(|rest| rest.components().next()).map(|next| self.path.join(next));
        next.unwrap_or_else(|| path.to_owned())
    }
}

/// What a look has found.
#[derive(Debug, Clone, Default)]
pub(super) struct Probed {
    /// What does not answer, with the last that does on the way to it.
    hung: BTreeMap<PathBuf, Reached>,
}

/// Looks at all paths of configurations, which must be settled: until all have answered, but no longer than `wait_max`.
///
/// # Errors
/// [`Fault::Probe`] if a thread cannot be created.
pub(super) fn look_at<'c>(configs: impl IntoIterator<Item = &'c Config>, wait_max: Duration) -> Result<Probed, Fault> {
    let paths = configs.into_iter().flat_map(paths).collect();
    look(paths, wait_max, examine).map_err(Fault::Probe)
}

/// Whether the disk of a log answers, as far as this can be found out.
pub(super) fn log_answers(place: &LogPlace) -> bool {
    let LogPlace::File(path) = place else { return true };
    look([path.clone()].into(), RELOAD_WAIT_MAX, examine).is_ok_and(|probed| !probed.is_hung(path))
}

fn look(paths: BTreeSet<PathBuf>, wait_max: Duration, examine: fn(&Path, &Mutex<Reached>)) -> io::Result<Probed> {
    let clock = Clock::start();
    let until = clock.now() + wait_max;
    let (sender, answers) = mpsc::channel();
    let (mut probed, mut asked) = (Probed::default(), BTreeMap::new());
    for path in paths {
        match begin(&path) {
            Ok(reached) => {
                let thread = ask(path.clone(), Arc::clone(&reached), sender.clone(), examine)?;
                asked.insert(path, (thread, reached));
            }
            Err(reached) => probed.add(&path, reached),
        }
    }
    while !asked.is_empty()
        && let Ok(path) = answers.recv_timeout(until.saturating_since(clock.now()))
    {
        // It has done all that it had to: the process is to have one thread again.
        let thread = asked.remove(&path).map(|(thread, _)| JoinHandle::join(thread));
        drop(thread);
    }
    for (path, (_, reached)) in asked {
        let mut reached = locked(&reached);
        reached.is_given_up = true;
        probed.add(&path, reached.clone());
    }
    Ok(probed)
}

/// Notes that a thread is to look at a path. Fails if too many hang, with how far the last one has come.
fn begin(path: &Path) -> Result<Arc<Mutex<Reached>>, Reached> {
    let mut looks = locked(&LOOKS);
    let of_path = looks.entry(path.to_owned()).or_default();
    let hung: Vec<Reached> = of_path.iter().map(|look| locked(look).clone()).filter(|look| look.is_given_up).collect();
    if hung.len() >= THREADS_PER_PATH_MAX
        && let Some(last) = hung.into_iter().last()
    {
        return Err(last);
    }
    let reached = Arc::new(Mutex::new(Reached::root()));
    of_path.push(Arc::clone(&reached));
    Ok(reached)
}

/// Notes that this thread does not look at a path any more.
fn end(path: &Path, reached: &Arc<Mutex<Reached>>) {
    let mut looks = locked(&LOOKS);
    if let Some(of_path) = looks.get_mut(path) {
        of_path.retain(|other| !Arc::ptr_eq(other, reached));
        if of_path.is_empty() {
            looks.remove(path);
        }
    }
}

fn ask(
    path: PathBuf,
    reached: Arc<Mutex<Reached>>,
    answer: Sender<PathBuf>,
    examine: fn(&Path, &Mutex<Reached>),
) -> io::Result<JoinHandle<()>> {
    let not_asked = (path.clone(), Arc::clone(&reached));
    let look = move || {
        examine(&path, &reached);
        end(&path, &reached);
        // Fails when the answer comes late.
        let _ = answer.send(path);
    };
    let spawned = with_signals_blocked(|| thread::Builder::new().name(THREAD_NAME.into()).spawn(look))
        .and_then(|spawned| spawned);
    spawned.inspect_err(|_| end(&not_asked.0, &not_asked.1))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Probed {
    fn add(&mut self, path: &Path, reached: Reached) {
        self.hung.insert(reached.next_to(path), reached);
    }

    fn on_way(&self, path: &Path) -> Option<&Reached> {
        path.ancestors().find_map(|above| self.hung.get(above))
    }

    /// Whether the disk of a path did not answer, as far as it was looked at.
    pub(super) fn is_hung(&self, path: &Path) -> bool {
        self.on_way(path).is_some()
    }

    /// An error for a path that hangs.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`].
    pub(super) fn check(&self, path: &Path) -> io::Result<()> {
        if self.is_hung(path) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, DiskFault::NoAnswer.to_string()));
        }
        Ok(())
    }

    /// A path without links, as far as the system can say.
    pub(super) fn real(&self, path: &Path) -> PathBuf {
        let real = match self.on_way(path) {
            None => path.canonicalize().ok(),
            Some(reached) => path.strip_prefix(&reached.path).ok().map(|rest| reached.real.join(rest)),
        };
        real.unwrap_or_else(|| path.to_owned())
    }

    /// Whether two directories, whose paths have no links, are the same, or one is inside of the other.
    pub(super) fn overlap(&self, one: &Path, other: &Path) -> bool {
        // A bind mount gives one directory two paths.
        let inode = |path: &Path| {
            let found = self.check(path).and_then(|()| fs::metadata(path));
            found.ok().map(|found| (found.dev(), found.ino()))
        };
        let is_same = inode(one).is_some_and(|found| Some(found) == inode(other));
        is_same || one.starts_with(other) || other.starts_with(one)
    }

    #[cfg(test)]
    pub(super) fn with_hung(path: &Path) -> Self {
        let above = path.parent().unwrap();
        let reached = Reached::at(above, above.canonicalize().unwrap());
        Self { hung: [(path.to_owned(), reached)].into() }
    }
}

/// Waits for all that the checks of the configuration, the sandbox and the start wait for.
fn examine(path: &Path, reached: &Mutex<Reached>) {
    let on_way: Vec<&Path> = path.ancestors().collect();
    for above in on_way.into_iter().rev() {
        let Ok(real) = above.canonicalize() else { break };
        locked(reached).go_on(above, real);
    }
    let _ = fs::metadata(path);
    let _ = check_readable_directory(path);
    let _ = check_writable_directory(path);
}

/// The paths that a daemon with this configuration looks at before its first turn.
fn paths(config: &Config) -> BTreeSet<PathBuf> {
    let mut paths: BTreeSet<PathBuf> =
        [&config.state_directory, &config.control_socket].into_iter().flatten().cloned().collect();
    if let LogPlace::File(path) = &config.log_file {
        paths.insert(path.clone());
    }
    if config.peer {
        let local = &config.local_directory;
        let shares = config.share.iter().flat_map(|share| [share.path.clone(), local.join(&share.name)]);
        paths.extend(shares.chain([local.clone()]));
        paths.extend([&config.download_directory, &config.watch_directory].into_iter().flatten().cloned());
        let in_sandbox = config.sandbox_writable.iter().chain(&config.sandbox_readable);
        paths.extend(in_sandbox.filter(|_| config.sandbox).cloned());
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, Condvar, LazyLock};

    /// How many have looked at a path that hangs, and whether it still does.
    static LOOKED: AtomicUsize = AtomicUsize::new(0);
    static HANGS: LazyLock<(Mutex<bool>, Condvar)> = LazyLock::new(|| (Mutex::new(true), Condvar::new()));

    fn hang(path: &Path, _: &Mutex<Reached>) {
        if path.ends_with("hangs") {
            LOOKED.fetch_add(1, Ordering::Relaxed);
            let (hangs, changed) = &*HANGS;
            drop(changed.wait_while(hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        }
    }

    #[test]
    fn a_path_that_hangs_holds_few_threads_and_no_other_path_until_it_answers() {
        let look = || look(["/hangs", "/works"].map(PathBuf::from).into(), RELOAD_WAIT_MAX, hang).unwrap();
        for _ in 0..THREADS_PER_PATH_MAX + 2 {
            let probed = look();
            let is_hung = ["/hangs", "/hangs/below", "/works", "/"].map(|path| probed.is_hung(Path::new(path)));
            assert_eq!(is_hung, [true, true, false, false]);
        }
        assert_eq!(LOOKED.load(Ordering::Relaxed), THREADS_PER_PATH_MAX);
        let (hangs, changed) = &*HANGS;
        *hangs.lock().unwrap() = false;
        changed.notify_all();
        while locked(&LOOKS).contains_key(Path::new("/hangs")) {
            thread::yield_now();
        }
        assert!(look().hung.is_empty());
    }

    /// As by the nodes of one process that start together.
    #[test]
    fn a_path_that_many_look_at_at_once_does_not_hang() {
        static TOGETHER: Barrier = Barrier::new(THREADS_PER_PATH_MAX + 2);
        let together = |_: &Path, _: &Mutex<Reached>| _ = TOGETHER.wait();
        thread::scope(|threads| {
            let begin = || {
                let probed = look([PathBuf::from("/together")].into(), Duration::from_secs(60), together).unwrap();
                assert!(probed.hung.is_empty());
            };
            (0..THREADS_PER_PATH_MAX + 2).for_each(|_| drop(threads.spawn(begin)));
        });
    }

    /// The way is known as far as it answers, also where it has links.
    #[test]
    fn what_hangs_begins_behind_the_last_that_answers() {
        let scratch = tempfile::tempdir().unwrap();
        let (linked, link) = (scratch.path().join("linked"), scratch.path().join("link"));
        fs::create_dir(&linked).unwrap();
        symlink(&linked, &link).unwrap();
        let reached = Mutex::new(Reached::root());
        examine(&link.join("hangs/below"), &reached);
        let mut probed = Probed::default();
        probed.add(&link.join("hangs/below"), reached.into_inner().unwrap());
        for (path, expected) in [("", false), ("works", false), ("hangs", true), ("hangs/other", true)] {
            assert_eq!(probed.is_hung(&link.join(path)), expected, "{path}");
        }
        let real = linked.canonicalize().unwrap();
        assert_eq!(probed.real(&link.join("hangs/other")), real.join("hangs/other"));
        assert!(probed.overlap(&probed.real(&link.join("hangs")), &real), "it is inside, by another path");
        let all = Reached::at(&link.join("hangs"), real.join("hangs"));
        assert_eq!(all.next_to(&link.join("hangs")), link.join("hangs"), "links and attributes alone are known of it");
    }
}
