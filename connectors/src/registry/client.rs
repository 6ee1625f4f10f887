//! `Client`: requests to a registry, again and again while it is away.

use std::fmt::Write;
use std::time::Duration;

use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};
use serde_json::Value;
use ureq::Agent;

/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Largest answer.
const BODY_BYTES_MAX: u64 = 8 << 20;

const CONTENT: &str = "application/vnd.schemaregistry.v1+json";

/// Asks one registry.
#[derive(Clone)]
pub(super) struct Client {
    /// Without a slash at its end, and without a password.
    url: String,
    agent: Agent,
    /// The header `Authorization`.
    authorization: Option<String>,
    pub(super) patience: Duration,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Reply {
    /// The registry's own number of an error.
    pub(super) fn error_code(&self) -> Option<u64> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        body.get("error_code")?.as_u64()
    }

    /// What the registry says, shortened.
    pub(super) fn message(&self) -> String {
        let body: Option<Value> = serde_json::from_str(&self.body).ok();
        let message = body.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str);
        let message = message.unwrap_or(&self.body).trim();
        match message.char_indices().nth(500) {
            Some((end, _)) => format!("{}..", &message[..end]),
            None if message.is_empty() => "it says no more".to_owned(),
            None => message.to_owned(),
        }
    }
}

impl Client {
    /// A client, and what is wrong with its address.
    pub(super) fn new(url: &str) -> (Self, Option<String>) {
        let config = Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false).build();
        let mut client = Client {
            url: url.trim_end_matches('/').to_owned(),
            agent: Agent::new_with_config(config),
            authorization: None,
            patience: Duration::from_secs(30),
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        if let Some((_, host)) = host.rsplit_once('@') {
            client.url = format!("{scheme}://{host}");
            let wrong = "the address of the schema registry holds a user or a password, which would be seen in \
                         messages: leave them out and use password_from_env";
            return (client, Some(wrong.to_owned()));
        }
        let wrong = match scheme {
            "http" if !host.is_empty() => None,
            "https" => Some(format!(
                "`{url}`: TLS to the schema registry is not built in; let a proxy on this machine speak it, \
                 and give \
                 its http:// address"
            )),
            _ => Some(format!("`{url}` is no address of a schema registry: http://HOST:PORT")),
        };
        (client, wrong)
    }

    /// The address, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.url
    }

    pub(super) fn basic(&mut self, user: &str, password: &str) {
        self.authorization = Some(format!("Basic {}", base64(format!("{user}:{password}").as_bytes())));
    }

    pub(super) fn bearer(&mut self, token: &str) {
        self.authorization = Some(format!("Bearer {}", token.trim()));
    }

    pub(super) fn get(&self, path: &str) -> Result<Reply> {
        self.ask(path, |url| {
            let mut request = self.agent.get(url).header("Accept", CONTENT);
            if let Some(authorization) = &self.authorization {
                request = request.header("Authorization", authorization);
            }
            request.call()
        })
    }

    pub(super) fn post(&self, path: &str, body: &str) -> Result<Reply> {
        self.ask(path, |url| {
            let mut request = self.agent.post(url).header("Accept", CONTENT).header("Content-Type", CONTENT);
            if let Some(authorization) = &self.authorization {
                request = request.header("Authorization", authorization);
            }
            request.send(body)
        })
    }

    fn ask(
        &self,
        path: &str,
        send: impl Fn(&str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Reply> {
        let url = format!("{}{path}", self.url);
        let clock = SystemClock::default();
        loop {
            let why = match send(&url).and_then(read) {
                // Busy, restarting, behind a proxy that does not reach it.
                Ok(reply) if reply.status >= 500 || reply.status == 429 => {
                    format!("it answers {}: {}", reply.status, reply.message())
                }
                Ok(reply) => return Ok(reply),
                Err(error) => error.to_string(),
            };
            let waited_ms = clock.monotonic_ms();
            if waited_ms >= self.patience.as_millis() as u64 {
                return Err(Error::failed(format!(
                    "the schema registry at {} cannot be asked (for {} s): {why}. Nothing is lost: start the job \
                     again when it is back",
                    self.url,
                    waited_ms / 1000
                )));
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// What a status that is no success means.
    #[cold]
    pub(super) fn refused(&self, status: u16, message: &str) -> Error {
        let url = &self.url;
        Error::failed(match status {
            401 | 403 => format!(
                "the schema registry at {url} does not let us in ({status}: {message}): see \
                 SchemaRegistry::password_from_env and token_from_env"
            ),
            404 => format!(
                "the schema registry at {url} does not know what was asked for ({message}): is its address \
                 complete? \
                 Apicurio's ends in /apis/ccompat/v7"
            ),
            422 => format!("the schema registry at {url} cannot use the schema: {message}"),
            _ => format!("the schema registry at {url} refuses ({status}): {message}"),
        })
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Reply, ureq::Error> {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_string()?;
    Ok(Reply { status, body })
}

/// A part of a path.
pub(super) fn escaped(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| three.get(at).map_or(0, |byte| u32::from(*byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let sextet = bits >> (18 - 6 * digit) & 0x3f;
            out.push(if digit <= three.len() { char::from(DIGITS[sextet as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_paths_are_written_as_others_read_them() {
        let texts: Vec<_> =
            ["", "f", "fo", "foo", "foob", "user:p\u{e4}ss"].map(|text| base64(text.as_bytes())).into();
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "dXNlcjpww6Rzcw=="]);
        assert_eq!(escaped("a b/c-value"), "a%20b%2Fc-value");
    }

    #[test]
    fn an_address_that_cannot_be_asked_is_refused_and_shows_no_password() {
        let wrong = |url| Client::new(url).1.unwrap_or_default();
        assert_eq!(wrong("http://h:1/apis"), "");
        assert!(wrong("https://h").contains("TLS"));
        assert!(wrong("h:1").contains("http://HOST:PORT"));
        let (client, said) = Client::new("http://me:s3cret@h:1/x");
        assert!(said.unwrap().contains("password_from_env"));
        assert!(!client.shown().contains("s3cret"));
        assert!(!wrong("me:s3cret@h:1").contains("s3cret"));
    }
}
