//! `SchemaRegistry`: where the schemas of a topic are, by the REST calls that Confluent's registry has and others
//! answer as well.
//!
//! 1. `client`: requests, with patience
//! 2. `frame`: what stands in front of a payload whose schema is in a registry

mod client;
mod frame;
#[cfg(test)]
mod tests;

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
                "the schema registry at {} refuses the schema of this sink for subject `{subject}`, because it is not \
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
