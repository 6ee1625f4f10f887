//! What MariaDB says when something goes wrong: it is gone for now, or it refuses.

use std::error::Error as _;
use std::io::ErrorKind;

use headwater::Error;
use mysql::{DriverError, MySqlError};

use super::super::failure::{self, Refusal, way};

/// Why something was not done.
pub(super) type Failure = failure::Failure<Said>;

/// What the server says, and about which row of an epoch.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) code: u16,
    pub(super) message: String,
    pub(super) row: Option<usize>,
}

/// Errors that pass: connections, locks, transactions that met, administrators.
const PASSING: &[u16] = &[
    1020, // Another transaction has changed the row since this one began.
    1021, // The disk is full.
    1040, 1203, 1226, // Too many connections, or what a user may have of something.
    1053, 1079, 1080, // The server goes down.
    1152, 1158, 1159, 1160, 1161, 1184, // The network.
    1180, // At a commit.
    1205, 1206, 1213, // Locks.
    1290, 1836, // Read-only for now.
    1317, 1927, 4166, // The administrator, or the limit of an idle transaction.
    1969, // The limit of a statement.
];

impl From<mysql::Error> for Failure {
    fn from(error: mysql::Error) -> Self {
        match error {
            mysql::Error::MySqlError(MySqlError { code, message, .. }) if PASSING.contains(&code) => {
                Failure::Lost(format!("{message} (error {code})"))
            }
            mysql::Error::MySqlError(MySqlError { code, message, .. }) => {
                Failure::Refused(Box::new(Said { code, message, row: None }))
            }
            mysql::Error::IoError(error) => of_network(&error),
            mysql::Error::CodecError(error) => {
                match error.source().and_then(|source| source.downcast_ref()) {
                    Some(error) => of_network(error),
                    None => Failure::Failed(Error::failed(format!(
                        "{error}; a row must be smaller than max_allowed_packet of the server: raise that, and run the \
                     job again"
                    ))),
                }
            }
            mysql::Error::DriverError(
                error @ (DriverError::ConnectTimeout
                | DriverError::CouldNotConnect(_)
                | DriverError::Timeout
                | DriverError::PacketOutOfSync
                | DriverError::UnexpectedPacket),
            ) => Failure::Lost(error.to_string()),
            error => Failure::Failed(Error::failed(error)),
        }
    }
}

fn of_network(error: &std::io::Error) -> Failure {
    let is_silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    if is_silent { Failure::Silent } else { Failure::Lost(error.to_string()) }
}

impl Refusal for Said {
    fn describe(&self) -> String {
        format!("{} (error {})", self.message, self.code)
    }

    fn way_out(&self) -> &'static str {
        match self.code {
            1045 | 1130 | 1251 | 1275 => way::USER,
            1049 => way::DATABASE,
            1044 | 1142 | 1143 | 1227 | 1370 => way::GRANT,
            1062 | 1586 => way::UNIQUE,
            1048 | 1364 => way::NULL,
            1264 | 1265 | 1292 | 1366 | 1367 | 1406 | 1416 | 1690 | 3140 => way::VALUE,
            1071 => "make the table yourself, with shorter keys",
            1153 => "raise max_allowed_packet of the server above the size of the row",
            1216 | 1217 | 1451 | 1452 | 1557 | 1644 | 4025 => way::CONSTRAINT,
            _ => way::OTHER,
        }
    }
}
