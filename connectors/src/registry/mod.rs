//! `SchemaRegistry`: where the schemas of a topic are, by the REST calls that Confluent's registry has and others
//! answer as well.
//!
//! 1. `client`: requests, with patience
//! 2. `frame`: what stands in front of a payload whose schema is in a registry

mod client;
mod frame;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater::time::{Clock, SystemClock};
use headwater::{Error, Result};
use serde_json::{Value, json};

use self::client::{Client, Reply, escaped};
pub(crate) use self::frame::{read_id, write_id};

/// Most schemas that are kept.
const SCHEMAS_MAX: usize = 1_000;

/// For how long an id that the registry did not have is not asked for again.
const UNKNOWN_MS: u64 = 5_000;

/// Most schemas that one may refer to, with those that they refer to.
const REFERENCES_MAX: usize = 200;

/// A registry of schemas: Confluent's, or one that speaks like it (Apicurio under `/apis/ccompat/v7`, Karapace,
/// Redpanda).
///
/// Schemas are asked for once and kept. A registry that is away is waited for, as long as its
/// [`patience`](Self::patience) says; then the job fails with a sentence. No payload is rejected for that.
///
/// ```no_run
/// use headwater_connectors::SchemaRegistry;
///
/// let registry = SchemaRegistry::at("http://127.0.0.1:8081").password_from_env("app", "REGISTRY_PASSWORD");
/// ```
#[derive(Clone)]
pub struct SchemaRegistry {
    client: Client,
    /// The first thing that was wrong; said when the job is built.
    wrong: Option<String>,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    schemas: Mutex<BTreeMap<u32, Arc<Registered>>>,
    /// Ids that were not there, and when.
    unknown: Mutex<BTreeMap<u32, u64>>,
    clock: SystemClock,
}

/// A schema out of a registry.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) kind: SchemaKind,
    pub(crate) text: String,
    /// What it refers to, each behind what it refers to itself: name and text.
    pub(crate) references: Vec<(String, String)>,
}

/// What a schema is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SchemaKind {
    #[cfg(feature = "avro")]
    Avro,
    #[cfg(feature = "protobuf")]
    Protobuf,
    Other(String),
}

impl SchemaKind {
    fn of(name: &str) -> Self {
        match name {
            #[cfg(feature = "avro")]
            "AVRO" => SchemaKind::Avro,
            #[cfg(feature = "protobuf")]
            "PROTOBUF" => SchemaKind::Protobuf,
            other => SchemaKind::Other(other.to_owned()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            #[cfg(feature = "avro")]
            SchemaKind::Avro => "AVRO",
            #[cfg(feature = "protobuf")]
            SchemaKind::Protobuf => "PROTOBUF",
            SchemaKind::Other(name) => name,
        }
    }
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry").field("url", &self.client.shown()).finish_non_exhaustive()
    }
}

