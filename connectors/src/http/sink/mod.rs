//! `HttpSink`: rows as requests to a receiver of your own: a webhook, a service.
//!
//! 1. `parts`: the rows of an epoch as the bodies that will be sent
//! 2. `delivery`: one request until it is taken or refused
//! 3. `letters`: the file of refused requests

mod delivery;
mod letters;
mod parts;

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use headwater::batch::{Batch, Record};
use headwater::sink::{
    Cut, Delivery as Delivered, OutputMode, Sink, SinkParallelism, SinkWriter, Staged, Subtask,
};
use headwater::time::{Epoch, SystemClock};
use headwater::{Error, Result};
use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, Uri};

use self::delivery::{Delivery, Url};
use self::letters::Letters;
use self::parts::{Parts, split_part};
use crate::format::encode_json_line;
use crate::share::{Author, EpochShare};

/// Sends rows to an HTTP server, as JSON in the body of a POST, with one connection per subtask.
///
/// Rows are kept with their epoch and sent when it is durable: the receiver sees no row that a crash takes back.
/// **At least once:** a request of which nobody knows whether it was taken, because the connection broke, the
/// receiver was slow or the job was killed, is sent again. **Exactly once at a receiver that honours
/// `Idempotency-Key`**: each request has one, which is the same each time it is sent, has the same body, and is
/// never given to another. Such a receiver remembers the keys with what it does, and answers a key that it knows
/// with 2xx; [`HttpSource`](crate::HttpSource) is one. The rows of a subtask are sent in their order, one request
/// behind the other.
///
/// | answer | what happens |
/// |---|---|
/// | 2xx | the request is taken |
/// | 5xx, 408, 409, 425, 429 | it is sent again, after `Retry-After` or 0.1 to 10 seconds |
/// | none in time, the connection breaks | it is sent again, too, for up to [`patience`](Self::patience) |
/// | any other: 4xx, 3xx | it is refused: the run fails, or [`dead_letters`](Self::dead_letters) has it |
///
/// A run that fails loses nothing: the next one sends what this one could not, under the same keys. While the sink
/// waits, the job waits.
///
/// ```
/// use headwater::prelude::*;
/// use headwater_connectors::{Collect, Generator, HttpSink, HttpSource};
///
/// // One job sends, another one receives.
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let url = format!("http://{}/", listener.local_addr()?);
/// let received = Collect::<u64>::new();
/// let rows = received.clone();
/// let receiver = std::thread::spawn(move || -> Result<()> {
///     let flow = StreamBuilder::new("receiver");
///     flow.source("requests", HttpSource::json("").on(listener).until_requests(1)).sink("rows", rows);
///     flow.build()?.run(EngineConfig::default())?;
///     Ok(())
/// });
/// let flow = StreamBuilder::new("sender");
/// let sink = HttpSink::json(url).rows_per_request(10);
/// flow.source("numbers", Generator::new(3, |n| n * n)).sink("receiver", sink);
/// flow.build()?.run(EngineConfig::default())?;
/// receiver.join().unwrap()?;
/// assert_eq!(received.take(), [0, 1, 4]);
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// Only `http://`: encryption is the job of a proxy beside the job. The environment variables `HTTP_PROXY` and
/// `NO_PROXY` count.
#[derive(Clone)]
pub struct HttpSink<T> {
    url: Text,
    headers: Vec<(String, Text)>,
    rows_per_request: usize,
    request_bytes_max: usize,
    patience: Duration,
    timeout: Duration,
    dead_letters: Option<PathBuf>,
    _record: PhantomData<fn(T)>,
}

/// A text that may be a secret, or the environment variable that holds it.
#[derive(Clone)]
enum Text {
    Is(String),
    In(String),
}

