//! A stage instance behind an exchange: input gate, fused chain, outputs.

use crate::batch::Record;
use crate::channel::{Arrival, InputGate, InstanceWaker};
use crate::error::Result;
use crate::failpoint;
use crate::operator::{Context, Next};
use crate::stage::{Frame, Progress, StageInstance};
use crate::time::Epoch;

/// How often an instance without input looks at its timers, in milliseconds.
const TIMER_MS: u64 = 250;

/// Operators and sinks.
pub(crate) struct OperatorInstance<T: Record> {
    gate: InputGate<T>,
    chain: Next<T>,
    context: Context,
    frame: Frame,
    ended: bool,
    /// The end has been announced.
    said: bool,
}

impl<T: Record> OperatorInstance<T> {
    pub(crate) fn new(gate: InputGate<T>, chain: Next<T>, context: Context, frame: Frame) -> Self {
        OperatorInstance { gate, chain, context, frame, ended: false, said: false }
    }

    fn pass(&mut self, epoch: Epoch) -> Result<()> {
        failpoint::pass("instance.barrier");
        self.chain.on_barrier(epoch, &mut self.context)?;
        self.frame.pass(epoch, &mut self.context.journal)?;
        failpoint::pass("instance.passed");
        Ok(())
    }

    /// The input has ended, and everything is sent: takes part in epochs until the last is durable.
    fn attend(&mut self) -> Result<Progress> {
        if !std::mem::replace(&mut self.said, true) {
            self.frame.end();
        }
        if let Some(epoch) = self.frame.due() {
            self.context.ended = true;
            self.pass(epoch)?;
            return Ok(Progress::Ran);
        }
        Ok(Progress::Idle { retry_ms: TIMER_MS })
    }
}

impl<T: Record> StageInstance for OperatorInstance<T> {
    fn step(&mut self) -> Result<Progress> {
        let committed = self.frame.commit()?;
        // The input has ended everywhere, or the run is to go on another time: what came in behind the last
        // epoch counts for nothing.
        if self.frame.is_over() {
            return Ok(Progress::Done);
        }
        // Nothing is taken in while something waits to go out: that is the backpressure.
        if !self.frame.flush()? {
            return Ok(Progress::Blocked);
        }
        if self.chain.resume(&mut self.context)? {
            return Ok(Progress::Ran);
        }
        if self.ended {
            return if committed { Ok(Progress::Ran) } else { self.attend() };
        }
        match self.gate.poll()? {
            Arrival::Batch(batch) => self.chain.on_batch(batch, &mut self.context)?,
            Arrival::Watermark(watermark) => self.chain.on_watermark(watermark, &mut self.context)?,
            Arrival::Barrier(epoch) => self.pass(epoch)?,
            Arrival::End => {
                self.chain.on_end(&mut self.context)?;
                self.ended = true;
            }
            Arrival::Nothing => {
                if committed || self.frame.release()? {
                    return Ok(Progress::Ran);
                }
                self.chain.on_idle(&mut self.context)?;
                return Ok(Progress::Idle { retry_ms: TIMER_MS });
            }
        }
        Ok(Progress::Ran)
    }

    fn waker(&self) -> &InstanceWaker {
        &self.frame.waker
    }
}
