//! Where a server is: a URL, which is shown without its password.

use std::fmt;

use headwater::{Error, Result};

/// What differs between the URLs of servers.
pub(crate) struct Kind {
    /// How the database is called.
    pub(crate) name: &'static str,
    /// A URL as it should be.
    pub(crate) url: &'static str,
    /// How the server of a URL is called in errors.
    pub(crate) place: fn(&str) -> Option<String>,
}

/// The URL, or the environment variable that it is in.
#[derive(Clone)]
pub(crate) struct Address {
    kind: &'static Kind,
    url: Option<String>,
    variable: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.read(self.kind.place) {
            Ok(place) => f.write_str(&place),
            Err(_) if self.url.is_some() => f.write_str("no URL"),
            Err(_) => write!(f, "${}", self.variable),
        }
    }
}

impl Address {
    pub(crate) fn url(kind: &'static Kind, url: String) -> Self {
        Address { kind, url: Some(url), variable: String::new() }
    }

    pub(crate) fn variable(kind: &'static Kind, variable: String) -> Self {
        Address { kind, url: None, variable }
    }

    /// Makes something of the URL.
    ///
    /// # Errors
    /// There is no URL, or it is none. What it is may hold a password, and is not said.
    pub(crate) fn read<S>(&self, parse: impl FnOnce(&str) -> Option<S>) -> Result<S> {
        let Kind { name, url: example, .. } = self.kind;
        let (url, of) = match &self.url {
            Some(url) => (url.clone(), format!("the URL of {name}")),
            None => {
                let variable = &self.variable;
                let url = std::env::var(variable).map_err(|_| {
                    Error::Config(format!(
                        "the environment variable {variable} is not set: export {variable}={example}"
                    ))
                })?;
                (url, format!("the URL of {name} in {variable}"))
            }
        };
        parse(&url).ok_or_else(|| {
            Error::Config(format!(
                "{of} cannot be read: it should be {example}, with %40 for @, %2F for / and %3A for : in user and \
                 password"
            ))
        })
    }
}