impl Text {
    /// # Errors
    /// The variable is not set.
    fn read(&self, what: &str) -> Result<String> {
        match self {
            Text::Is(text) => Ok(text.clone()),
            Text::In(variable) => std::env::var(variable).map_err(|_| {
                let way_out = format!("export {variable}=..");
                Error::Config(format!("the environment variable {variable} for {what} is not set: {way_out}"))
            }),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::Is(_) => f.write_str(".."),
            Text::In(variable) => write!(f, "${variable}"),
        }
    }
}

impl<T> fmt::Debug for HttpSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSink")
            .field("url", &self.url)
            .field("headers", &self.headers)
            .field("rows_per_request", &self.rows_per_request)
            .field("dead_letters", &self.dead_letters)
            .finish_non_exhaustive()
    }
}

/// Headers that are the sink's own.
const OWN: &[&str] = &["idempotency-key", "content-type", "content-length", "transfer-encoding", "host"];

impl<T: Record> HttpSink<T> {
    /// A sink that posts each row as a JSON object to this URL. Of the URL only the host is shown anywhere.
    #[must_use]
    pub fn json(url: impl Into<String>) -> Self {
        HttpSink::new(Text::Is(url.into()))
    }

    /// A sink whose URL is in an environment variable, which is read when the job starts.
    ///
    /// ```
    /// use headwater_connectors::HttpSink;
    ///
    /// let sink = HttpSink::<String>::json_from_env("WEBHOOK_URL");
    /// let sink = sink.header_from_env("Authorization", "WEBHOOK_TOKEN");
    /// assert_eq!(format!("{sink:?}").matches("$WEBHOOK").count(), 2);
    /// ```
    #[must_use]
    pub fn json_from_env(variable: impl Into<String>) -> Self {
        HttpSink::new(Text::In(variable.into()))
    }

    fn new(url: Text) -> Self {
        HttpSink {
            url,
            headers: Vec::new(),
            rows_per_request: 1,
            request_bytes_max: 1 << 20,
            patience: Duration::from_secs(120),
            timeout: Duration::from_secs(30),
            dead_letters: None,
            _record: PhantomData,
        }
    }

    /// Most rows in a request (1). One row goes as `application/json`; with more, they go as
    /// `application/x-ndjson`: a line each. Rows of two epochs do not share a request.
    #[must_use]
    pub fn rows_per_request(self, rows: usize) -> Self {
        HttpSink { rows_per_request: rows, ..self }
    }

    /// Largest body in bytes (1 MiB); a single larger row goes alone.
    #[must_use]
    pub fn request_bytes_max(self, bytes: usize) -> Self {
        HttpSink { request_bytes_max: bytes, ..self }
    }

