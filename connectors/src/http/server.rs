//! `Server`: a thread that speaks HTTP with all senders, and hands over what is understood.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::future::{Either, select};
use headwater::batch::Record;
use headwater::{Error, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Builder;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::{Notify, watch};

use super::front::{Front, Request};
use super::source::Settings;
use crate::format::PayloadDecoder;

/// How long answers that were given may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// The pause behind a connection that could not be taken, because the process has too many files open.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest head of a request, and most headers in it.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 100;

/// What a connection beyond the limit is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\
    Connection: close\r\n\r\n";

#[derive(Debug)]
pub(super) struct Server {
    requests: Option<Receiver<Request>>,
    closing: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start<T: Record>(
        listener: TcpListener,
        settings: Settings,
        decoder: Box<dyn PayloadDecoder<T>>,
    ) -> Result<Self> {
        let (queue, requests) = channel(settings.waiting_max.max(1));
        let (closing, is_closing) = watch::channel(false);
        let front = Arc::new(Front::new(settings, decoder, queue, is_closing.clone()));
        let serve = move || {
            // Without a runtime the queue is dropped, which the reader notices.
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(listen(listener, front, is_closing));
        };
        let thread = thread::Builder::new().name("http-source".to_owned()).spawn(serve)?;
        Ok(Server { requests: Some(requests), closing, thread: Some(thread) })
    }

    /// The next request, if one is there.
    ///
    /// # Errors
    /// Nobody serves any more.
    pub(super) fn next(&mut self) -> Result<Option<Request>> {
        let Some(requests) = &mut self.requests else { return Ok(None) };
        match requests.try_recv() {
            Ok(request) => Ok(Some(request)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) if *self.closing.borrow() => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Error::failed(
                "the thread that serves HTTP has ended: the system gave it no runtime; start the job again",
            )),
        }
    }

    /// Takes no more connections and requests, and lets answers leave.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// True when it was closed, and no answer is on its way any more.
    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
        // Whoever waits in the queue is told to come again.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // The port is free when this returns.
            let _ = thread.join();
        }
    }
}

/// Counts connections, and says when one has ended.
#[derive(Debug, Default)]
struct Open {
    connections: AtomicUsize,
    ended: Notify,
}

/// A connection that counts.
struct Counted(Arc<Open>);

impl Counted {
    fn new(open: &Arc<Open>) -> Self {
        open.connections.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_one();
    }
}

async fn closed(is_closing: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server, so an error means the same.
    let _ = is_closing.wait_for(|is_closing| *is_closing).await;
}

/// Takes connections until it is told to stop, and waits a moment for them to end.
async fn listen<T: Record>(
    listener: TcpListener,
    front: Arc<Front<T>>,
    mut is_closing: watch::Receiver<bool>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let open = Arc::new(Open::default());
    loop {
        let accepted = match select(pin!(closed(&mut is_closing)), pin!(listener.accept())).await {
            Either::Left(_) => break,
            Either::Right((accepted, _)) => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if open.connections.load(Ordering::SeqCst) >= front.settings().connections_max {
            turn_away(stream);
            continue;
        }
        let _ = stream.set_nodelay(true);
        let connection = serve(stream, peer, Arc::clone(&front), is_closing.clone());
        let counted = Counted::new(&open);
        tokio::spawn(async move {
            connection.await;
            drop(counted);
        });
    }
    drop(listener);
    let all_ended = async {
        while open.connections.load(Ordering::SeqCst) > 0 {
            open.ended.notified().await;
        }
    };
    // Who is slower than this finds the connection closed, and sends again.
    let _ = tokio::time::timeout(FAREWELL, all_ended).await;
}

/// Says that there are too many already. Best effort: who does not hear it finds the connection closed.
fn turn_away(stream: tokio::net::TcpStream) {
    use std::io::Write;
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(FULL);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

/// Speaks with one sender until one of both has enough. What goes wrong is the sender's business: it has no
/// answer, and sends again.
async fn serve<T: Record>(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    front: Arc<Front<T>>,
    mut is_closing: watch::Receiver<bool>,
) {
    let service = {
        let front = Arc::clone(&front);
        service_fn(move |request| {
            let front = Arc::clone(&front);
            async move { front.serve(peer, request).await }
        })
    };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(front.settings().request_time_max)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut closed = pin!(closed(&mut is_closing));
    let mut is_told = false;
    std::future::poll_fn(|context| {
        if !is_told && closed.as_mut().poll(context).is_ready() {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}
