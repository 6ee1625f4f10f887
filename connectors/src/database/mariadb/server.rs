//! Where the server is: the URL, which is shown without its password.

use std::time::Duration;

use mysql::{Opts, OptsBuilder};

use super::super::address::Kind;

/// How long one attempt to connect may take, unless the URL says.
const CONNECT: Duration = Duration::from_secs(5);

/// The URLs of MariaDB.
pub(super) const KIND: Kind = Kind {
    name: "MariaDB",
    url: "mysql://USER:PASSWORD@HOST:PORT/DATABASE",
    place: |url| Server::parse(url).map(|server| server.name),
};

/// A server, and how it is called in errors.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) options: Opts,
    pub(super) name: String,
}

impl Server {
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = url.replacen("mariadb://", "mysql://", 1);
        let options = Opts::from_url(&url).ok()?;
        let database = options.get_db_name().filter(|name| !name.is_empty())?;
        let (host, port) = (options.get_ip_or_hostname(), options.get_tcp_port());
        let name =
            format!("MariaDB at {host}:{port}/{database} (user {})", options.get_user().unwrap_or_default());
        let connect = options.get_tcp_connect_timeout().unwrap_or(CONNECT);
        // A socket beside the address would be another server than the one that was named.
        let options = OptsBuilder::from_opts(options).prefer_socket(false).tcp_connect_timeout(Some(connect));
        Some(Server { options: options.into(), name })
    }

    /// What a client needs to know that waits so long for an answer.
    pub(super) fn patient(&self, patience: Duration) -> Opts {
        let patience = patience.max(Duration::from_millis(100));
        let connect = self.options.get_tcp_connect_timeout().unwrap_or(CONNECT).min(patience);
        OptsBuilder::from_opts(self.options.clone())
            .read_timeout(Some(patience))
            .write_timeout(Some(patience))
            .tcp_connect_timeout(Some(connect))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::address::Address;
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "mysql://me:sesame@db.example:7000/shop",
            "mariadb://me:sesame@db.example:7000/shop",
            "mysql://me:sesame@db.example:7000",
            "mysql://me:sesame@db.example/shop?bogus=sesame",
            "mysql://me:ses@me:sesame@h:p/shop",
            "postgres://me:sesame@db.example/shop",
            "sesame",
        ] {
            let address = Address::url(&KIND, url.to_owned());
            let shown = match address.read(Server::parse) {
                Ok(server) => format!("{address:?} {}", server.name),
                Err(error) => format!("{address:?} {error} {error:?}"),
            };
            assert!(!shown.contains("sesame"), "{shown}");
        }
        let url = "mariadb://me:se%40same@db.example:7000/shop".to_owned();
        let server = Address::url(&KIND, url).read(Server::parse).unwrap();
        assert_eq!(server.name, "MariaDB at db.example:7000/shop (user me)");
        assert_eq!(server.options.get_pass(), Some("se@same"));
        let unset = Address::variable(&KIND, "HEADWATER_TEST_UNSET".to_owned());
        assert_eq!(format!("{unset:?}"), "$HEADWATER_TEST_UNSET");
        let error = unset.read(Server::parse).err().unwrap().to_string();
        assert!(error.contains("export HEADWATER_TEST_UNSET=mysql://USER"), "{error}");
    }
}
