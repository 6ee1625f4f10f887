//! The end of a fused chain: hands rows, watermarks and barriers to the router of an edge.

use std::sync::{Arc, Mutex};

use crate::batch::{Batch, Record};
use crate::channel::Router;
use crate::error::Result;
use crate::operator::{Context, Operator};
use crate::stage::{Output, lock};
use crate::time::{Epoch, Watermark};

/// The last operator of a chain in front of an exchange. The instance holds the same router, to send what
/// a full channel refused.
pub(crate) struct Outlet<T: Record> {
    router: Arc<Mutex<Router<T>>>,
    /// Nothing follows the end: later epochs pass by the board.
    ended: bool,
}

impl<T: Record> Outlet<T> {
    pub(crate) fn new(router: Router<T>) -> (Self, Arc<Mutex<dyn Output>>) {
        let router = Arc::new(Mutex::new(router));
        (Outlet { router: Arc::clone(&router), ended: false }, router)
    }
}

impl<T: Record> Output for Router<T> {
    fn flush(&mut self) -> Result<bool> {
        Router::flush(self)
    }

    fn release(&mut self) -> Result<bool> {
        let any = self.is_gathering();
        if any {
            Router::release(self)?;
        }
        Ok(any)
    }
}

impl<T: Record> Operator<T> for Outlet<T> {
    fn on_batch(&mut self, batch: Batch<T>, context: &mut Context) -> Result<()> {
        lock(&self.router)?.push(batch, context.clock.monotonic_ms())
    }

    fn on_watermark(&mut self, watermark: Watermark, context: &mut Context) -> Result<()> {
        lock(&self.router)?.watermark(watermark, context.clock.monotonic_ms())
    }

    fn on_barrier(&mut self, epoch: Epoch, _: &mut Context) -> Result<()> {
        if self.ended { Ok(()) } else { lock(&self.router)?.barrier(epoch) }
    }

    fn on_end(&mut self, _: &mut Context) -> Result<()> {
        self.ended = true;
        lock(&self.router)?.end()
    }

    fn on_idle(&mut self, _: &mut Context) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self, _: &mut Context) -> Result<bool> {
        Ok(false)
    }
}
