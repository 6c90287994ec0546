//! Part files as nodes order them: opened, given an outline, checked, committed, closed and removed. Watches that no node
//! opens one twice, writes to one that is not open, or finishes what it has not checked.

use crate::conn::{ConnId, Want};
use crate::content::Outline;
use crate::disk::{Fate, OpenPart, PartKey, Stage, part_key};
use crate::host::HostId;
use crate::world::{Occurrence, World};
use pyrate::content::group_count;
use pyrate::fault::{DialFault, DiskFault};
use pyrate::id::{ContentHash, TransferId};
use pyrate::library::ScannedFile;
use pyrate::node::contract::{CheckedPart, DownloadRecord, Event, OpenedPart, PartSpec};

/// Bytes that a disk reads in a millisecond while a part file is checked.
const CHECK_BYTES_PER_MS: u64 = 4_000_000;

/// Sources that a record of a download may hold.
const RECORD_SOURCES_MAX: usize = 64;

impl World {
    /// A record is on the disk, and the node is told.
    pub(crate) fn remember_download(&mut self, host: HostId, record: DownloadRecord, revision: u64) {
        let download = record.id;
        if record.sources.len() > RECORD_SOURCES_MAX {
            self.violation(host, &format!("{} sources of a download are to be remembered", record.sources.len()));
        }
        self.watch_record(host, &record);
        let disk = &mut self.hosts[host.0].disk;
        let key = part_key(&record.spec);
        let before =
            disk.downloads.get(&record.id).map(|before| part_key(&before.spec)).filter(|before| *before != key);
        // A name that is found for a hash is the first that it has.
        let there = |key: &PartKey| disk.files.contains_key(key) || disk.parts.values().any(|part| part.key == *key);
        if before.is_some_and(|before| there(&before)) {
            self.violation(host, &format!("{:?} gets another part file", record.id));
        }
        disk.download_last = disk.download_last.max(record.id.0);
        if !record.events.is_empty() {
            disk.events.insert(record.id, record.events.clone());
        }
        disk.downloads.insert(record.id, record);
        self.recorded(host, download, revision);
    }

    pub(crate) fn forget_download(&mut self, host: HostId, download: TransferId) {
        self.hosts[host.0].disk.downloads.remove(&download);
        self.hosts[host.0].forgot = true;
    }

    /// After a download was forgotten: nothing of it is left, but for what is being removed or finished.
    pub(crate) fn check_orphans(&mut self, host: HostId) {
        if !std::mem::take(&mut self.hosts[host.0].forgot) {
            return;
        }
        let disk = &self.hosts[host.0].disk;
        let remembered = |key: &PartKey| disk.downloads.values().any(|record| part_key(&record.spec) == *key);
        let ending = |key: &PartKey| disk.parts.values().any(|part| part.key == *key && part.fate != Fate::Stay);
        if let Some(key) = disk.files.keys().find(|&key| !remembered(key) && !ending(key)) {
            self.violation(host, &format!("the part file {key:?} belongs to nobody"));
        }
    }

    pub(crate) fn open_part(
        &mut self,
        host: HostId,
        download: TransferId,
        spec: PartSpec,
        b3: Option<ContentHash>,
        size: Option<u64>,
    ) {
        let disk = &mut self.hosts[host.0].disk;
        let key = part_key(&spec);
        let same = disk.parts.contains_key(&download) || disk.parts.values().any(|part| part.key == key);
        if same {
            self.violation(host, &format!("the part file of {download:?} is opened twice"));
        }
        if disk.downloads.get(&download).is_none_or(|record| record.spec != spec) {
            self.violation(host, &format!("a crash would leave the part file of {download:?} to nobody"));
        }
        let (stage, fate) = (Stage::Opening, Fate::Stay);
        let part =
            OpenPart { key, target: spec.target, b3, size, stage, fate, fetches: Default::default(), checked: None };
        disk.parts.insert(download, part);
        // What one source says of a name may change with its file.
        let is_learnt = disk.downloads.get(&download).is_some_and(|record| record.learnt_from.is_some());
        if let Some(b3) = b3
            && !is_learnt
            && *disk.wanted.entry(download).or_insert(b3) != b3
        {
            self.violation(host, &format!("{download:?} wants another content than before"));
        }
        let (span, epoch) = (1 + self.random.below(20), self.hosts[host.0].epoch);
        self.plan(span, Occurrence::PartOpened(host, epoch, download));
    }

