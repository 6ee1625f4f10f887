//! `HttpSource`: records that come as requests, and are answered when they can no longer be lost.

use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use headwater::batch::Record;
use headwater::source::{Boundedness, Source, SourceReader};
use headwater::{Error, Result};

use super::known::{HttpPosition, Known};
use super::reader::Reader;
use super::server::Server;
use crate::format::PayloadFormat;
use crate::socket::listen;

/// What bodies hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Csv,
    Text,
}

/// What a source is told about its senders.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) body_bytes_max: usize,
    pub(super) connections_max: usize,
    pub(super) waiting_max: usize,
    pub(super) request_time_max: Duration,
    pub(super) answer_time_max: Duration,
}

/// Takes records that are sent to it as HTTP requests, and answers a request when its epoch is committed, so that
/// each record counts exactly once although a request cannot be read again: whoever gets no answer sends the
/// request again, under the same `Idempotency-Key`, and it is answered without being counted again.
///
/// With a state directory a request that was answered with 200 survives whatever happens to the job; without
/// one, its records have passed through the whole topology.
///
/// ```text
/// curl --retry 9 --retry-all-errors -H 'Idempotency-Key: kitchen-17' \
///     --data-binary @readings.jsonl http://127.0.0.1:8080/
/// {"records":250}
/// ```
///
/// # Requests
///
/// `POST /` ([`path`](Self::path) says otherwise), over HTTP/1.1.
///
/// | source | `Content-Type` | records of a body |
/// |---|---|---|
/// | [`json`](Self::json) | `application/json` | one object |
/// | | `application/x-ndjson`, none, `curl`'s own | an object per line |
/// | [`csv`](Self::csv) | `text/csv`, none, `curl`'s own | a row per line: the fields in order, no header |
/// | [`lines`](Self::lines) | `text/plain`, none, `curl`'s own | a text per line |
///
/// A request is understood as a whole or refused as a whole. The answer comes with the epoch: a connection has as
/// many requests per second as there are epochs, each with as many records as fit into it.
///
/// | answer | meaning | and then |
/// |---|---|---|
/// | 200 `{"records":3}` | all records count, once | |
/// | 400, 404, 405, 415 | this is no request for here; the body says what would be | mend it |
/// | 408 | the body came too slowly | send it again |
/// | 413 | the body is too large; see [`body_bytes_max`](Self::body_bytes_max) | send less at a time |
/// | 422 with lines | some records cannot be understood, and none was taken | mend them, send all again |
/// | 422 | the key belongs to a request with another body | use a new key |
/// | 503, `Retry-After` | the job has enough to do, is stopping, or is slow | send the same again |
/// | none | the connection broke | send the same again |
///
/// The wrong records of a refused request go to the rejected stream, too, so that the job's owner sees them.
/// `GET /health` answers 200 as long as the job reads.
///
/// # Keys
///
/// A key has 1 to 256 visible ASCII characters and belongs to one request. **Without a key** a request counts at
/// least once: one that was taken, but whose answer was lost, counts again when it is sent again. The last 10,000
/// keys are remembered for up to an hour ([`keys_max`](Self::keys_max), [`keys_age_max`](Self::keys_age_max)): a
/// request that is sent again later than that counts again.
///
/// # What goes wrong, and what happens then
///
/// | | |
/// |---|---|
/// | the process is killed before the epoch is committed | no answer; what is sent again counts |
/// | it is killed behind that, before the answer | no answer; what is sent again is answered, and does not count |
/// | half of a request was in an epoch, then it is killed | what is sent again goes on where it was |
/// | the job is slower than its senders | 503 when [`waiting_max`](Self::waiting_max) requests wait to be read |
/// | too many connections | 503 and closed; see [`connections_max`](Self::connections_max) |
/// | a sender is slow, or says nothing | nobody waits for it; see [`request_time_max`](Self::request_time_max) |
///
/// There are no passwords and no encryption: listen on the local computer, behind a proxy that has both.
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::{Collect, HttpSource};
///
/// #[derive(Record, Debug, PartialEq)]
/// struct Reading { sensor: String, celsius: f64 }
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let sender = std::thread::spawn(move || {
///     let request = ureq::post(format!("http://{address}/readings")).header("Idempotency-Key", "kitchen-1");
///     let answer = request.send("{\"sensor\":\"kitchen\",\"celsius\":21.5}\n").unwrap();
///     answer.into_body().read_to_string().unwrap()
/// });
/// let (flow, readings) = (StreamBuilder::new("readings"), Collect::new());
/// let source = HttpSource::<Reading>::json("").path("/readings").on(listener).until_requests(1);
/// flow.source("sensors", source).sink("readings", readings.clone());
/// flow.build()?.run(EngineConfig::default())?;
/// assert_eq!(readings.take(), [Reading { sensor: "kitchen".to_owned(), celsius: 21.5 }]);
/// assert_eq!(sender.join().unwrap(), "{\"records\":1}\n");
/// # Ok::<(), headwater::Error>(())
/// ```
pub struct HttpSource<T: Record> {
    address: String,
    listener: Option<Arc<TcpListener>>,
    format: PayloadFormat<T>,
    settings: Settings,
    keys_max: usize,
    keys_age_max: Duration,
    until_requests: Option<u64>,
}

impl HttpSource<String> {
    /// Listens on `host:port`; each line of a body is a record.
    #[must_use]
    pub fn lines(address: impl Into<String>) -> Self {
        HttpSource::new(address.into(), PayloadFormat::text(), Kind::Text)
    }
}

impl<T: Record> HttpSource<T> {
    /// Listens on `host:port`; each record is a JSON object, as a line of `JsonLines` is.
    #[must_use]
    pub fn json(address: impl Into<String>) -> Self {
        HttpSource::new(address.into(), PayloadFormat::json(), Kind::Json)
    }

    /// Listens on `host:port`; each record is a row of comma-separated cells, one for each field in the
    /// declared order.
    #[must_use]
    pub fn csv(address: impl Into<String>) -> Self {
        HttpSource::new(address.into(), PayloadFormat::csv(), Kind::Csv)
    }

    fn new(address: String, format: PayloadFormat<T>, kind: Kind) -> Self {
        let settings = Settings {
            kind,
            path: "/".to_owned(),
            body_bytes_max: 1 << 20,
            connections_max: 256,
            waiting_max: 64,
            request_time_max: Duration::from_secs(30),
            answer_time_max: Duration::from_secs(60),
        };
        HttpSource {
            address,
            listener: None,
            format,
            settings,
            keys_max: 10_000,
            keys_age_max: Duration::from_secs(3_600),
            until_requests: None,
        }
    }

    /// Where requests go (`/`).
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.settings.path = path.into();
        self
    }

    /// Serves a socket that listens already, in place of the address: senders can connect before the run begins
    /// and between two runs, and wait.
    #[must_use]
    pub fn on(self, listener: TcpListener) -> Self {
        HttpSource { listener: Some(Arc::new(listener)), ..self }
    }

    /// Largest body in bytes (1 MiB). Each connection may take that much memory.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.body_bytes_max = bytes;
        self
    }

    /// Most connections at a time (256). A further one is answered with 503 and closed, whatever it asks for.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.settings.connections_max = connections;
        self
    }

    /// Most requests that wait to be read by the job (64). Beyond that they are answered with 503 at once.
    #[must_use]
    pub fn waiting_max(mut self, requests: usize) -> Self {
        self.settings.waiting_max = requests;
        self
    }

    /// How long a sender may take for the head of a request, for its body, and between two requests (30
    /// seconds); after that its connection is closed.
    #[must_use]
    pub fn request_time_max(mut self, time: Duration) -> Self {
        self.settings.request_time_max = time;
        self
    }

    /// How long a request waits to become durable before it is answered with 503 (a minute).
    #[must_use]
    pub fn answer_time_max(mut self, time: Duration) -> Self {
        self.settings.answer_time_max = time;
        self
    }

    /// Most keys that are remembered (10,000); each takes 48 bytes of every epoch. Choose more than the
    /// requests that come in the time in which senders send again.
    #[must_use]
    pub fn keys_max(self, keys: usize) -> Self {
        HttpSource { keys_max: keys, ..self }
    }

    /// How long a key is remembered at most (an hour).
    #[must_use]
    pub fn keys_age_max(self, age: Duration) -> Self {
        HttpSource { keys_age_max: age, ..self }
    }

    /// Ends when so many requests were taken, are committed and answered, and counts as bounded. Without it the
    /// source goes on until it is stopped.
    ///
    /// A job that is started again behind its end waits ten seconds for senders who have not heard of it.
    #[must_use]
    pub fn until_requests(self, requests: u64) -> Self {
        HttpSource { until_requests: Some(requests), ..self }
    }
}

