//! The state store of a durable job follows the epochs in its own time: a thread applies to it what keyed
//! state says now and then, and nobody waits for that.
//!
//! Between two such epochs the log has what the store has not; entries that came and went in between never
//! reach the store.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::copies::CopyOrder;
use crate::channel::WorkSender;
use crate::config::EngineConfig;
use crate::epoch::StoreMarks;
use crate::error::guard;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::state::{Changes, StateBackend, StateStore, TableChanges, VisitRow, VisitValue};
use crate::time::Epoch;

/// Time between two epochs with which the store is brought up to date on disk, in milliseconds.
const INTERVAL_MS: u64 = 10_000;

/// Bytes of one write while the log is replayed.
const REPLAY_BYTES: usize = 4 << 20;

/// Opens the store, or makes one; and says whether there is one.
type Open = Box<dyn Fn(bool) -> Result<Option<Arc<dyn StateStore>>> + Send + Sync>;

/// An epoch for the store, and the copies that are to be made of it.
type Work = (Epoch, Vec<TableChanges>, Option<CopyOrder>);

/// A store that is only looked at, and its tables.
pub(crate) type Looked = (Arc<dyn StateStore>, Vec<String>);

/// What the instances of a job, its epochs and its log share about the store.
pub(crate) struct StoreHome {
    open: Open,
    opened: Mutex<Option<Arc<dyn StateStore>>>,
    pub(crate) marks: StoreMarks,
    durable: AtomicU64,
    /// When an epoch was asked for last that the store brings to the disk, and whether the one asked for is.
    flush_ms: AtomicU64,
    is_flush_due: AtomicBool,
    /// Keyed state has no room left for what the store does not have.
    pub(crate) is_pressed: Arc<AtomicBool>,
    /// When a snapshot was due last, and how often it is; 0 is never.
    snapshot_ms: AtomicU64,
    snapshot_interval_ms: AtomicU64,
    /// A snapshot of the next epoch for the store is to be made.
    is_wanted: AtomicBool,
    /// What a driver without threads has not applied yet.
    waiting: Mutex<Option<Work>>,
    failure: Mutex<Option<String>>,
}

impl fmt::Debug for StoreHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHome").field("marks", &self.marks).finish_non_exhaustive()
    }
}

impl StoreHome {
    fn new(open: Open) -> Arc<Self> {
        Arc::new(StoreHome {
            open,
            opened: Mutex::new(None),
            marks: StoreMarks::default(),
            durable: AtomicU64::new(0),
            flush_ms: AtomicU64::new(0),
            is_flush_due: AtomicBool::new(false),
            is_pressed: Arc::default(),
            snapshot_ms: AtomicU64::new(0),
            snapshot_interval_ms: AtomicU64::new(0),
            is_wanted: AtomicBool::new(false),
            waiting: Mutex::new(None),
            failure: Mutex::new(None),
        })
    }

    /// The store; `None` when there is none and `create` does not ask for one.
    fn store(&self, create: bool) -> Result<Option<Arc<dyn StateStore>>> {
        let mut opened = guard(&self.opened);
        if opened.is_none() {
            *opened = (self.open)(create)?;
        }
        Ok(opened.clone())
    }

    fn made(&self) -> Result<Arc<dyn StateStore>> {
        self.store(true)?.ok_or_else(|| Error::failed("the state store cannot be made"))
    }

    /// Asks keyed state to say with this epoch how it differs from the store, if it is time to.
    pub(crate) fn ask(&self, epoch: Epoch, now_ms: u64) {
        let interval_ms = self.snapshot_interval_ms.load(SeqCst);
        if interval_ms > 0 && now_ms.saturating_sub(self.snapshot_ms.load(SeqCst)) >= interval_ms {
            self.snapshot_ms.store(now_ms, SeqCst);
            self.want_snapshot();
        }
        let is_due = now_ms.saturating_sub(self.flush_ms.load(SeqCst)) >= INTERVAL_MS;
        if self.is_idle() && (is_due || self.is_pressed.swap(false, SeqCst) || self.is_awaited()) {
            if is_due {
                self.flush_ms.store(now_ms, SeqCst);
                self.is_flush_due.store(true, SeqCst);
            }
            self.marks.asked.store(epoch.0, SeqCst);
        }
    }

