//! Sources and sinks for [`headwater`] topologies.

pub mod format;
