//! `Answer`: what a sender is told.

use headwater::batch::Encoder;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::format::JsonEncoder;

/// Most records that an answer says something about.
pub(super) const REASONS_MAX: usize = 20;

/// A status and a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Vec<u8>,
    is_passing: bool,
}

/// A record that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) line: u64,
    pub(super) reason: String,
}

impl Answer {
    /// All records of the request count.
    pub(super) fn taken(records: u64) -> Self {
        let body = format!("{{\"records\":{records}}}\n").into_bytes();
        Answer { status: StatusCode::OK, body, is_passing: false }
    }

    /// No record of the request counts, and the same request never will.
    pub(super) fn refused(records: u64, refused: u64, reasons: &[Reason]) -> Self {
        let mut body = Vec::new();
        let mut json = JsonEncoder::new(&mut body);
        json.begin_record();
        json.field("error");
        json.str(&format!(
            "{refused} of {records} records cannot be understood, and none of the request was taken: mend it and \
             send all of it again"
        ));
        json.field("records");
        json.begin_list();
        for Reason { line, reason } in reasons {
            json.item();
            json.begin_record();
            json.field("line");
            json.u64(*line);
            json.field("reason");
            json.str(reason);
            json.end_record();
        }
        json.end_list();
        json.end_record();
        body.push(b'\n');
        Answer { status: StatusCode::UNPROCESSABLE_ENTITY, body, is_passing: false }
    }

    /// The source is there.
    pub(super) fn health() -> Self {
        Answer { status: StatusCode::OK, body: b"{\"status\":\"ok\"}\n".to_vec(), is_passing: false }
    }

    /// The sender has made a mistake.
    pub(super) fn error(status: StatusCode, error: &str) -> Self {
        let mut body = Vec::new();
        let mut json = JsonEncoder::new(&mut body);
        json.begin_record();
        json.field("error");
        json.str(error);
        json.end_record();
        body.push(b'\n');
        Answer { status, body, is_passing: false }
    }

    /// Nothing is wrong with the request: it may be sent again in a second.
    pub(super) fn later(error: &str) -> Self {
        Answer { is_passing: true, ..Answer::error(StatusCode::SERVICE_UNAVAILABLE, error) }
    }

    pub(super) fn response(self, allow: Option<&'static str>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.is_passing {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(methods) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}