    /// True when the store has taken all that it asked for. It may still be on the way to the disk: until then
    /// the log has it.
    fn is_idle(&self) -> bool {
        self.asked_epoch() <= self.marks.applied.load(SeqCst)
    }

    /// True when sources wait for the store, and an epoch for it could begin.
    pub(crate) fn is_awaited(&self) -> bool {
        self.marks.needed.load(SeqCst) > self.asked_epoch() && self.is_idle()
    }

    /// Asks for an epoch for the store as soon as one can be.
    pub(crate) fn press(&self) {
        self.is_pressed.store(true, SeqCst);
    }

    /// Asks for a snapshot as soon as one can be made.
    pub(crate) fn want_snapshot(&self) {
        self.is_wanted.store(true, SeqCst);
        self.press();
    }

    /// An empty store that is at this epoch.
    pub(super) fn begin_at(&self, epoch: Epoch) -> Result<()> {
        let store = self.made()?;
        store.apply(&[], Some(epoch))?;
        store.flush()
    }

    /// Copies the store, which is at this epoch or was never needed.
    pub(super) fn copy_to(&self, epoch: Epoch, place: &Path) -> Result<()> {
        let store = self.made()?;
        if store.applied()? != epoch {
            self.begin_at(epoch)?;
        }
        store.copy_to(place)
    }

    /// The last epoch for which keyed state was asked.
    pub(crate) fn asked_epoch(&self) -> u64 {
        self.marks.asked.load(SeqCst)
    }

    /// The table of an operator, as of the epoch that the store is at.
    pub(crate) fn table(self: &Arc<Self>, operator: &str) -> Box<dyn StateBackend> {
        Box::new(Table { operator: operator.to_owned(), home: Arc::clone(self), opened: None })
    }

    /// Does the work that waits, as the thread of a run does.
    pub(crate) fn work_off(&self) {
        let waiting = guard(&self.waiting).take();
        if let Some((epoch, changes, order)) = waiting {
            self.follow(epoch, &changes, order);
        }
    }

    /// Applies an epoch; false when the store cannot go on.
    fn follow(&self, epoch: Epoch, changes: &[TableChanges], order: Option<CopyOrder>) -> bool {
        match self.apply(epoch, changes, order) {
            Ok(()) => true,
            Err(error) => {
                *guard(&self.failure) = Some(error.to_string());
                false
            }
        }
    }

    fn apply(&self, epoch: Epoch, changes: &[TableChanges], order: Option<CopyOrder>) -> Result<()> {
        let store = self.made()?;
        failpoint::pass("store.apply");
        let said = if failpoint::bug("store-ahead") { Epoch(epoch.0 + 1) } else { epoch };
        store.apply(changes, Some(said))?;
        self.marks.applied.store(epoch.0, SeqCst);
        failpoint::pass("store.applied");
        // What is only to leave memory need not be on the disk: a flush per such epoch would leave as many
        // small files, and merging them would cost more than all the rest.
        if order.is_some() || self.is_flush_due.swap(false, SeqCst) {
            store.flush()?;
            self.durable.store(epoch.0, SeqCst);
            failpoint::pass("store.flushed");
        }
        if let Some(order) = order {
            order.carry_out(Some(&*store));
        }
        Ok(())
    }
}

/// A table of a store that may not exist yet; keyed state only reads it.
#[derive(Debug)]
struct Table {
    operator: String,
    home: Arc<StoreHome>,
    opened: Option<Box<dyn StateBackend>>,
}

impl Table {
    fn open(&mut self) -> Result<Option<&mut Box<dyn StateBackend>>> {
        if self.opened.is_none()
            && let Some(store) = self.home.store(false)?
        {
            self.opened = Some(store.table(&self.operator)?);
        }
        Ok(self.opened.as_mut())
    }
}

impl StateBackend for Table {
    fn table(&self) -> &str {
        &self.operator
    }

    fn get_many(&mut self, keys: &[&[u8]], visit: VisitValue<'_>) -> Result<()> {
        self.open()?.map_or(Ok(()), |table| table.get_many(keys, visit))
    }

