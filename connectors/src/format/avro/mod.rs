//! Apache Avro's binary encoding: any record type, both ways, straight from and into its views.
//!
//! 1. `schema`: [`AvroSchema`], parsed from JSON; `generate`: of a record type
//! 2. `resolve`: how what was written becomes a record; `decode`: [`AvroReader`], which does it
//! 3. `fill`: how a record is written as a schema wants it; `encode`: [`AvroWriter`], which does it
//! 4. `decimal`: integers of any length
//! 5. `messages`: [`AvroSchemas`], for records that come one by one

mod decimal;
mod decode;
mod encode;
mod fill;
mod generate;
mod messages;
mod resolve;
mod schema;

pub use self::decode::AvroReader;
pub use self::encode::AvroWriter;
pub use self::messages::AvroSchemas;
pub use self::schema::AvroSchema;