    /// Sends a header with every request. Its value is shown nowhere.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Text::Is(value.into())));
        self
    }

    /// Sends a header whose value is in an environment variable, which is read when the job starts.
    #[must_use]
    pub fn header_from_env(mut self, name: impl Into<String>, variable: impl Into<String>) -> Self {
        self.headers.push((name.into(), Text::In(variable.into())));
        self
    }

    /// How long to wait for a receiver that is away or busy (two minutes) before the run fails.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        HttpSink { patience, ..self }
    }

    /// How long one attempt may take, from connecting to the end of the answer (30 seconds).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        HttpSink { timeout, ..self }
    }

    /// Appends refused requests to this file, and goes on. Each is a line with `key`, `status`, `answer` and
    /// `rows`, on the disk before the next request is sent. After a crash a line may be there twice, with the same
    /// key.
    ///
    /// With several rows in a request all of them are refused together.
    #[must_use]
    pub fn dead_letters(self, path: impl Into<PathBuf>) -> Self {
        HttpSink { dead_letters: Some(path.into()), ..self }
    }

    /// # Errors
    /// The URL is none that can be used.
    fn url(&self) -> Result<Url> {
        let whole = self.url.read("the URL of the receiver")?;
        let bad = |why: &str| {
            let of = match &self.url {
                Text::Is(_) => "the URL of the receiver".to_owned(),
                Text::In(variable) => format!("the URL of the receiver in {variable}"),
            };
            Error::Config(format!("{of} {why}"))
        };
        let uri: Uri =
            whole.parse().map_err(|_| bad("cannot be read: it should be http://HOST:PORT/PATH"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(bad("has no host: it should be http://HOST:PORT/PATH"));
        };
        if authority.as_str().contains('@') {
            return Err(bad(
                "holds a user or a password: leave them out, and use `.header_from_env(\"Authorization\", ..)`",
            ));
        }
        match scheme {
            "http" => {}
            "https" => {
                return Err(bad(
                    "is https, which the sink does not speak: name a proxy that does, by http://",
                ));
            }
            _ => return Err(bad("should begin with http:// or https://")),
        }
        let shown = format!("{scheme}://{authority}");
        Ok(Url { shown, whole })
    }

    /// # Errors
    /// A header cannot be sent, or its variable is not set.
    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let read = |(name, value): &(String, Text)| {
            let header: HeaderName =
                name.parse().map_err(|_| Error::Config(format!("{name:?} is not the name of a header")))?;
            if OWN.contains(&header.as_str()) {
                return Err(Error::Config(format!("the header {name} is the sink's own: leave it out")));
            }
            let value = value.read(&format!("the header {name}"))?;
            let mut value = HeaderValue::try_from(value.trim()).map_err(|_| {
                Error::Config(format!(
                    "the value of the header {name} has characters that a header cannot have"
                ))
            })?;
            value.set_sensitive(true);
            Ok((header, value))
        };
        self.headers.iter().map(read).collect()
    }
}

impl<T: Record> Sink<T> for HttpSink<T> {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerSubtask
    }

    fn accepts(&self, mode: OutputMode) -> bool {
        // Nobody could tell where a whole result begins and ends.
        mode != OutputMode::Complete
    }

    fn open(&self, subtask: Subtask) -> Result<Box<dyn SinkWriter<T>>> {
        if self.rows_per_request == 0 || self.request_bytes_max == 0 || self.timeout.is_zero() {
            return Err(Error::Config("every limit of an HTTP sink must be at least 1".to_owned()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(self.timeout))
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .build();
        let delivery = Delivery {
            agent: Agent::new_with_config(config),
            url: self.url()?,
            headers: self.headers()?,
            content: if self.rows_per_request == 1 { "application/json" } else { "application/x-ndjson" },
            patience: self.patience,
            clock: SystemClock::default(),
        };
        Ok(Box::new(Writer::<T> {
            author: Author::new(subtask),
            parts: Parts::new(self.rows_per_request, self.request_bytes_max),
            delivery,
            letters: self.dead_letters.as_deref().map(Letters::open).transpose()?,
            _record: PhantomData,
        }))
    }
}

struct Writer<T> {
    author: Author,
    parts: Parts,
    delivery: Delivery,
    letters: Option<Letters>,
    _record: PhantomData<fn(T)>,
}

impl<T: Record> SinkWriter<T> for Writer<T> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        batch.iter().try_for_each(|view| self.parts.push(|out| encode_json_line::<T>(view, out)))
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        let rows = self.parts.take()?;
        Ok(if rows.is_empty() { Staged::nothing() } else { self.author.stage(&rows) })
    }

    fn commit(&mut self, epoch: Epoch, staged: &Staged) -> Result<Delivered> {
        if staged.is_nothing() {
            return Ok(Delivered::Final);
        }
        let (share, mut rest) = EpochShare::read(epoch, staged)?;
        for number in 0_u64.. {
            if rest.is_empty() {
                break;
            }
            let (part, behind) = split_part(rest)?;
            let key = format!("{}-{number}", share.key);
            if let Some(refusal) = self.delivery.deliver(&key, part.body)? {
                match &mut self.letters {
                    Some(letters) => letters.keep(&key, part.body, &refusal)?,
                    None => return Err(self.delivery.refused(&key, part.rows, &refusal)),
                }
            }
            rest = behind;
        }
        Ok(Delivered::Final)
    }
}
