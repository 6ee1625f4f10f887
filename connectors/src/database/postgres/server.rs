//! Where the server is: the URL, which is shown without its password.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::super::address::Kind;

/// How long one attempt to connect may take, unless the URL says.
const CONNECT: Duration = Duration::from_secs(5);
/// After how long a network that swallows everything is noticed, unless the URL says.
const UNANSWERED: Duration = Duration::from_secs(30);

/// The URLs of PostgreSQL.
pub(super) const KIND: Kind = Kind {
    name: "PostgreSQL",
    url: "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    place: |url| Server::parse(url).map(|server| server.name),
};

/// A server, and how it is called in errors.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) name: String,
}

impl Server {
    pub(super) fn parse(url: &str) -> Option<Self> {
        let mut config = Config::from_str(url).ok()?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return None;
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
        Some(Server { config, name })
    }
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
    use super::super::super::address::Address;
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
            let address = Address::url(&KIND, url.to_owned());
            let shown = match address.read(Server::parse) {
                Ok(server) => format!("{address:?} {}", server.name),
                Err(error) => format!("{address:?} {error} {error:?}"),
            };
            assert!(!shown.contains("sesame"), "{shown}");
        }
        let server = Address::url(&KIND, "postgres://me:sesame@db.example:7000/shop".to_owned())
            .read(Server::parse)
            .unwrap();
        assert_eq!(server.name, "PostgreSQL at db.example:7000/shop (user me)");
        let unset = Address::variable(&KIND, "HEADWATER_TEST_UNSET".to_owned());
        assert_eq!(format!("{unset:?}"), "$HEADWATER_TEST_UNSET");
        assert!(
            unset
                .read(Server::parse)
                .err()
                .unwrap()
                .to_string()
                .contains("export HEADWATER_TEST_UNSET=postgres://")
        );
    }
}
