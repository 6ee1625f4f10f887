//! `Front`: what a request meets first: is it one, is it understood, and is there room for it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bumpalo::Bump;
use headwater::Result;
use headwater::batch::Record;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Response, StatusCode};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{oneshot, watch};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::answer::{Answer, REASONS_MAX, Reason};
use super::body::{Pieces, Shape};
use super::known::Name;
use super::source::{Kind, Settings};
use crate::format::PayloadDecoder;

/// Longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 256;

/// A request that is understood, and somebody who waits for the answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) name: Option<Name>,
    /// What it is called in the rejected stream.
    pub(super) origin: String,
    pub(super) body: Bytes,
    pub(super) shape: Shape,
    /// What its sender will hear when it has been read and is durable.
    pub(super) answer: Answer,
    pub(super) is_refused: bool,
    pub(super) sender: oneshot::Sender<Answer>,
}

/// Reads records to know whether they can be read.
struct Judge<T: Record> {
    decoder: Box<dyn PayloadDecoder<T>>,
    arena: Bump,
}

pub(super) struct Front<T: Record> {
    settings: Settings,
    judge: Mutex<Judge<T>>,
    queue: Sender<Request>,
    is_closing: watch::Receiver<bool>,
}

/// What the head of a request says about its body.
struct Head {
    shape: Shape,
    key: Option<String>,
}