impl<T: Record> Clone for HttpSource<T> {
    fn clone(&self) -> Self {
        HttpSource {
            address: self.address.clone(),
            listener: self.listener.clone(),
            format: self.format.clone(),
            settings: self.settings.clone(),
            ..*self
        }
    }
}

impl<T: Record> fmt::Debug for HttpSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("address", &self.address)
            .field("listener", &self.listener)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<T: Record> Source for HttpSource<T> {
    type Record = T;
    type Position = HttpPosition;

    fn boundedness(&self) -> Boundedness {
        if self.until_requests.is_some() { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn partitions(&self) -> Result<Vec<String>> {
        let Settings { path, body_bytes_max, connections_max, waiting_max, .. } = &self.settings;
        let times = [self.settings.request_time_max, self.settings.answer_time_max];
        let limits = [*body_bytes_max, *connections_max, *waiting_max, self.keys_max];
        if limits.contains(&0) || self.until_requests == Some(0) || times.contains(&Duration::ZERO) {
            return Err(Error::Config("every limit of an HTTP source must be at least 1".to_owned()));
        }
        if !path.starts_with('/') || path == "/health" || path.contains(['?', '#', ' ']) {
            let rule = "it begins with `/`, has no `?`, `#` or space, and is not /health";
            return Err(Error::Config(format!("{path:?} cannot be the path of an HTTP source: {rule}")));
        }
        // The address is not its name: a job may listen elsewhere the next time.
        Ok(vec!["requests".to_owned()])
    }

    fn open(
        &self,
        _: &str,
        position: Option<HttpPosition>,
    ) -> Result<Box<dyn SourceReader<T, HttpPosition>>> {
        let seconds_max = u32::try_from(self.keys_age_max.as_secs()).unwrap_or(u32::MAX);
        let known = Known::new(position, self.keys_max, seconds_max);
        let (judge, decoder) = (self.format.decoder()?, self.format.decoder()?);
        let server =
            Server::start(listen(&self.address, self.listener.as_deref())?, self.settings.clone(), judge)?;
        Ok(Box::new(Reader::<T>::new(known, decoder, self.until_requests, server)))
    }
}
