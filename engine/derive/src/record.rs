//! The expansion of `#[derive(Record)]`: a record is stored as the (nested) tuple of its fields.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, GenericParam, LitStr, Result, Type};

/// Widest tuple that the engine implements `Record` for; more fields nest.
const TUPLE_MAX: usize = 12;

struct Field<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    name: String,
}

struct Options {
    key: bool,
}

/// The type parameters of a struct, each of which must be a record.
struct Parameters {
    /// `K, V`
    names: Vec<Ident>,
    /// `K: Record, V: Record`
    bounded: TokenStream,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = fields(input)?;
    let options = options(input)?;
    let parameters = parameters(input, &options)?;
    let view = view(input, &fields, &parameters);
    let record = record(input, &fields, &parameters);
    if !parameters.names.is_empty() {
        return Ok(quote! { #view #record });
    }
    let constants = constants(input, &fields);
    let key = if options.key { key(input, &fields) } else { TokenStream::new() };
    Ok(quote! { #view #record #constants #key })
}

fn parameters(input: &DeriveInput, options: &Options) -> Result<Parameters> {
    let refused = |why: &str| Err(Error::new_spanned(&input.generics, why));
    if input.generics.where_clause.is_some() {
        return refused("`Record` takes bounds where a type parameter is named, not behind `where`");
    }
    if options.key && !input.generics.params.is_empty() {
        return refused("a generic struct cannot be a key; write one struct per type");
    }
    let mut names = Vec::new();
    let mut bounds = Vec::new();
    for parameter in &input.generics.params {
        let GenericParam::Type(parameter) = parameter else {
            return refused(
                "`Record` can be derived for a struct with type parameters only: a record owns what it holds, and \
                 its columns do not depend on a number",
            );
        };
        names.push(parameter.ident.clone());
        let (name, own) = (&parameter.ident, parameter.bounds.iter());
        bounds.push(quote!(#name: ::headwater::batch::Record #(+ #own)*));
    }
    Ok(Parameters { names, bounded: quote!(#(#bounds),*) })
}

fn fields(input: &DeriveInput) -> Result<Vec<Field<'_>>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "`Record` can be derived for a struct with named fields only; for one of two types use \
             `headwater::batch::Either`, for a choice of values store an integer or a `String`",
        ));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new_spanned(
            &input.ident,
            "`Record` needs named fields, because they become columns; write `struct Name { field: Type }`, \
             or use a plain tuple, which is a record already",
        ));
    };
    if named.named.is_empty() || named.named.len() > TUPLE_MAX * TUPLE_MAX {
        return Err(Error::new_spanned(&input.ident, "`Record` needs 1 to 144 fields"));
    }
    named
        .named
        .iter()
        .map(|field| {
            let ident =
                field.ident.as_ref().ok_or_else(|| Error::new_spanned(field, "a field without a name"))?;
            let mut name = ident.to_string().trim_start_matches("r#").to_owned();
            for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("record")) {
                attribute.parse_nested_meta(|meta| {
                    if meta.path.is_ident("rename") {
                        name = meta.value()?.parse::<LitStr>()?.value();
                        Ok(())
                    } else {
                        Err(meta.error("unknown field attribute; known: `rename = \"name\"`"))
                    }
                })?;
            }
            Ok(Field { ident, ty: &field.ty, name })
        })
        .collect()
}

fn options(input: &DeriveInput) -> Result<Options> {
    let mut options = Options { key: false };
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("key") {
                options.key = true;
                Ok(())
            } else {
                Err(meta.error("unknown attribute; known: `key`"))
            }
        })?;
    }
    Ok(options)
}

fn view_ident(input: &DeriveInput) -> Ident {
    format_ident!("{}View", input.ident)
}

