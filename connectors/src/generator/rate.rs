//! `Rate`: numbers at a fixed rate, each with the time at which it was due.

use headwater::source::{Boundedness, Poll, Source, SourceOutput, SourceReader};
use headwater::{Error, Result};

/// Most records per second: a thousand of them share each millisecond.
const PER_SECOND_MAX: u64 = 1_000_000;

/// Gives `(timestamp, value)`: values count from 0, timestamps are milliseconds since 1970.
///
/// The time of a value is a function of the time of the first, so positions can be replayed; values
/// that became due while nobody asked follow at once. For trying things out.
///
/// ```
/// use headwater_connectors::Rate;
///
/// let ticks = Rate::per_second(10);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    per_second: u64,
    count: Option<u64>,
}

impl Rate {
    /// So many records per second, from 1 to a million.
    #[must_use]
    pub fn per_second(count: u64) -> Self {
        Rate { per_second: count, count: None }
    }

    /// Ends after this many records; without it there is no end.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        Rate { count: Some(count), ..self }
    }
}

impl Source for Rate {
    type Record = (i64, u64);
    /// When value 0 was due, in milliseconds since 1970, and the next value.
    type Position = (i64, u64);

    fn boundedness(&self) -> Boundedness {
        if self.count.is_some() { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn partitions(&self) -> Result<Vec<String>> {
        Ok(vec!["all".to_owned()])
    }

    fn open(
        &self,
        _: &str,
        position: Option<(i64, u64)>,
    ) -> Result<Box<dyn SourceReader<(i64, u64), (i64, u64)>>> {
        if !(1..=PER_SECOND_MAX).contains(&self.per_second) {
            return Err(Error::Config(format!(
                "a rate of {} records per second is not between 1 and {PER_SECOND_MAX}",
                self.per_second
            )));
        }
        let (started_at, next) = position.map_or((None, 0), |(at, next)| (Some(at), next));
        Ok(Box::new(Reader {
            per_second: self.per_second,
            end: self.count.unwrap_or(u64::MAX),
            // A position taken before the first poll has no start yet.
            started_at: started_at.filter(|_| next > 0),
            next,
        }))
    }
}

struct Reader {
    per_second: u64,
    end: u64,
    started_at: Option<i64>,
    next: u64,
}

impl SourceReader<(i64, u64), (i64, u64)> for Reader {
    fn poll(&mut self, out: &mut SourceOutput<'_, (i64, u64)>) -> Result<Poll> {
        let now = out.clock().wall_ms();
        let started_at = *self.started_at.get_or_insert(now);
        while self.next < self.end {
            // Wide, so that no count of records can overflow.
            let after_ms = u128::from(self.next) * 1000 / u128::from(self.per_second);
            let due_at = started_at.saturating_add(i64::try_from(after_ms).unwrap_or(i64::MAX));
            if due_at > now {
                return Ok(Poll::Idle);
            }
            if out.is_full() {
                return Ok(Poll::More);
            }
            out.push((due_at, self.next))?;
            self.next += 1;
        }
        Ok(Poll::Finished)
    }

    fn position(&self) -> (i64, u64) {
        (self.started_at.unwrap_or(0), self.next)
    }
}
