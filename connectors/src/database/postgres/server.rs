//! Where the server is: the URL, which is shown without its password.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use headwater::{Error, Result};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// How long one attempt to connect may take, unless the URL says.
const CONNECT: Duration = Duration::from_secs(5);
/// After how long a network that swallows everything is noticed, unless the URL says.
const UNANSWERED: Duration = Duration::from_secs(30);

/// The URL, or where it is.
#[derive(Clone)]
pub(super) struct Address {
    url: Option<String>,
    variable: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server() {
            Ok(server) => f.write_str(&server.name),
            Err(_) if self.url.is_some() => f.write_str("no URL"),
            Err(_) => write!(f, "${}", self.variable),
        }
    }
}

impl Address {
    pub(super) fn url(url: String) -> Self {
        Address { url: Some(url), variable: String::new() }
    }

    pub(super) fn variable(variable: String) -> Self {
        Address { url: None, variable }
    }

    /// # Errors
    /// There is no URL, or it is none. What it is may hold a password, and is not said.
    pub(super) fn server(&self) -> Result<Server> {
        let (url, of) = match &self.url {
            Some(url) => (url.clone(), "the URL of PostgreSQL".to_owned()),
            None => {
                let variable = &self.variable;
                let url = std::env::var(variable).map_err(|_| {
                    Error::Config(format!(
                        "the environment variable {variable} is not set: export {variable}=postgres://USER:\
                         PASSWORD@HOST:PORT/DATABASE"
                    ))
                })?;
                (url, format!("the URL of PostgreSQL in {variable}"))
            }
        };
        let unreadable = || {
            Error::Config(format!(
                "{of} cannot be read: it should be postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @, \
                 %2F for / and %3A for : in user and password"
            ))
        };
        let mut config = Config::from_str(&url).map_err(|_| unreadable())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(unreadable());
        }
        let name = name_of(&config);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNANSWERED);
        }
        if config.get_application_name().is_none() {
            config.application_name("headwater");
        }
        Ok(Server { config, name })
    }
}

/// A server, and how it is called in errors.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) name: String,
}

fn name_of(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let mut hosts: Vec<_> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(at, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(at)),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    if hosts.is_empty() {
        hosts = config
            .get_hostaddrs()
            .iter()
            .enumerate()
            .map(|(at, host)| format!("{host}:{}", port(at)))
            .collect();
    }
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    format!("PostgreSQL at {}/{database} (user {user})", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://me:sesame@db.example:7000/shop",
            "postgres://me:sesame@/shop",
            "postgres://me:ses@me:sesame@h:p/shop",
            "host=db.example user=me password=sesame bogus=sesame",
            "sesame",
        ] {
            let address = Address::url(url.to_owned());
            let shown = match address.server() {
                Ok(server) => format!("{address:?} {}", server.name),
                Err(error) => format!("{address:?} {error} {error:?}"),
            };
            assert!(!shown.contains("sesame"), "{shown}");
        }
        let server = Address::url("postgres://me:sesame@db.example:7000/shop".to_owned()).server().unwrap();
        assert_eq!(server.name, "PostgreSQL at db.example:7000/shop (user me)");
        let unset = Address::variable("HEADWATER_TEST_UNSET".to_owned());
        assert_eq!(format!("{unset:?}"), "$HEADWATER_TEST_UNSET");
        assert!(
            unset.server().err().unwrap().to_string().contains("export HEADWATER_TEST_UNSET=postgres://")
        );
    }
}
