//! Sources that cannot be read again: a peer forgets what was acknowledged, and sends the rest again.

use std::sync::{Arc, Mutex};

use headwater::prelude::*;
use headwater::source::{Boundedness, Poll, Source, SourceOutput, SourceReader};
use headwater::testing::{Ledger, Simulation, TestDriver};

/// The other side: numbers from 1 to `count`, of which it keeps those that were not acknowledged.
#[derive(Debug, Default)]
struct Peer {
    count: u64,
    acknowledged: u64,
    /// More may come, however much was acknowledged.
    goes_on: bool,
    /// Everything that it was told, in order.
    told: Vec<u64>,
}

#[derive(Clone)]
struct Mailbox(Arc<Mutex<Peer>>);

impl Mailbox {
    fn new(count: u64) -> Self {
        Mailbox(Arc::new(Mutex::new(Peer { count, ..Peer::default() })))
    }

    fn acknowledged(&self) -> u64 {
        self.0.lock().unwrap().acknowledged
    }
}

struct MailboxReader {
    peer: Arc<Mutex<Peer>>,
    read: u64,
}

impl Source for Mailbox {
    type Record = u64;
    type Position = u64;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(vec!["all".to_owned()])
    }

    fn open(&self, _: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<u64, u64>>> {
        Ok(Box::new(MailboxReader { peer: Arc::clone(&self.0), read: position.unwrap_or(0) }))
    }
}

impl SourceReader<u64, u64> for MailboxReader {
    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Poll> {
        let peer = self.peer.lock().unwrap();
        // What was acknowledged is gone: if it was not durable, it is lost.
        self.read = self.read.max(peer.acknowledged);
        while self.read < peer.count {
            if out.is_full() {
                return Ok(Poll::More);
            }
            self.read += 1;
            out.push(self.read)?;
        }
        let is_over = peer.acknowledged == peer.count && !peer.goes_on;
        Ok(if is_over { Poll::Finished } else { Poll::Idle })
    }

    fn position(&self) -> u64 {
        self.read
    }

    fn committed(&mut self, position: &u64) -> Result<()> {
        let mut peer = self.peer.lock().unwrap();
        assert!(*position >= peer.acknowledged, "{position} after {}", peer.acknowledged);
        peer.acknowledged = *position;
        peer.told.push(*position);
        Ok(())
    }
}

const COUNT: u64 = 300;

fn topology(mailbox: &Mailbox, rows: &Ledger<u64>, counts: &Ledger<KeyedResult<u64, u64>>) -> Topology {
    let flow = StreamBuilder::new("mailbox");
    let numbers = flow.source("mailbox", mailbox.clone());
    numbers.sink("rows", rows.clone());
    numbers.key_by(|n| n % 7).count().output_mode(OutputMode::Append).sink("counts", counts.clone());
    flow.build().unwrap()
}

fn check(rows: &Ledger<u64>, counts: &Ledger<KeyedResult<u64, u64>>) {
    let mut rows = rows.take().unwrap();
    rows.sort_unstable();
    assert_eq!(rows, (1..=COUNT).collect::<Vec<_>>());
    let counts = counts.take().unwrap();
    assert_eq!((counts.len(), counts.iter().map(|row| row.value).sum::<u64>()), (7, COUNT));
}

#[test]
fn what_was_acknowledged_survives_every_crash_and_the_rest_is_sent_again() {
    let (mut crashes, mut told) = (0, 0);
    for seed in 0..300 {
        let (mailbox, rows, counts) = (Mailbox::new(COUNT), Ledger::new(), Ledger::new());
        let mut config = EngineConfig::default().parallelism(2);
        config.batch.rows_max = 1 + seed as usize % 17;
        let topology = topology(&mailbox, &rows, &counts);
        let report = Simulation::new(seed).run_with_crashes(&topology, &config, 6).unwrap();
        check(&rows, &counts);
        assert_eq!(mailbox.acknowledged(), COUNT);
        crashes += report.crashes;
        told += mailbox.0.lock().unwrap().told.len();
    }
    assert!(crashes > 300 && told > 1_000, "{crashes} crashes, {told} acknowledgements");
}

#[test]
fn an_epoch_acknowledges_what_was_read_before_it() {
    let (mailbox, driver) = (Mailbox::new(5), TestDriver::new());
    mailbox.0.lock().unwrap().goes_on = true;
    let rows = driver.output("rows", &driver.builder().source("mailbox", mailbox.clone()));
    let mut run = driver.start().unwrap();
    run.settle().unwrap();
    assert_eq!((rows.drain().len(), mailbox.acknowledged()), (5, 0));
    run.epoch().unwrap();
    assert_eq!(mailbox.acknowledged(), 5);
    mailbox.0.lock().unwrap().count = 8;
    run.settle().unwrap();
    assert_eq!(mailbox.acknowledged(), 5);
    run.finish().unwrap();
    assert!(run.is_finished());
    assert_eq!(mailbox.acknowledged(), 8, "the last epoch of a run is acknowledged, too");
}

#[test]
fn threads_acknowledge_without_a_state_directory_as_well() {
    let (mailbox, rows, counts) = (Mailbox::new(COUNT), Ledger::new(), Ledger::new());
    let config = EngineConfig::default().parallelism(2).epoch_interval(std::time::Duration::from_millis(1));
    topology(&mailbox, &rows, &counts).run(config).unwrap();
    check(&rows, &counts);
    assert_eq!(mailbox.acknowledged(), COUNT);
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_reader_is_first_told_of_the_position_at_which_it_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (mailbox, rows, counts) = (Mailbox::new(COUNT / 2), Ledger::new(), Ledger::new());
    let config = || {
        let interval = std::time::Duration::from_millis(1);
        EngineConfig::default()
            .parallelism(2)
            .epoch_interval(interval)
            .state_dir(directory.path().join("job"))
    };
    mailbox.0.lock().unwrap().goes_on = true;
    let running = topology(&mailbox, &rows, &counts).start(config()).unwrap();
    while mailbox.acknowledged() == 0 {
        std::thread::yield_now();
    }
    running.stop();
    running.wait().unwrap();
    let before = mailbox.acknowledged();
    {
        let mut peer = mailbox.0.lock().unwrap();
        (peer.count, peer.told, peer.goes_on) = (COUNT, Vec::new(), false);
        // The acknowledgement was lost on its way: the peer sends again, and must hear of it again.
        peer.acknowledged = 0;
    }
    topology(&mailbox, &rows, &counts).run(config()).unwrap();
    assert_eq!(mailbox.0.lock().unwrap().told.first(), Some(&before));
    check(&rows, &counts);
}