    /// A part file is created or taken up, or cannot be.
    pub(crate) fn part_opened(&mut self, host: HostId, download: TransferId) {
        let disk = &mut self.hosts[host.0].disk;
        let Some(part) = disk.parts.get(&download).cloned() else { return };
        let outcome = match disk.fault {
            Some(fault) => Err(fault),
            None => disk.open_at(&part),
        };
        let ready = matches!(outcome, Ok(OpenedPart::Ready { .. }));
        self.end_stage(host, download, ready);
        self.deliver(host, Event::PartOpened { download, outcome });
    }

    /// A stage is through: the part stays open, unless it is not to be.
    fn end_stage(&mut self, host: HostId, download: TransferId, may_stay: bool) {
        let disk = &mut self.hosts[host.0].disk;
        let Some(part) = disk.parts.get_mut(&download) else { return };
        part.stage = Stage::Open;
        match part.fate {
            Fate::Stay if may_stay => return,
            Fate::Stay | Fate::Close => {}
            Fate::Remove => {
                let part = part.clone();
                disk.remove_part(&part.key, &part.target);
            }
        }
        disk.parts.remove(&download);
    }

    /// The part file that an action needs open and at rest.
    fn open_and_quiet(&mut self, host: HostId, download: TransferId, what: &str) -> &mut OpenPart {
        let part = self.hosts[host.0].disk.parts.get(&download);
        if part.is_none_or(|part| part.stage != Stage::Open || !part.fetches.is_empty()) {
            let what = format!("{what} of {download:?}, whose part file is {part:?}");
            self.violation(host, &what);
        }
        self.hosts[host.0].disk.parts.get_mut(&download).unwrap()
    }

    /// A fetch begins to write to a part file.
    pub(crate) fn writes_to(&mut self, host: HostId, download: TransferId, conn: ConnId, alone: bool) {
        match self.hosts[host.0].disk.parts.get_mut(&download) {
            Some(part) if part.stage == Stage::Open && (part.fetches.is_empty() || !alone) => {
                part.fetches.insert(conn);
                part.checked = None;
                self.check_active(host);
            }
            part => {
                let what = format!("a fetch for {download:?}, whose part file is {part:?}");
                self.violation(host, &what);
            }
        }
    }

    /// A disk may be tried beside them; but no more downloads get on than may be active, and as many that crawl.
    fn check_active(&self, host: HostId) {
        let host_of = &self.hosts[host.0];
        let ending = |part: &OpenPart| matches!(part.stage, Stage::Checking | Stage::Committing);
        let active = host_of.disk.parts.values().filter(|part| ending(part) || !part.fetches.is_empty()).count();
        if host_of.config.as_ref().is_some_and(|config| active > 2 * config.max_downloads) {
            self.violation(host, &format!("{active} downloads are active"));
        }
    }

    /// A fetch is over, or writes no more.
    pub(crate) fn writes_no_more(&mut self, host: HostId, download: TransferId, conn: ConnId) {
        if let Some(part) = self.hosts[host.0].disk.parts.get_mut(&download) {
            part.fetches.remove(&conn);
        }
    }

    pub(crate) fn set_outline(&mut self, host: HostId, download: TransferId, b3: ContentHash, size: u64) {
        self.open_and_quiet(host, download, "the outline").checked = None;
        if group_count(size) > 1 {
            self.violation(host, "a content of several groups takes chaining values");
        }
        let disk = &mut self.hosts[host.0].disk;
        if let Some(fault) = disk.fault {
            let epoch = self.hosts[host.0].epoch;
            return self.plan(0, Occurrence::PartFailed(host, epoch, download, fault));
        }
        if disk.file_of(download).is_some_and(|file| !file.set_outline(Outline { b3, size })) {
            self.violation(host, &format!("{download:?} takes a size that its verified groups contradict"));
        }
    }

    /// Metadata came for a part file, and prove themselves.
    pub(crate) fn outline_came(
        &mut self,
        host: HostId,
        download: TransferId,
        outline: Outline,
    ) -> Result<(), DialFault> {
        let disk = &mut self.hosts[host.0].disk;
        if let Some(fault) = disk.fault {
            return Err(DialFault::Disk(fault));
        }
        // Metadata that others are asked for at the same time are not checked against it.
        let is_file = |other: &&ConnId| self.conns.get(*other).is_some_and(|other| matches!(other.want, Want::File(_)));
        let others = disk.parts.get(&download).is_some_and(|part| part.fetches.iter().any(|it| is_file(&it)));
        let file = disk.file_of(download).ok_or(DialFault::Aborted)?;
        if file.outline != Some(outline) && others {
            self.violation(host, &format!("{download:?} gets another outline under a fetch in progress"));
        }
        if file.set_outline(outline) { Ok(()) } else { Err(DialFault::Corrupt) }
    }