impl<T: Record> Front<T> {
    pub(super) fn new(
        settings: Settings,
        decoder: Box<dyn PayloadDecoder<T>>,
        queue: Sender<Request>,
        is_closing: watch::Receiver<bool>,
    ) -> Self {
        Front { settings, judge: Mutex::new(Judge { decoder, arena: Bump::new() }), queue, is_closing }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers one request.
    ///
    /// # Errors
    /// None.
    pub(super) async fn serve(
        &self,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (method, path) = (request.method(), request.uri().path());
        if path == "/health" && (method == Method::GET || method == Method::HEAD) {
            return Ok(Answer::health().response(None));
        }
        if path != self.settings.path {
            let error = format!("nothing is here; records go to {}", self.settings.path);
            return Ok(Answer::error(StatusCode::NOT_FOUND, &error).response(None));
        }
        if method != Method::POST {
            let error = "records come as POST";
            return Ok(Answer::error(StatusCode::METHOD_NOT_ALLOWED, error).response(Some("POST")));
        }
        let answer = match self.take(peer, request).await {
            Ok(answer) | Err(answer) => answer,
        };
        Ok(answer.response(None))
    }

    /// # Errors
    /// The answer to a request that is none.
    async fn take(&self, peer: SocketAddr, request: hyper::Request<Incoming>) -> Result<Answer, Answer> {
        if *self.is_closing.borrow() {
            return Err(Answer::later(STOPPING));
        }
        let Head { shape, key } = self.head(request.headers())?;
        let body = self.body(request.into_body()).await?;
        let (records, refused, reasons) = self.understand(shape, &body);
        let is_refused = refused > 0;
        let answer = match is_refused {
            true => Answer::refused(records, refused, &reasons),
            false => Answer::taken(records),
        };
        if records == 0 {
            return Ok(answer);
        }
        let origin = match &key {
            Some(key) => format!("request {key} of {}", peer.ip()),
            None => format!("a request of {}", peer.ip()),
        };
        let name = key.map(|key| Name { key: xxh3_128(key.as_bytes()), body: xxh3_64(&body) });
        let (sender, answered) = oneshot::channel();
        let request = Request { name, origin, body, shape, answer, is_refused, sender };
        match self.queue.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Answer::later(BUSY)),
            Err(TrySendError::Closed(_)) => return Err(Answer::later(STOPPING)),
        }
        match tokio::time::timeout(self.settings.answer_time_max, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Answer::later(STOPPING)),
            Err(_) => Err(Answer::later(SLOW)),
        }
    }

    fn head(&self, headers: &HeaderMap) -> Result<Head, Answer> {
        let unsupported = |error: &str| Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, error);
        let encoding = headers.get(CONTENT_ENCODING).map_or(&b"identity"[..], |value| value.as_bytes());
        if !encoding.eq_ignore_ascii_case(b"identity") {
            return Err(unsupported("a body must not be packed: leave Content-Encoding out"));
        }
        let content = match headers.get(CONTENT_TYPE) {
            None => "",
            Some(value) => value.to_str().map_err(|_| unsupported("the Content-Type is no text"))?,
        };
        let content = content.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let shape = self.settings.kind.shape(&content).ok_or_else(|| {
            unsupported(&format!("`{content}` is not taken here: {}", self.settings.kind.taken()))
        })?;
        let mut keys = headers.get_all("idempotency-key").iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => None,
            (Some(key), None) if (1..=KEY_BYTES_MAX).contains(&key.len()) => {
                let key = key.to_str().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
                key.map(str::to_owned)
            }
            _ => None,
        };
        if key.is_none() && headers.contains_key("idempotency-key") {
            let error =
                format!("there is one Idempotency-Key, of 1 to {KEY_BYTES_MAX} visible ASCII characters");
            return Err(Answer::error(StatusCode::BAD_REQUEST, &error));
        }
        Ok(Head { shape, key })
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Answer> {
        let max = self.settings.body_bytes_max;
        let too_large = || {
            let error = format!("a body has up to {max} bytes: send the records in several requests");
            Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &error)
        };
        if body.size_hint().lower() > max as u64 {
            return Err(too_large());
        }
        let collected = Limited::new(body, max).collect();
        match tokio::time::timeout(self.settings.request_time_max, collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Answer::error(StatusCode::BAD_REQUEST, "the body is not complete")),
            Err(_) => {
                let error = format!("the body took longer than {:?}", self.settings.request_time_max);
                Err(Answer::error(StatusCode::REQUEST_TIMEOUT, &error))
            }
        }
    }

    /// How many records there are, how many of them cannot be understood, and why.
    fn understand(&self, shape: Shape, body: &[u8]) -> (u64, u64, Vec<Reason>) {
        let Judge { decoder, arena } = &mut *self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut records, mut refused, mut reasons) = (0, 0, Vec::new());
        let mut pieces = Pieces::new(shape);
        while let Some(piece) = pieces.next(body) {
            records += 1;
            let reason = match decoder.decode(piece.bytes, arena) {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = reason {
                refused += 1;
                if reasons.len() < REASONS_MAX {
                    reasons.push(Reason { line: piece.line, reason });
                }
            }
            arena.reset();
        }
        (records, refused, reasons)
    }
}

const BUSY: &str = "the job has as many requests as it can take now: send this one again";
const STOPPING: &str = "the job stops or starts again, and does not know of this request: send it again";
const SLOW: &str =
    "the job has taken the request, and has not made it durable yet: send it again, with its key";

impl Kind {
    /// How records follow each other in a body of this content type; `None` when it is another kind of thing.
    fn shape(self, content: &str) -> Option<Shape> {
        // What curl says unless told, and a program that says nothing.
        let is_silent =
            matches!(content, "" | "application/x-www-form-urlencoded" | "application/octet-stream");
        match (self, content) {
            (Kind::Json, "application/json") => Some(Shape::Document),
            (
                Kind::Json,
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "text/plain",
            ) => Some(Shape::JsonLines),
            (Kind::Json, _) if is_silent => Some(Shape::JsonLines),
            (Kind::Csv, _) if is_silent || content == "text/csv" => Some(Shape::Csv),
            (Kind::Text, _) if is_silent || content == "text/plain" => Some(Shape::Text),
            _ => None,
        }
    }

    fn taken(self) -> &'static str {
        match self {
            Kind::Json => "one record as application/json, or one per line as application/x-ndjson",
            Kind::Csv => "rows as text/csv",
            Kind::Text => "lines as text/plain",
        }
    }
}
