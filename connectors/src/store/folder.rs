//! `Folder`: what sinks and sources do in an object store, one call after the other.
//!
//! The client works on a thread of its own, with a runtime for all stores of the process; a call waits for its
//! answer. So it does not matter on whose thread the caller is.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::TryStreamExt;
use headwater::{Error, Result};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::runtime::{Builder, Handle};

use super::location::{Location, said};

static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);

/// A place in a store.
#[derive(Clone)]
pub(crate) struct Folder {
    location: Location,
    store: Arc<dyn ObjectStore>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Folder").field(&self.location).finish()
    }
}

/// The runtime that all clients work on.
fn runtime() -> Result<Handle> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*runtime {
        return Ok(handle.clone());
    }
    let built = Builder::new_current_thread().enable_all().build()?;
    let handle = built.handle().clone();
    let run = move || built.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("headwater-store".to_owned()).spawn(run)?;
    *runtime = Some(handle.clone());
    Ok(handle)
}

/// Waits for an answer.
#[allow(clippy::disallowed_methods, reason = "one answer to one who waits, between no two actors")]
fn wait<R: Send + 'static>(
    question: impl Future<Output = object_store::Result<R>> + Send + 'static,
) -> Result<object_store::Result<R>> {
    let (answer, answered) = sync_channel(1);
    runtime()?.spawn(async move {
        // Nobody waits any more when this fails.
        let _ = answer.send(question.await);
    });
    answered.recv().map_err(|_| Error::failed("the client of the object store has ended"))
}

impl Folder {
    /// # Errors
    /// The URL names no store, or the environment does not say what it needs.
    pub(crate) fn open(url: &Path) -> Result<Folder> {
        let location = Location::parse(url)?;
        let store = location.store()?;
        Ok(Folder { location, store })
    }

    /// The URL of an object.
    pub(crate) fn url(&self, name: &str) -> PathBuf {
        let Location { bucket, path } = &self.location;
        let parts = [bucket, path, name].into_iter().filter(|part| !part.is_empty());
        PathBuf::from(parts.collect::<Vec<_>>().join("/"))
    }

    fn key(&self, name: &str) -> Result<Key> {
        let parts = [self.location.path.as_str(), name].into_iter().filter(|part| !part.is_empty());
        let text = parts.collect::<Vec<_>>().join("/");
        Key::parse(&text).map_err(|error| Error::failed(format!("{}: {error}", self.url(name).display())))
    }

    fn failed(&self, name: &str, error: &object_store::Error) -> Error {
        Error::failed(format!("{}: {}", self.url(name).display(), said(error)))
    }

    /// Puts an object there, as a whole; does nothing when it is there with these bytes.
    ///
    /// # Errors
    /// The store does not answer, or another object has the name.
    pub(crate) fn put(&self, name: &str, bytes: &Bytes) -> Result<()> {
        let (store, key, payload) = (Arc::clone(&self.store), self.key(name)?, bytes.clone());
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = wait(async move { store.put_opts(&key, payload.into(), options).await })?;
        match put {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                if self.get(name)?.is_some_and(|found| found == *bytes) {
                    return Ok(());
                }
                Err(Error::failed(format!(
                    "{}: is there already and holds something else: another run wrote to this place; give one that \
                     is empty, or resume with the state directory that belongs to it",
                    self.url(name).display()
                )))
            }
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    /// The bytes of an object; `None` when there is none.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let (store, key) = (Arc::clone(&self.store), self.key(name)?);
        match wait(async move { store.get(&key).await?.bytes().await })? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    /// Length of an object; `None` when there is none.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) fn length(&self, name: &str) -> Result<Option<u64>> {
        let (store, key) = (Arc::clone(&self.store), self.key(name)?);
        match wait(async move { store.head(&key).await })? {
            Ok(about) => Ok(Some(about.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    /// A part of an object.
    ///
    /// # Errors
    /// The store does not answer, or there is no such part.
    pub(crate) fn part(&self, name: &str, part: std::ops::Range<u64>) -> Result<Bytes> {
        let (store, key) = (Arc::clone(&self.store), self.key(name)?);
        wait(async move { store.get_range(&key, part).await })?.map_err(|error| self.failed(name, &error))
    }

    /// The URLs of all objects below this place, sorted.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) fn list(&self) -> Result<Vec<PathBuf>> {
        let (store, key) = (Arc::clone(&self.store), self.key("")?);
        let found = wait(async move { store.list(Some(&key)).try_collect::<Vec<_>>().await })?;
        let found = found.map_err(|error| self.failed("", &error))?;
        let bucket = &self.location.bucket;
        let mut urls: Vec<_> =
            found.iter().map(|about| PathBuf::from(format!("{bucket}/{}", about.location))).collect();
        urls.sort();
        Ok(urls)
    }
}