impl SchemaRegistry {
    /// The registry at `http://HOST:PORT`, with a path if it has one.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        let (client, wrong) = Client::new(&url.into());
        SchemaRegistry { client, wrong, known: Arc::default() }
    }

    /// Sends a user and a password, which comes from a variable of the environment.
    #[must_use]
    pub fn password_from_env(mut self, user: &str, variable: &str) -> Self {
        match std::env::var(variable) {
            Ok(password) => self.client.basic(user, &password),
            Err(_) => self.refuse(format!(
                "the password of the registry is to come from ${variable}, which is not set"
            )),
        }
        self
    }

    /// Sends a bearer token, which comes from a variable of the environment.
    #[must_use]
    pub fn token_from_env(mut self, variable: &str) -> Self {
        match std::env::var(variable) {
            Ok(token) => self.client.bearer(&token),
            Err(_) => self
                .refuse(format!("the token of the registry is to come from ${variable}, which is not set")),
        }
        self
    }

    /// How long a registry that is away is waited for (30 s).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.client.patience = patience;
        self
    }

    fn refuse(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }

    /// # Errors
    /// It cannot be asked.
    pub(crate) fn check(&self) -> Result<()> {
        self.wrong.as_ref().map_or(Ok(()), |wrong| Err(Error::Config(wrong.clone())))
    }

    /// The schema with an id; `None` when the registry has none.
    ///
    /// # Errors
    /// It cannot be asked, does not let us in, or answers nonsense.
    pub(crate) fn schema(&self, id: u32) -> Result<Option<Arc<Registered>>> {
        self.check()?;
        if let Some(known) = guard(&self.known.schemas).get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let now_ms = self.known.clock.monotonic_ms();
        if guard(&self.known.unknown).get(&id).is_some_and(|then| now_ms.saturating_sub(*then) < UNKNOWN_MS) {
            return Ok(None);
        }
        // Not under the lock: others need not wait for what they do not need.
        let reply = self.client.get(&format!("/schemas/ids/{id}"))?;
        if reply.status == 404 && reply.error_code() == Some(40403) {
            let mut unknown = guard(&self.known.unknown);
            if unknown.len() >= SCHEMAS_MAX {
                unknown.clear();
            }
            unknown.insert(id, now_ms);
            return Ok(None);
        }
        let registered = Arc::new(self.registered(&self.success(reply)?)?);
        let mut schemas = guard(&self.known.schemas);
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert(id, Arc::clone(&registered));
        Ok(Some(registered))
    }

    /// The id of a schema under a subject; it is registered if it is not there yet.
    ///
    /// # Errors
    /// The registry cannot be asked, or refuses the schema.
    pub(crate) fn register(&self, subject: &str, kind: &SchemaKind, text: &str) -> Result<u32> {
        self.check()?;
        let body = json!({ "schema": text, "schemaType": kind.name() });
        let reply =
            self.client.post(&format!("/subjects/{}/versions", escaped(subject)), &body.to_string())?;
        if reply.status == 409 {
            return Err(Error::failed(format!(
                "the schema registry at {} refuses the schema of this sink for subject `{subject}`, because \
                 it is not \
                 compatible with what is there: {}. Change the record type in a compatible way (new fields as \
                 `Option`), choose another subject, or change the compatibility of the subject",
                self.client.shown(),
                reply.message()
            )));
        }
        let body = self.success(reply)?;
        let id = body.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| self.nonsense("no id"))
    }

    fn success(&self, reply: Reply) -> Result<Value> {
        match reply.status {
            200..=299 => serde_json::from_str(&reply.body).map_err(|_| self.nonsense("no JSON")),
            status => Err(self.client.refused(status, &reply.message())),
        }
    }

    #[cold]
    fn nonsense(&self, what: &str) -> Error {
        Error::failed(format!(
            "what answers at {} is no schema registry: {what} came back",
            self.client.shown()
        ))
    }

    fn registered(&self, body: &Value) -> Result<Registered> {
        let text = body.get("schema").and_then(Value::as_str).ok_or_else(|| self.nonsense("no schema"))?;
        let mut references = Vec::new();
        self.collect(body, &mut BTreeSet::new(), &mut references)?;
        // NOTE: a schema of Avro may come without its kind.
        let kind = body.get("schemaType").and_then(Value::as_str).unwrap_or("AVRO");
        Ok(Registered { kind: SchemaKind::of(kind), text: text.to_owned(), references })
    }

    /// Fetches what a schema refers to, what that refers to first.
    fn collect(
        &self,
        body: &Value,
        seen: &mut BTreeSet<(String, u64)>,
        found: &mut Vec<(String, String)>,
    ) -> Result<()> {
        let none = Vec::new();
        for reference in body.get("references").and_then(Value::as_array).unwrap_or(&none) {
            let text = |name| reference.get(name).and_then(Value::as_str);
            let version = reference.get("version").and_then(Value::as_u64);
            let (Some(name), Some(subject), Some(version)) = (text("name"), text("subject"), version) else {
                return Err(self.nonsense("a reference without name, subject and version"));
            };
            if seen.len() >= REFERENCES_MAX {
                return Err(self.nonsense("a schema that refers to hundreds of others"));
            }
            if !seen.insert((subject.to_owned(), version)) {
                continue;
            }
            let reply = self.client.get(&format!("/subjects/{}/versions/{version}", escaped(subject)))?;
            let other = self.success(reply)?;
            self.collect(&other, seen, found)?;
            let schema =
                other.get("schema").and_then(Value::as_str).ok_or_else(|| self.nonsense("no schema"))?;
            found.push((name.to_owned(), schema.to_owned()));
        }
        Ok(())
    }
}

