//! Text formats: JSON and CSV, read into and written from records without an allocation per record.
//!
//! 1. `json`, `csv`: the decoders, one record of text at a time
//! 2. `encode`: the encoders, appending to a buffer
//! 3. `kind`: which format a file name promises
//! 4. `payload`: records that come one by one, in any format
//! 5. `number`, `scan`: what the decoders share

mod csv;
mod encode;
mod json;
mod kind;
mod number;
mod payload;
mod scan;

pub use self::csv::{CsvColumns, decode_csv_row};
pub(crate) use self::csv::{RecordEnd, decode_row, record_end};
pub use self::encode::{CsvEncoder, JsonEncoder, encode_csv_header, encode_csv_row, encode_json_line};
pub(crate) use self::json::decode_json_ahead;
pub use self::json::{JsonKeys, decode_json_line};
pub use self::kind::InputFormat;
pub(crate) use self::payload::{PayloadDecoder, PayloadFormat};