    /// `original`: the file of the share of which the part file becomes a copy before.
    pub(crate) fn check_part(&mut self, host: HostId, download: TransferId, original: Option<&ScannedFile>) {
        self.open_and_quiet(host, download, "the check").stage = Stage::Checking;
        let disk = &mut self.hosts[host.0].disk;
        if let Some(Ok(content)) = original.map(|original| disk.unchanged(original))
            && let Some(file) = disk.file_of(download)
        {
            file.stream = Some(content);
        }
        let size = self.hosts[host.0].disk.file_of(download).map_or(0, |file| file.content().size);
        let (span, epoch) = (1 + size / CHECK_BYTES_PER_MS, self.hosts[host.0].epoch);
        self.plan(span, Occurrence::PartChecked(host, epoch, download));
    }

    pub(crate) fn part_checked(&mut self, host: HostId, download: TransferId) {
        let disk = &mut self.hosts[host.0].disk;
        // What cannot be written may well be read.
        let fault = disk.fault.filter(|fault| matches!(fault, DiskFault::Other(_)));
        let Some(file) = disk.file_of(download) else { return };
        let outcome = match fault {
            Some(fault) => Err(fault),
            None => {
                let bad = file.take_bad();
                let content = file.content();
                Ok(CheckedPart { b3: content.b3(), size: content.size, bad })
            }
        };
        if let Some(part) = disk.parts.get_mut(&download) {
            part.checked = outcome.as_ref().ok().map(|checked| checked.b3);
        }
        self.end_stage(host, download, true);
        self.deliver(host, Event::PartChecked { download, outcome });
    }

    pub(crate) fn commit_part(&mut self, host: HostId, download: TransferId) {
        let part = self.open_and_quiet(host, download, "the commit");
        part.stage = Stage::Committing;
        let (checked, wanted) = (part.checked, part.b3);
        let Some(file) = self.hosts[host.0].disk.file_of(download) else {
            self.violation(host, &format!("{download:?} is committed, and has no part file"))
        };
        let content = file.content();
        if checked != Some(content.b3()) {
            self.violation(host, &format!("{download:?} is committed, and was not checked"));
        }
        if wanted.is_some_and(|wanted| wanted != content.b3()) {
            self.violation(host, &format!("{download:?} is committed, and is not what was wanted"));
        }
        let (span, epoch) = (1 + self.random.below(50), self.hosts[host.0].epoch);
        self.plan(span, Occurrence::PartCommitted(host, epoch, download));
    }

    /// A part file gets its final name, or cannot; in either case it is not open any more.
    pub(crate) fn part_committed(&mut self, host: HostId, download: TransferId) {
        let disk = &mut self.hosts[host.0].disk;
        let Some(part) = disk.parts.get(&download).cloned() else { return };
        let outcome = match disk.fault {
            Some(fault) => Err(fault),
            None => disk.name_part(&part),
        };
        self.end_stage(host, download, false);
        self.deliver(host, Event::PartCommitted { download, outcome });
    }

    pub(crate) fn close_part(&mut self, host: HostId, download: TransferId) {
        let disk = &mut self.hosts[host.0].disk;
        match disk.parts.get_mut(&download) {
            Some(part) if part.stage != Stage::Open => {
                part.fate = if part.fate == Fate::Stay { Fate::Close } else { part.fate };
            }
            Some(_) => {
                self.open_and_quiet(host, download, "the closing");
                self.hosts[host.0].disk.parts.remove(&download);
            }
            None => {}
        }
    }

    pub(crate) fn drop_part(&mut self, host: HostId, download: TransferId, spec: &PartSpec) {
        let key = part_key(spec);
        let disk = &mut self.hosts[host.0].disk;
        match disk.parts.get_mut(&download) {
            Some(part) if part.key != key => {
                self.violation(host, &format!("the part file of {download:?} is removed by another name"));
            }
            Some(part) if part.stage != Stage::Open => part.fate = Fate::Remove,
            Some(_) => {
                self.open_and_quiet(host, download, "the removal");
                self.hosts[host.0].disk.parts.remove(&download);
                self.hosts[host.0].disk.remove_part(&key, &spec.target);
            }
            None => disk.remove_part(&key, &spec.target),
        }
    }
}
