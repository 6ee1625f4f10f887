//! Formats: JSON, CSV, Avro and Protobuf, read into and written from records without an allocation per record.
//!
//! 1. `json`, `csv`: the decoders, one record of text at a time
//! 2. `encode`: the encoders of both, appending to a buffer
//! 3. `avro`, `protobuf`: binary encodings with a schema, both ways
//! 4. `schemas`: where those come from, for records that come one by one
//! 5. `kind`: which format a file name promises
//! 6. `payload`: records that come one by one, in any format
//! 7. `number`, `scan`, `varint`: what the decoders share

#[cfg(feature = "avro")]
mod avro;
mod csv;
mod encode;
mod json;
mod kind;
mod number;
mod payload;
#[cfg(feature = "protobuf")]
mod protobuf;
mod scan;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod schemas;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod varint;

#[cfg(feature = "avro")]
pub use self::avro::{AvroReader, AvroSchema, AvroSchemas, AvroWriter};
#[cfg(feature = "postgres")]
pub(crate) use self::csv::value as cell_value;
pub use self::csv::{CsvColumns, decode_csv_row};
pub(crate) use self::csv::{RecordEnd, decode_row, record_end};
pub use self::encode::{CsvEncoder, JsonEncoder, encode_csv_header, encode_csv_row, encode_json_line};
#[cfg(feature = "postgres")]
pub(crate) use self::json::JsonDecoder;
pub(crate) use self::json::decode_json_ahead;
pub use self::json::{JsonKeys, decode_json_line};
pub use self::kind::InputFormat;
pub(crate) use self::payload::{PayloadDecoder, PayloadFormat};
#[cfg_attr(
    not(feature = "kafka"),
    allow(unused_imports, reason = "only sinks of messages write payloads")
)]
pub(crate) use self::payload::{PayloadEncoder, PayloadEncoding};
#[cfg(feature = "protobuf")]
pub use self::protobuf::{ProtobufReader, ProtobufSchema, ProtobufSchemas, ProtobufWriter};