    fn write(&mut self, _: &Changes) -> Result<()> {
        Err(Error::failed("the state of a durable job is written with its epochs only; please report this"))
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
        visit: VisitRow<'_>,
    ) -> Result<usize> {
        self.open()?.map_or(Ok(0), |table| table.scan(prefix, after, rows_max, visit))
    }
}

/// The thread that applies, and what it shares.
pub(crate) struct StoreThread {
    home: Arc<StoreHome>,
    /// Deletes the store.
    clear: Box<dyn Fn() -> Result<()> + Send>,
    /// `None`: it waits until the driver has it done.
    work: Option<WorkSender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl StoreThread {
    /// The RocksDB in `directory/state`, opened when it is needed.
    ///
    /// # Errors
    /// The thread cannot be started.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn of_directory(directory: &Path, config: &EngineConfig) -> Result<Self> {
        use crate::state::{RocksStore, damage_marker};
        let place = super::snapshots::store_of(directory);
        let (shown, memory_bytes) =
            (place.clone(), config.state_bytes_max / crate::runtime::memory::STORE_PART);
        let open = move |create: bool| {
            Ok(if create || RocksStore::exists(&place) {
                Some(Arc::new(RocksStore::open(&place, memory_bytes)?) as Arc<dyn StateStore>)
            } else {
                None
            })
        };
        let clear = move || {
            RocksStore::delete(&shown)
                .or_else(|error| if error.state_damage().is_some() { Ok(()) } else { Err(error) })?;
            // What a store leaves that was never complete, or is damaged.
            super::snapshots::remove(&shown)?;
            super::snapshots::remove(&damage_marker(&shown))
        };
        let home = StoreHome::new(Box::new(open));
        if config.snapshots_kept > 0 {
            home.snapshot_interval_ms.store(config.snapshot_interval_ms, SeqCst);
        }
        Self::start(home, Box::new(clear))
    }

    /// Without RocksDB there is no store on disk.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "rocksdb"))]
    pub(crate) fn of_directory(_: &Path, _: &EngineConfig) -> Result<Self> {
        Err(Error::Config(
            "a state directory needs the feature `rocksdb`: enable it, or run without `state_dir`".into(),
        ))
    }

