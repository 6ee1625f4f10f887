//! Sinks and sources in object stores: in memory, and in a real S3 gateway where there is one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers stand outside of test functions, and say what they skip"
)]
#![allow(clippy::manual_is_multiple_of, reason = "beside `n % 3` as a value, `n % 3 > 0` is easier to read")]

mod promises;
mod s3;

use headwater::batch::{Batch, BatchBuilder, BatchLimits};
use headwater::prelude::*;
use headwater::source::{Poll, Rejected, Source, SourceOutput};

#[derive(Record, Clone, Debug, PartialEq)]
struct Row {
    number: u64,
    group: String,
    text: Option<String>,
}

fn row(number: u64) -> Row {
    let text = (number % 4 > 0).then(|| format!("row \"{number}\", {}", "x".repeat(number as usize % 50)));
    Row { number, group: format!("g/{}", number % 3), text }
}

/// The records of all partitions, which must be the rows of their numbers; none where there is no object yet.
fn numbers<S: Source<Record = Row>>(source: &S) -> headwater::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut records = BatchBuilder::<Row>::new(BatchLimits::default());
    let mut rejected = BatchBuilder::<Rejected>::new(BatchLimits::default());
    let clock = headwater::testing::ManualClock::new();
    let partitions = match source.partitions() {
        Err(error) if error.to_string().contains("there is no object") => return Ok(numbers),
        partitions => partitions?,
    };
    for partition in partitions {
        let mut reader = source.open(&partition, None)?;
        let mut poll = Poll::More;
        while poll != Poll::Finished {
            let mut watermark = None;
            poll =
                reader.poll(&mut SourceOutput::new(&mut records, &mut rejected, &mut watermark, &clock))?;
            for found in records.finish().iter().flat_map(Batch::iter).map(Row::from_view) {
                assert_eq!(found, row(found.number));
                numbers.push(found.number);
            }
            assert!(rejected.finish().is_none());
        }
    }
    Ok(numbers)
}
