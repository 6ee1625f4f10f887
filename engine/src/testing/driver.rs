//! `TestDriver`: the function under test, on one thread, with time in the test's hand.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::ManualClock;
use super::parts::{InputSource, OutputSink, Put, Queue, guard};
use crate::batch::Record;
use crate::config::EngineConfig;
use crate::error::Result;
use crate::runtime::{Assembled, Beginning, Epochs, Steps, assemble};
use crate::stage::EpochBoard;
use crate::stream::{Stream, StreamBuilder};
use crate::time::{Clock, Epoch, Timestamp};

/// Builds a topology around the streams under test.
///
/// ```
/// use headwater::prelude::*;
/// use headwater::testing::TestDriver;
///
/// fn per_minute(readings: Stream<(i64, u64)>) -> Stream<WindowResult<u64, u64>> {
///     readings
///         .event_time(|(at, _)| at, Watermarks::bounded(secs(5)))
///         .key_by(|(_, sensor)| sensor)
///         .window(Window::tumbling(minutes(1)))
///         .aggregate(|a| a.count())
/// }
///
/// let driver = TestDriver::new();
/// let (input, readings) = driver.input("readings");
/// let counts = driver.output("counts", &per_minute(readings));
/// let mut run = driver.start()?;
///
/// input.send((1_000, 7));
/// input.send((59_000, 7));
/// run.settle()?;
/// assert!(counts.drain().is_empty());
///
/// input.watermark(60_000);
/// run.settle()?;
/// let window = WindowResult { window_start: 0, window_end: 60_000, key: 7, value: 2 };
/// assert_eq!(counts.drain(), [window]);
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Debug)]
pub struct TestDriver {
    builder: StreamBuilder,
    config: EngineConfig,
}

impl Default for TestDriver {
    fn default() -> Self {
        TestDriver::new()
    }
}

impl TestDriver {
    /// A driver with one instance per stage.
    #[must_use]
    pub fn new() -> Self {
        TestDriver::with_config(EngineConfig::default().parallelism(1))
    }

    /// A driver with other limits: parallelism, batch size, channel capacity.
    #[must_use]
    pub fn with_config(config: EngineConfig) -> Self {
        TestDriver { builder: StreamBuilder::new("test"), config }
    }

    /// The builder, for sources of your own.
    #[must_use]
    pub fn builder(&self) -> &StreamBuilder {
        &self.builder
    }

    /// An input that the test fills, and the stream of what it puts in.
    pub fn input<T: Record>(&self, name: &str) -> (TestInput<T>, Stream<T>) {
        let queue = Arc::new(Mutex::new(Queue::default()));
        let stream = self.builder.source(name, InputSource { queue: Arc::clone(&queue) });
        (TestInput { queue }, stream)
    }

    /// Collects the rows of a stream.
    pub fn output<T: Record>(&self, name: &str, stream: &Stream<T>) -> TestOutput<T> {
        let rows = Arc::new(Mutex::new(Vec::new()));
        stream.sink(name, OutputSink { rows: Arc::clone(&rows) });
        TestOutput { rows }
    }

    /// Builds and starts the topology; nothing moves by itself.
    ///
    /// # Errors
    /// What [`StreamBuilder::build`] and a start find.
    pub fn start(self) -> Result<TestRun> {
        let clock = ManualClock::new();
        let topology = self.builder.build()?;
        let beginning = Beginning::default();
        let assembled = assemble(&topology, &self.config, Arc::new(clock.clone()), &beginning)?;
        let epochs = Epochs::new(Arc::clone(&assembled.board), assembled.before, None);
        let Assembled { slots, board, .. } = assembled;
        Ok(TestRun { steps: Steps::new(slots), board, clock, epochs })
    }
}

/// The test's end of an input.
pub struct TestInput<T: Record> {
    queue: Arc<Mutex<Queue<T>>>,
}

impl<T: Record> fmt::Debug for TestInput<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestInput")
    }
}

impl<T: Record> TestInput<T> {
    /// Puts a record in.
    pub fn send(&self, record: T) {
        guard(&self.queue).items.push_back(Put::Record(record));
    }

    /// Says, behind everything sent, that no record with a smaller event time follows.
    pub fn watermark(&self, time: Timestamp) {
        guard(&self.queue).items.push_back(Put::Watermark(time));
    }

    /// Ends the input.
    pub fn close(&self) {
        guard(&self.queue).closed = true;
    }
}

/// The rows that came out so far.
pub struct TestOutput<T: Record> {
    rows: Arc<Mutex<Vec<T>>>,
}

impl<T: Record> fmt::Debug for TestOutput<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestOutput")
    }
}

impl<T: Record> TestOutput<T> {
    /// Takes them.
    pub fn drain(&self) -> Vec<T> {
        std::mem::take(&mut *guard(&self.rows))
    }
}

/// A topology that a test steps.
pub struct TestRun {
    steps: Steps,
    board: Arc<EpochBoard>,
    clock: ManualClock,
    epochs: Epochs,
}

impl fmt::Debug for TestRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRun").field("epochs", &self.epochs).finish_non_exhaustive()
    }
}

impl TestRun {
    /// Steps until nothing moves any more.
    ///
    /// # Errors
    /// A source, operator or sink failed.
    pub fn settle(&mut self) -> Result<()> {
        while self.steps.round()? | self.commit() {}
        Ok(())
    }

    /// Moves the clock on, and lets what is due happen.
    ///
    /// # Errors
    /// A source, operator or sink failed.
    pub fn advance_clock(&mut self, by: Duration) -> Result<()> {
        self.clock.advance(by);
        self.settle()
    }

    /// Makes epochs durable that have passed through everything, and starts the last one behind the end of
    /// all input; true if there was something to do.
    fn commit(&mut self) -> bool {
        let mut moved = false;
        while let Some(complete) = self.epochs.complete(&self.clock) {
            self.epochs.commit(complete.epoch);
            moved = true;
        }
        moved | (self.epochs.is_urgent() && self.epochs.start(self.clock.monotonic_ms()).is_some())
    }

    /// Starts an epoch, and lets it pass through everything.
    ///
    /// # Errors
    /// A source, operator or sink failed.
    pub fn epoch(&mut self) -> Result<Epoch> {
        self.settle()?;
        let started = self.epochs.start(self.clock.monotonic_ms());
        self.settle()?;
        Ok(started.unwrap_or(self.epochs.committed_epoch()))
    }

    /// The newest epoch that has passed through everything; `None` when all instances have ended.
    #[must_use]
    pub fn complete_epoch(&self) -> Option<Epoch> {
        (!self.is_finished()).then(|| self.board.complete())
    }

    /// Ends all inputs where they stand and runs to the end.
    ///
    /// # Errors
    /// A source, operator or sink failed.
    pub fn finish(&mut self) -> Result<()> {
        self.steps.stop();
        self.settle()
    }

    /// True when all instances have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.steps.is_finished()
    }
}
