//! The pipeline as a topology, with a source that owns its fields already.

use std::sync::{Arc, Mutex, PoisonError};

use headwater::prelude::*;
use headwater::sink::{Sink, SinkParallelism, SinkWriter, Subtask};
use headwater::source::{Poll, Source, SourceOutput, SourceReader};

use crate::Totals;
use crate::bids::{Bid, BidView, MadeBids, THREADS, in_euros, is_kept};

/// Bids `index`, `index + THREADS` and so on.
struct Made {
    bids: Arc<MadeBids>,
    events: u64,
}

struct Reader {
    bids: Arc<MadeBids>,
    next: u64,
    end: u64,
}

impl Source for Made {
    type Record = Bid;
    type Position = u64;

    fn partitions(&self) -> Result<Vec<String>> {
        Ok((0..THREADS).map(|partition| partition.to_string()).collect())
    }

    fn open(&self, partition: &str, position: Option<u64>) -> Result<Box<dyn SourceReader<Bid, u64>>> {
        let first = partition.parse().map_err(|_| Error::failed("no such partition"))?;
        let next = position.unwrap_or(first);
        Ok(Box::new(Reader { bids: Arc::clone(&self.bids), next, end: self.events }))
    }
}

impl SourceReader<Bid, u64> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, Bid>) -> Result<Poll> {
        while self.next < self.end && !out.is_full() {
            out.push(self.bids.view(self.next))?;
            self.next += THREADS as u64;
        }
        Ok(if self.next < self.end { Poll::More } else { Poll::Finished })
    }

    fn position(&self) -> u64 {
        self.next
    }
}

/// Adds up the rows.
#[derive(Clone, Default)]
struct Sum(Arc<Mutex<Totals>>);

type Row = WindowResult<u64, (u64, u64, u64)>;

impl Sink<Row> for Sum {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn open(&self, _: Subtask) -> Result<Box<dyn SinkWriter<Row>>> {
        Ok(Box::new(self.clone()))
    }
}

impl SinkWriter<Row> for Sum {
    fn write(&mut self, batch: &Batch<Row>) -> Result<()> {
        let mut totals = Totals::default();
        batch.for_each(|_, row| totals.add(row.window_start, row.key, row.value));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).merge(totals);
        Ok(())
    }
}

/// Runs the pipeline over `events` bids.
pub(crate) fn run(bids: &MadeBids, events: u64) -> Result<Totals> {
    let flow = StreamBuilder::new("batch");
    let sum = Sum::default();
    flow.source("bids", Made { bids: Arc::new(bids.clone()), events })
        .event_time(|bid| bid.date_time, Watermarks::bounded(ms(0)))
        .filter(|bid| is_kept(bid.price))
        .flat_map_into::<Bid>(|bid, out| out.push(BidView { price: in_euros(bid.price), ..bid }))
        .key_by(|bid| bid.auction)
        .window(Window::tumbling(secs(10)))
        .aggregate(|a| (a.count(), a.sum(|bid| bid.price), a.max(|bid| bid.price)))
        .sink("sum", sum.clone());
    flow.build()?.run(EngineConfig::default().parallelism(THREADS))?;
    let totals = *sum.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(totals)
}
