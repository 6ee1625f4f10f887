//! Databases: sinks that write the rows of an epoch and a token of it in one transaction, and a source.
//!
//! 1. `options`: what the sinks share for their users
//! 2. `cells`, `staged`: the rows of an epoch as the log keeps them until they are shown
//! 3. `token`: which epoch is shown, and who may show the next
//! 4. `statement`: SQL, with names quoted
//! 5. `writer`: the two phases, over what a database can do
//! 6. `postgres`, `mariadb`, `sqlite`: that
//! 7. `address`, `failure`, `calendar`: what servers and their clients share
//!
//! # Why each row is there once
//!
//! The log of the job keeps the rows of an epoch until `commit` has returned. `commit` is one transaction: it
//! locks the token of the subtask that wrote the rows, sees whose it is and which epoch it names, writes the
//! rows, moves the token on to the epoch, and commits. So rows and token are there together or not at all:
//!
//! - **The process ends before the commit.** The next run gives the rows again, the token names an older epoch,
//!   and they are written.
//! - **It ends behind the commit.** The next run gives them again, and the token says that they are there.
//! - **The connection breaks at the commit, and nobody knows.** The same writer connects again and does all of
//!   it again. The lock on the token makes it wait for what the old connection may still be doing.
//! - **An older run wakes up (a zombie).** Opening a writer takes a new generation of its tokens; the zombie
//!   reads another generation than its own, writes nothing and fails. It may hold the lock at that moment: then
//!   its epoch is one that the log had before the new run began, because a log has one run at a time; the
//!   new run waits, has the same rows from the log, and finds the token further. Whoever is first, the rows of
//!   an epoch are the same, because both have them from the same log.
//! - **Two runs that do not share a log** (a copied directory, a name that two jobs use): the newer takes the
//!   tokens, the older fails. If the newer goes on behind an older epoch than the table shows, or begins anew,
//!   it is refused before it writes anything: its epochs would be others under the same numbers.
//! - **Another number of subtasks.** Rows carry the number of the subtask that wrote them, and go by the token
//!   of that number. A subtask takes the token of each number that is its own modulo the number of subtasks, as
//!   the engine hands out what an earlier run has left. So each token has one owner.
//!
//! A database that loses what it has committed (an asynchronous replica that is promoted, `fsync = off`) loses
//! rows and token together; the log may have forgotten the rows by then.

#[cfg(any(feature = "mariadb", feature = "postgres"))]
mod address;
#[cfg(any(feature = "mariadb", feature = "postgres"))]
mod calendar;
mod cells;
#[cfg(any(feature = "mariadb", feature = "postgres"))]
mod failure;
#[cfg(feature = "mariadb")]
mod mariadb;
mod options;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod staged;
mod statement;
mod token;
mod writer;

#[cfg(feature = "mariadb")]
pub use self::mariadb::MariaDbSink;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresPosition, PostgresSink, PostgresSource};
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteSink;