/// The struct `NAMEView<'a>`.
fn view(input: &DeriveInput, fields: &[Field<'_>], parameters: &Parameters) -> TokenStream {
    let (visibility, name, view) = (&input.vis, &input.ident, view_ident(input));
    let doc = format!("The borrowed view of a [`{name}`]: what closures over a stream of it see.");
    let borrows = fields.iter().any(|field| plain_view(field.ty).is_none_or(|(_, borrows)| borrows));
    let members = fields.iter().enumerate().map(|(index, field)| {
        let (ident, ty) = (field.ident, field.ty);
        // At least one field must use the lifetime.
        let view = match plain_view(ty) {
            Some((view, _)) if borrows || index > 0 => view,
            _ => quote!(<#ty as ::headwater::batch::Record>::View<'a>),
        };
        let doc = format!("See [`{name}::{ident}`].");
        quote!(#[doc = #doc] pub #ident: #view)
    });
    let Parameters { names, bounded } = parameters;
    if names.is_empty() {
        return quote! {
            #[doc = #doc]
            #[derive(Clone, Copy, Debug, PartialEq)]
            #visibility struct #view<'a> { #(#members),* }
        };
    }
    // The bounds that `derive` would write are those of the parameters, not of their views.
    let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
    let texts: Vec<_> = fields.iter().map(|field| field.ident.to_string()).collect();
    let views = fields.iter().map(|field| {
        let ty = field.ty;
        quote!(<#ty as ::headwater::batch::Record>::View<'a>)
    });
    let views: Vec<_> = views.collect();
    let view_name = view.to_string();
    quote! {
        #[doc = #doc]
        #visibility struct #view<'a, #bounded> { #(#members),* }

        impl<#bounded> ::std::clone::Clone for #view<'_, #(#names),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<#bounded> ::std::marker::Copy for #view<'_, #(#names),*> {}

        impl<'a, #bounded> ::std::fmt::Debug for #view<'a, #(#names),*>
        where
            #(#views: ::std::fmt::Debug),*
        {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(#view_name)#(.field(#texts, &self.#idents))*.finish()
            }
        }

        impl<'a, #bounded> ::std::cmp::PartialEq for #view<'a, #(#names),*>
        where
            #(#views: ::std::cmp::PartialEq),*
        {
            fn eq(&self, other: &Self) -> bool {
                true #(&& self.#idents == other.#idents)*
            }
        }
    }
}

/// The view of a type that can be recognised by its name, for readable documentation.
fn plain_view(ty: &Type) -> Option<(TokenStream, bool)> {
    let Type::Path(path) = ty else { return None };
    let ident = path.path.get_ident()?;
    match ident.to_string().as_str() {
        "u8" | "u16" | "u32" | "u64" | "u128" | "i8" | "i16" | "i32" | "i64" | "i128" | "f32" | "f64"
        | "bool" => Some((quote!(#ident), false)),
        "String" => Some((quote!(&'a str), true)),
        _ => None,
    }
}

/// Items grouped as the nested tuple groups them.
fn nest(items: impl Iterator<Item = TokenStream>) -> TokenStream {
    let items: Vec<_> = items.collect();
    if items.len() <= TUPLE_MAX {
        return quote!((#(#items,)*));
    }
    let groups = items.chunks(TUPLE_MAX).map(|group| quote!((#(#group,)*)));
    quote!((#(#groups,)*))
}

fn record(input: &DeriveInput, fields: &[Field<'_>], parameters: &Parameters) -> TokenStream {
    let (name, view) = (&input.ident, view_ident(input));
    let name_text = name.to_string();
    let tuple = nest(fields.iter().map(|field| {
        let ty = field.ty;
        quote!(#ty)
    }));
    let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
    let types: Vec<_> = fields.iter().map(|field| field.ty).collect();
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let decode = decode(input, fields, parameters);
    let Parameters { names: parameters, bounded } = parameters;
    let from_view = nest(idents.iter().map(|ident| quote!(view.#ident)));
    let pattern = nest(idents.iter().map(|ident| quote!(#ident)));
    quote! {
        impl<#bounded> ::headwater::batch::Record for #name<#(#parameters),*> {
            type View<'a> = #view<'a, #(#parameters),*>;
            type Archived = <#tuple as ::headwater::batch::Record>::Archived;
            type Resolver = <#tuple as ::headwater::batch::Record>::Resolver;
            const DENSE: bool = <#tuple as ::headwater::batch::Record>::DENSE;
            const WIDTH: usize = <#tuple as ::headwater::batch::Record>::WIDTH;

            #[inline(always)]
            fn view(&self) -> Self::View<'_> {
                #view { #(#idents: <#types as ::headwater::batch::Record>::view(&self.#idents)),* }
            }

            #[inline]
            fn from_view(view: Self::View<'_>) -> Self {
                Self { #(#idents: <#types as ::headwater::batch::Record>::from_view(view.#idents)),* }
            }

            fn schema() -> ::headwater::batch::Schema {
                ::headwater::batch::Schema::record(
                    #name_text,
                    ::std::vec![#((#names, <#types as ::headwater::batch::Record>::schema())),*],
                )
            }

            #[inline(always)]
            fn archived_view(archived: &Self::Archived) -> Self::View<'_> {
                let #pattern = <#tuple as ::headwater::batch::Record>::archived_view(archived);
                #view { #(#idents),* }
            }

            #[inline(always)]
            fn serialize(
                view: Self::View<'_>,
                heap: &mut ::headwater::batch::Heap,
            ) -> ::std::result::Result<Self::Resolver, ::headwater::__private::RkyvError> {
                <#tuple as ::headwater::batch::Record>::serialize(#from_view, heap)
            }

            #[inline(always)]
            fn resolve(
                view: Self::View<'_>,
                resolver: Self::Resolver,
                out: ::headwater::__private::Place<Self::Archived>,
            ) {
                <#tuple as ::headwater::batch::Record>::resolve(#from_view, resolver, out)
            }

            #decode

            #[inline]
            fn encode<E: ::headwater::batch::Encoder>(view: Self::View<'_>, encoder: &mut E) {
                encoder.begin_record();
                #(
                    encoder.field(#names);
                    <#types as ::headwater::batch::Record>::encode(view.#idents, encoder);
                )*
                encoder.end_record();
            }
        }
    }
}

/// Reads the fields in whatever order the text has them.
fn decode(input: &DeriveInput, fields: &[Field<'_>], parameters: &Parameters) -> TokenStream {
    let (view, parameters) = (view_ident(input), &parameters.names);
    let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
    let types: Vec<_> = fields.iter().map(|field| field.ty).collect();
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let indexes: Vec<_> = (0..fields.len()).collect();
    quote! {
        #[inline]
        fn decode<'a, D: ::headwater::batch::Decoder<'a>>(
            decoder: &mut D,
        ) -> ::std::result::Result<#view<'a, #(#parameters),*>, ::headwater::batch::DecodeError> {
            const NAMES: &[&str] = &[#(#names),*];
            #(let mut #idents = ::std::option::Option::None;)*
            decoder.begin_record(NAMES)?;
            while let ::std::option::Option::Some(field) = decoder.next_field(NAMES)? {
                match field {
                    #(#indexes => {
                        #idents = ::std::option::Option::Some(
                            <#types as ::headwater::batch::Record>::decode(decoder)
                                .map_err(|error| error.at(#names))?,
                        );
                    })*
                    _ => decoder.skip()?,
                }
            }
            ::std::result::Result::Ok(#view {
                #(#idents: match #idents {
                    ::std::option::Option::Some(value) => value,
                    ::std::option::Option::None => {
                        <#types as ::headwater::batch::Record>::absent(#names)?
                    }
                }),*
            })
        }
    }
}

/// `Bid::CHANNEL`: a field as a value, for keys that borrow.
fn constants(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let (visibility, name) = (&input.vis, &input.ident);
    let constants = fields.iter().map(|field| {
        let (ident, ty, field_name) = (field.ident, field.ty, &field.name);
        let constant = format_ident!("{}", ident.to_string().trim_start_matches("r#").to_uppercase());
        let doc = format!("The field `{field_name}`, for `key_by_field`.");
        quote! {
            #[doc = #doc]
            #[allow(dead_code)]
            #visibility const #constant: ::headwater::batch::Field<#name, #ty> = {
                fn column<'a>(
                    batch: &'a ::headwater::batch::Batch<#name>,
                ) -> ::std::vec::Vec<<#ty as ::headwater::batch::Record>::View<'a>> {
                    batch.column(|view| view.#ident)
                }
                ::headwater::batch::Field::<#name, #ty>::new(#field_name, column)
            };
        }
    });
    quote!(impl #name { #(#constants)* })
}

fn key(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let (name, view) = (&input.ident, view_ident(input));
    let count = fields.len() as u64;
    let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
    let types: Vec<_> = fields.iter().map(|field| field.ty).collect();
    let indexes: Vec<_> = (0..fields.len()).map(syn::Index::from).collect();
    quote! {
        impl ::headwater::batch::Key for #name {
            type Stored = (#(<#types as ::headwater::batch::Key>::Stored,)*);

            #[inline]
            fn store(view: #view<'_>) -> Self::Stored {
                (#(<#types as ::headwater::batch::Key>::store(view.#idents),)*)
            }

            #[inline]
            fn stored_view(stored: &Self::Stored) -> #view<'_> {
                #view { #(#idents: <#types as ::headwater::batch::Key>::stored_view(&stored.#indexes)),* }
            }

            #[inline]
            fn stored_heap_bytes(stored: &Self::Stored) -> usize {
                0 #(+ <#types as ::headwater::batch::Key>::stored_heap_bytes(&stored.#indexes))*
            }

            #[inline]
            fn stored_matches(stored: &Self::Stored, view: #view<'_>) -> bool {
                true #(&& <#types as ::headwater::batch::Key>::stored_matches(&stored.#indexes, view.#idents))*
            }

            #[inline]
            fn hash(view: #view<'_>) -> ::headwater::batch::KeyHash {
                let hash = #count;
                #(let hash = ::headwater::batch::hash_combine(
                    hash,
                    <#types as ::headwater::batch::Key>::hash(view.#idents),
                );)*
                hash
            }

            #[inline]
            fn matches(&self, view: #view<'_>) -> bool {
                true #(&& <#types as ::headwater::batch::Key>::matches(&self.#idents, view.#idents))*
            }

            fn write_bytes(view: #view<'_>, out: &mut ::std::vec::Vec<u8>) {
                #(<#types as ::headwater::batch::Key>::write_bytes(view.#idents, out);)*
            }
        }
    }
}