    /// The store in `directory` as it is on the disk now, only to read, and its tables; `None` when there is
    /// none.
    ///
    /// # Errors
    /// The store is damaged or not accessible.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn look(directory: &Path) -> Result<Option<Looked>> {
        let store = crate::state::RocksStore::open_to_read(super::snapshots::store_of(directory))?;
        Ok(store.map(|store| {
            let tables = store.tables();
            (Arc::new(store) as Arc<dyn StateStore>, tables)
        }))
    }

    /// Without RocksDB there is no store on disk.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(feature = "rocksdb"))]
    pub(crate) fn look(_: &Path) -> Result<Option<Looked>> {
        Ok(None)
    }

    /// A store that is there already, without a thread: for drivers that have none.
    pub(crate) fn inline(store: impl StateStore + 'static) -> Self {
        let store: Arc<dyn StateStore> = Arc::new(store);
        let home = StoreHome::new(Box::new(move |_| Ok(Some(Arc::clone(&store)))));
        StoreThread { home, clear: Box::new(|| Ok(())), work: None, thread: None }
    }

    #[cfg(feature = "rocksdb")]
    fn start(home: Arc<StoreHome>, clear: Box<dyn Fn() -> Result<()> + Send>) -> Result<Self> {
        let (sender, receiver) = crate::channel::work_queue::<Work>(1);
        let shared = Arc::clone(&home);
        let thread = std::thread::Builder::new().name("headwater-store".to_owned()).spawn(move || {
            while let Some((epoch, changes, order)) = receiver.next() {
                if !shared.follow(epoch, &changes, order) {
                    return;
                }
            }
        })?;
        Ok(StoreThread { home, clear, work: Some(sender), thread: Some(thread) })
    }

    /// What instances and epochs share with it.
    pub(crate) fn home(&self) -> Arc<StoreHome> {
        Arc::clone(&self.home)
    }

    /// Deletes what an earlier job left, whose log is gone.
    pub(crate) fn clear(&self) -> Result<()> {
        (self.clear)()
    }

    /// The epoch that the store is at.
    pub(crate) fn applied(&self) -> Result<Epoch> {
        self.home.store(false)?.map_or(Ok(Epoch(0)), |store| store.applied())
    }

    /// The newest epoch of which the store may hold some changes.
    pub(crate) fn touched(&self) -> Result<Epoch> {
        self.home.store(false)?.map_or(Ok(Epoch(0)), |store| store.touched())
    }

    /// This is the epoch that the store on disk is at.
    pub(crate) fn found(&self, applied: Epoch) {
        self.home.marks.applied.store(applied.0, SeqCst);
        self.home.durable.store(applied.0, SeqCst);
    }

    /// Brings the store up to this epoch from the log.
    pub(crate) fn replay(&self, last: Epoch) -> Replay<'_> {
        Replay { home: &self.home, last, changes: Vec::new(), bytes: 0, touched: false }
    }

    /// An epoch is durable in the log. `changes` are those of all keyed state, if it was asked for them.
    pub(super) fn committed(
        &self,
        epoch: Epoch,
        changes: Vec<TableChanges>,
        order: Option<CopyOrder>,
    ) -> Result<()> {
        if !self.is_asked(epoch) {
            return Ok(());
        }
        match &self.work {
            Some(work) => work.try_send((epoch, changes, order)),
            None => {
                *guard(&self.home.waiting) = Some((epoch, changes, order));
                Ok(())
            }
        }
    }

    /// True when this epoch says how state differs from the store.
    pub(super) fn is_asked(&self, epoch: Epoch) -> bool {
        self.home.marks.asked.load(SeqCst) == epoch.0
    }

    /// True when a snapshot is wanted; it is taken for made.
    pub(super) fn takes_snapshot(&self) -> bool {
        self.home.is_wanted.swap(false, SeqCst)
    }

    /// Closes the store; the next use opens it again.
    pub(super) fn close(&self) {
        *guard(&self.home.opened) = None;
    }

    /// The epoch up to which the store needs no log.
    pub(crate) fn durable(&self) -> Result<Epoch> {
        match &*guard(&self.home.failure) {
            Some(failure) => Err(Error::failed(failure)),
            None => Ok(Epoch(self.home.durable.load(SeqCst))),
        }
    }
}

impl Drop for StoreThread {
    /// The store must be closed before a next attempt opens it.
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been seen as an epoch that was never applied.
            let _ = thread.join();
        }
        *guard(&self.home.opened) = None;
    }
}

/// Changes on their way from the log to the store.
pub(crate) struct Replay<'a> {
    home: &'a StoreHome,
    /// The epoch that they lead to.
    last: Epoch,
    changes: Vec<TableChanges>,
    bytes: usize,
    /// The store knows that it may hold some of them.
    touched: bool,
}

impl Replay<'_> {
    /// Adds the changes of one table. Values are absolute: what is applied twice is as if applied once.
    pub(crate) fn push(&mut self, operator: &str, changes: &[u8]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.bytes += changes.len();
        self.changes.push((operator.to_owned(), changes.to_vec()));
        if self.bytes >= REPLAY_BYTES {
            let store = self.home.made()?;
            if !std::mem::replace(&mut self.touched, true) {
                store.touch(self.last)?;
            }
            store.apply(&self.changes, None)?;
            self.changes.clear();
            self.bytes = 0;
        }
        Ok(())
    }

    /// Everything was added.
    pub(crate) fn finish(self) -> Result<()> {
        let epoch = self.last;
        let Some(store) = self.home.store(!self.changes.is_empty())? else { return Ok(()) };
        store.apply(&self.changes, Some(epoch))?;
        failpoint::pass("recover.store.applied");
        self.home.marks.applied.store(epoch.0, SeqCst);
        // Or a job that never runs long enough to ask its store would keep its whole log, and read it again
        // at every start.
        store.flush()?;
        self.home.durable.store(epoch.0, SeqCst);
        Ok(())
    }
}
