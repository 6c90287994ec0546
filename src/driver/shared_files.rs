//! Opened files of the share: `disk` opens and closes them, exchanges read them.

use crate::aligned::Aligned;
use crate::fault::DiskFault;
use crate::id::ExchangeId;
use crate::store::SharedFile;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// The number of an opening of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpenedId(pub(super) u64);

/// A use of an opened file that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) file: OpenedId,
    /// Whose reads of it are not needed any more.
    pub(super) exchange: ExchangeId,
}

/// The uses that have ended, for the owner of the files.
pub(super) type LeftFiles = Rc<RefCell<Vec<Left>>>;

/// The use of an opened file by one exchange. Its owner hears when it is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    file: Arc<SharedFile>,
    used: Left,
    left: LeftFiles,
}

impl Reader {
    pub(super) fn new(file: &Arc<SharedFile>, used: Left, left: &LeftFiles) -> Self {
        Self { file: Arc::clone(file), used, left: Rc::clone(left) }
    }

    pub(super) fn file(&self) -> &SharedFile {
        &self.file
    }

    /// Which opening this is a use of: all its uses share one descriptor.
    pub(super) fn id(&self) -> OpenedId {
        self.used.file
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.left.borrow_mut().push(self.used);
    }
}

/// A read that is ordered; only [`Reads::order`] makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ordered(u64);

/// Proof that a read is ordered whose end resumes the connection. Good for one wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AwaitsRead(());

impl Ordered {
    pub(super) fn awaits(self) -> AwaitsRead {
        AwaitsRead(())
    }
}

/// A read that waits for the disk.
#[derive(Debug)]
pub(super) struct ReadOrder {
    pub(super) ordered: Ordered,
    pub(super) used: Left,
    pub(super) file: Arc<SharedFile>,
    pub(super) at: u64,
    pub(super) count: usize,
    /// For the bytes, whatever it holds.
    pub(super) buffer: Aligned,
}

/// How a read ended: bytes of the unchanged file.
pub(super) type ReadOutcome = Result<Aligned, DiskFault>;

/// Ordered reads, which `disk` takes after each step of a connection.
#[derive(Debug, Default)]
pub(super) struct Reads {
    orders: VecDeque<ReadOrder>,
    last: u64,
}

impl Reads {
    pub(super) fn order(&mut self, reader: &Reader, at: u64, count: usize, buffer: Aligned) -> Ordered {
        self.last += 1;
        let ordered = Ordered(self.last);
        let file = Arc::clone(&reader.file);
        self.orders.push_back(ReadOrder { ordered, used: reader.used, file, at, count, buffer });
        ordered
    }

    pub(super) fn pop(&mut self) -> Option<ReadOrder> {
        self.orders.pop_front()
    }
}
