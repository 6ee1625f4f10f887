//! Protocol Buffers: any record type, both ways, straight from and into its views.
//!
//! 1. `schema`: [`ProtobufSchema`]; `tokens` and `parse` read `.proto` text, `generate` writes that of a record
//!    type
//! 2. `plan`: which field of a message is which of a record type
//! 3. `decode`: [`ProtobufReader`]; `encode`: [`ProtobufWriter`]
//! 4. `messages`: [`ProtobufSchemas`], for records that come one by one

mod decode;
mod encode;
mod generate;
mod messages;
mod parse;
mod plan;
mod schema;
mod tokens;

pub use self::decode::ProtobufReader;
pub use self::encode::ProtobufWriter;
pub use self::messages::ProtobufSchemas;
pub use self::schema::ProtobufSchema;
