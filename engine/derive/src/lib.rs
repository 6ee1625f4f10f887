//! `#[derive(Record)]`: everything that a user type needs to travel through a topology.

mod record;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct with named fields a record of the `headwater` engine.
///
/// For `struct Bid` it writes `BidView<'a>`, the borrowed form that closures see, an associated constant
/// per field (`Bid::CHANNEL`) for `key_by_field`, and `impl Record for Bid`. Generated code is free of
/// `unsafe` and names no other crate than `headwater`. A struct with type parameters is a record wherever
/// they are; it has no constants.
///
/// Attributes: `#[record(key)]` on the struct makes it usable as a key (it must be `Clone + Eq`);
/// `#[record(rename = "name")]` on a field sets its name in CSV, JSON and tables.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    record::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