/// What a mutex guards. A panic elsewhere leaves nothing half done here.
fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// Answers requests, one connection each, with these statuses and bodies, in order; gives what was asked
    /// for: the first line, the header `Authorization` and the body.
    fn server(answers: Vec<(u16, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        let serve = move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut request, mut length) = (String::new(), 0);
                reader.read_line(&mut request).unwrap();
                loop {
                    let mut header = String::new();
                    reader.read_line(&mut header).unwrap();
                    let lower = header.to_ascii_lowercase();
                    if lower.starts_with("authorization") {
                        request.push_str(&header);
                    }
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if header.trim().is_empty() {
                        break;
                    }
                }
                let mut sent = vec![0; length];
                reader.read_exact(&mut sent).unwrap();
                request.push_str(std::str::from_utf8(&sent).unwrap());
                asked.push(request);
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all((head + body).as_bytes()).unwrap();
            }
            asked
        };
        (url, std::thread::spawn(serve))
    }

    fn impatient(url: &str) -> SchemaRegistry {
        SchemaRegistry::at(url).patience(Duration::ZERO)
    }

    #[test]
    fn a_schema_is_asked_for_once_also_when_the_registry_is_busy_at_first() {
        let body = r#"{"schema": "\"long\"", "schemaType": "AVRO"}"#;
        let (url, server) = server(vec![(503, "busy"), (429, ""), (200, body)]);
        let registry = SchemaRegistry::at(url);
        for _ in 0..3 {
            let found = registry.clone().schema(7).unwrap().unwrap();
            assert_eq!((found.kind.name(), found.text.as_str()), ("AVRO", "\"long\""));
        }
        let asked = server.join().unwrap();
        assert_eq!(asked.len(), 3);
        assert!(asked.iter().all(|asked| asked.starts_with("GET /base/schemas/ids/7 HTTP")), "{asked:?}");
    }

    #[test]
    fn an_unknown_id_is_no_error_and_not_asked_for_at_once_again() {
        let (url, server) = server(vec![(404, r#"{"error_code": 40403, "message": "no such schema"}"#)]);
        let registry = impatient(&url);
        assert!(registry.schema(7).unwrap().is_none() && registry.schema(7).unwrap().is_none());
        assert_eq!(server.join().unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_registry_or_does_not_let_us_in_is_an_error_and_rejects_nothing() {
        for (answer, expected) in [
            ((404, "<html>not here</html>"), "is its address complete?"),
            ((401, r#"{"message": "who are you"}"#), "does not let us in (401: who are you)"),
            ((200, "<html>welcome</html>"), "is no schema registry: no JSON came back"),
            ((200, "{}"), "is no schema registry: no schema came back"),
            ((500, r#"{"message": "broken"}"#), "cannot be asked (for 0 s): it answers 500: broken"),
        ] {
            let (url, server) = server(vec![answer]);
            let said = impatient(&url).schema(1).map(drop).unwrap_err().to_string();
            assert!(said.contains(expected) && said.contains(url.trim_end_matches('/')), "{said}");
            server.join().unwrap();
        }
    }

    #[test]
    fn schemas_are_registered_and_a_refusal_is_explained() {
        let conflict = r#"{"error_code": 409, "message": "field x has no default"}"#;
        let (url, server) =
            server(vec![(200, r#"{"id": 12}"#), (409, conflict), (422, r#"{"message": "nonsense"}"#)]);
        let registry = impatient(&url);
        let kind = SchemaKind::of("AVRO");
        let register = || registry.register("a/b-value", &kind, "\"long\"");
        assert_eq!(register().unwrap(), 12);
        let said = register().unwrap_err().to_string();
        assert!(said.contains("subject `a/b-value`") && said.contains("field x has no default"), "{said}");
        assert!(register().unwrap_err().to_string().contains("cannot use the schema: nonsense"));
        let asked = server.join().unwrap().remove(0);
        assert!(asked.starts_with("POST /base/subjects/a%2Fb-value/versions HTTP"), "{asked}");
        assert!(asked.ends_with(r#"{"schema":"\"long\"","schemaType":"AVRO"}"#), "{asked}");
    }

    #[test]
    fn what_a_schema_refers_to_comes_before_it_and_once() {
        let (url, server) = server(vec![
            (
                200,
                r#"{"schema": "top", "references": [{"name": "a", "subject": "sa", "version": 1},
                    {"name": "b", "subject": "sb", "version": 2}]}"#,
            ),
            (200, r#"{"schema": "text a", "references": [{"name": "b", "subject": "sb", "version": 2}]}"#),
            (200, r#"{"schema": "text b", "references": [{"name": "a", "subject": "sa", "version": 1}]}"#),
        ]);
        let found = impatient(&url).schema(1).unwrap().unwrap();
        let names: Vec<_> =
            found.references.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(names, [("b", "text b"), ("a", "text a")]);
        let asked = server.join().unwrap();
        assert!(asked[2].starts_with("GET /base/subjects/sb/versions/2 HTTP"), "{asked:?}");
    }

    #[test]
    fn a_password_is_sent_and_shown_nowhere() {
        let (url, server) = server(vec![(401, "")]);
        let registry = impatient(&url).password_from_env("me", "PATH");
        let said = registry.schema(1).map(drop).unwrap_err().to_string();
        let path = std::env::var("PATH").unwrap();
        assert!(!said.contains(&path) && !format!("{registry:?}").contains(&path));
        assert!(
            server.join().unwrap()[0].to_ascii_lowercase().contains("authorization: basic bwu6"),
            "`me:`"
        );
        let said = impatient("http://h")
            .token_from_env("HEADWATER_NO_SUCH_VARIABLE")
            .check()
            .unwrap_err()
            .to_string();
        assert!(said.contains("$HEADWATER_NO_SUCH_VARIABLE"), "{said}");
    }
}
