//! `Location`: which store and which place in it a URL names, and whose it is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use headwater::{Error, Result};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;

/// The bucket of a URL and the path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// `s3://bucket`
    pub(super) bucket: String,
    pub(super) path: String,
}

/// Stores that have been opened, by bucket: one client with its connections for each.
static STORES: Mutex<Option<HashMap<String, Arc<dyn ObjectStore>>>> = Mutex::new(None);

impl Location {
    /// # Errors
    /// The text is no URL of an object store.
    pub(super) fn parse(url: &Path) -> Result<Location> {
        let text = url.to_str().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        // `container@account.host` is how Azure names its own; a password has no place in a URL that is printed.
        if bucket.contains(':') || bucket.contains('@') && !scheme.starts_with("abfs") {
            return Err(Error::Config(format!(
                "the URL of a {scheme} store is {scheme}://BUCKET/PATH: credentials come from the environment"
            )));
        }
        if !matches!(scheme, "s3" | "s3a" | "gs" | "az" | "abfs" | "abfss" | "memory") || bucket.is_empty() {
            return Err(Error::Config(format!(
                "`{text}` is no URL of an object store: s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or \
                 abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
            )));
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Location { bucket: format!("{scheme}://{bucket}"), path })
    }

    /// The client of the bucket.
    ///
    /// # Errors
    /// The environment does not say what it needs.
    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        let stores = stores.get_or_insert_default();
        if let Some(store) = stores.get(&self.bucket) {
            return Ok(Arc::clone(store));
        }
        // Fails when the program has chosen one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bucket = self.bucket.as_str();
        let built: object_store::Result<Arc<dyn ObjectStore>> = match bucket.split("://").next() {
            Some("s3" | "s3a") => built(AmazonS3Builder::from_env().with_url(bucket).build()),
            Some("gs") => built(GoogleCloudStorageBuilder::from_env().with_url(bucket).build()),
            Some("memory") => Ok(Arc::new(InMemory::new())),
            _ => built(MicrosoftAzureBuilder::from_env().with_url(bucket).build()),
        };
        let store = built.map_err(|error| {
            Error::Config(format!("{bucket}: {}; the environment says who asks and where", said(&error)))
        })?;
        stores.insert(self.bucket.clone(), Arc::clone(&store));
        Ok(store)
    }
}

fn built<S: ObjectStore>(store: object_store::Result<S>) -> object_store::Result<Arc<dyn ObjectStore>> {
    Ok(Arc::new(store?))
}

/// What a store said, without what signs a URL.
pub(super) fn said(error: &object_store::Error) -> String {
    let text = error.to_string();
    let mut shown = String::with_capacity(text.len());
    for (at, part) in text.split('?').enumerate() {
        let secret = if at == 0 { 0 } else { part.find([' ', '"', ')', '\n']).unwrap_or(part.len()) };
        if secret > 0 {
            shown.push_str("?..");
        }
        shown.push_str(&part[secret..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_and_a_path() {
        let parsed = Location::parse(Path::new("s3://bucket/a/b=1/")).unwrap();
        assert_eq!(parsed, Location { bucket: "s3://bucket".into(), path: "a/b=1".into() });
        assert_eq!(Location::parse(Path::new("gs://bucket")).unwrap().path, "");
        assert!(Location::parse(Path::new("abfss://box@account.dfs.core.windows.net/x")).is_ok());
        for url in
            ["http://host/x", "s3:///x", "hdfs://host/x", "s3://key:secret@bucket/x", "s3://secret@bucket/x"]
        {
            let error = Location::parse(Path::new(url)).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_signs_a_url_is_not_said() {
        let source = "Error performing GET https://host/a?sig=abc&x=1 in 3s (https://host/?sig=abc)".into();
        let text = said(&object_store::Error::Generic { store: "Azure", source });
        assert!(text.contains("https://host/a?.. in 3s") && !text.contains("abc"), "{text}");
    }
}
