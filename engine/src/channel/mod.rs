//! Bounded data channels between stage instances: a full channel is the backpressure.
//!
//! 1. `input_gate`: many receivers as one: lowest watermark, barrier alignment
//! 2. `router`: one sender to many: forward, hash by key group, broadcast, rebalance
//! 3. `work`: a queue between two threads of the control plane, which may wait
//!
//! Bounded in messages, rows and bytes. Neither side of a data channel ever waits: a sender is told that
//! the channel is full, a receiver that it is empty, and the other side wakes it. The one home of
//! crossbeam.

mod input_gate;
mod router;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use atomic_waker::AtomicWaker;

use crate::batch::Record;
use crate::message::Message;

pub(crate) use self::input_gate::{Arrival, InputGate};
pub(crate) use self::router::{KeyExtractor, Partitioning, Router, RouterLimits};
pub(crate) use self::work::{WorkSender, work_queue};

/// Wakes the stage instance on the other side of a channel; shared by all channels of an instance.
pub(crate) type InstanceWaker = Arc<AtomicWaker>;

/// How much a channel may hold. One message larger than a limit still passes, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Most messages.
    pub messages_max: usize,
    /// Most rows.
    pub rows_max: usize,
    /// Most bytes.
    pub bytes_max: usize,
}

impl Default for ChannelLimits {
    fn default() -> Self {
        ChannelLimits { messages_max: 64, rows_max: 16 << 10, bytes_max: 4 << 20 }
    }
}

#[derive(Debug)]
struct Shared {
    limits: ChannelLimits,
    rows: AtomicUsize,
    bytes: AtomicUsize,
    /// The sender found the channel full and waits for a pop.
    stalled: AtomicBool,
    sender_waker: InstanceWaker,
    receiver_waker: InstanceWaker,
}

/// The sending side.
#[derive(Debug)]
pub(crate) struct Sender<T: Record> {
    queue: crossbeam_channel::Sender<Message<T>>,
    shared: Arc<Shared>,
}

/// The receiving side.
#[derive(Debug)]
pub(crate) struct Receiver<T: Record> {
    queue: crossbeam_channel::Receiver<Message<T>>,
    shared: Arc<Shared>,
}

/// Why a message was not taken; gives it back.
#[derive(Debug)]
pub(crate) enum Refused<T: Record> {
    /// The receiver is behind; the sender's instance is woken when there is room.
    Full(Message<T>),
    /// The receiver is gone.
    Disconnected,
}

/// What a receiver found.
#[derive(Debug)]
pub(crate) enum Received<T: Record> {
    Message(Message<T>),
    /// Nothing now; the receiver's instance is woken when there is.
    Empty,
    /// The sender is gone.
    Disconnected,
}

/// A channel between two instances.
pub(crate) fn bounded<T: Record>(
    limits: ChannelLimits,
    sender_waker: InstanceWaker,
    receiver_waker: InstanceWaker,
) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = crossbeam_channel::bounded(limits.messages_max.max(1));
    let shared = Arc::new(Shared {
        limits,
        rows: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        stalled: AtomicBool::new(false),
        sender_waker,
        receiver_waker,
    });
    (Sender { queue: sender, shared: Arc::clone(&shared) }, Receiver { queue: receiver, shared })
}

impl<T: Record> Sender<T> {
    /// Sends without waiting.
    pub(crate) fn try_send(&self, message: Message<T>) -> Result<(), Refused<T>> {
        match self.attempt(message) {
            Err(Refused::Full(message)) => {
                // Say so first, then look again: a pop in between would otherwise never wake us.
                self.shared.stalled.store(true, SeqCst);
                self.attempt(message)
            }
            other => other,
        }
    }

    fn attempt(&self, message: Message<T>) -> Result<(), Refused<T>> {
        let (rows, bytes) = (message.rows(), message.bytes());
        let shared = &*self.shared;
        let (queued_rows, queued_bytes) = (shared.rows.load(SeqCst), shared.bytes.load(SeqCst));
        let over =
            queued_rows + rows > shared.limits.rows_max || queued_bytes + bytes > shared.limits.bytes_max;
        if rows > 0 && queued_rows > 0 && over {
            return Err(Refused::Full(message));
        }
        // Counted before it is visible, so that the receiver never counts below zero.
        shared.rows.fetch_add(rows, SeqCst);
        shared.bytes.fetch_add(bytes, SeqCst);
        match self.queue.try_send(message) {
            Ok(()) => {
                shared.receiver_waker.wake();
                Ok(())
            }
            Err(refused) => {
                shared.rows.fetch_sub(rows, SeqCst);
                shared.bytes.fetch_sub(bytes, SeqCst);
                Err(match refused {
                    crossbeam_channel::TrySendError::Full(message) => Refused::Full(message),
                    crossbeam_channel::TrySendError::Disconnected(_) => Refused::Disconnected,
                })
            }
        }
    }
}

impl<T: Record> Drop for Sender<T> {
    fn drop(&mut self) {
        // The receiver must notice the disconnection.
        self.shared.receiver_waker.wake();
    }
}

impl<T: Record> Receiver<T> {
    /// Receives without waiting.
    pub(crate) fn try_recv(&self) -> Received<T> {
        match self.queue.try_recv() {
            Ok(message) => {
                let shared = &*self.shared;
                shared.rows.fetch_sub(message.rows(), SeqCst);
                shared.bytes.fetch_sub(message.bytes(), SeqCst);
                if shared.stalled.swap(false, SeqCst) {
                    shared.sender_waker.wake();
                }
                Received::Message(message)
            }
            Err(crossbeam_channel::TryRecvError::Empty) => Received::Empty,
            Err(crossbeam_channel::TryRecvError::Disconnected) => Received::Disconnected,
        }
    }
}

impl<T: Record> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.sender_waker.wake();
    }
}
