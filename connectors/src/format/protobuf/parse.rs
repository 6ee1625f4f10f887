//! `.proto` text to messages and their fields, with names in place of the types they refer to.

use headwater::Result;

use super::tokens::{Token, Tokens, wrong};

/// How deep messages may stand in messages, and how many types there may be.
const DEPTH_MAX: usize = 64;
const TYPES_MAX: usize = 50_000;

/// Largest number of a field.
const NUMBER_MAX: i64 = (1 << 29) - 1;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) imports: Vec<String>,
    pub(super) messages: Vec<ParsedMessage>,
    pub(super) enums: Vec<ParsedEnum>,
}

#[derive(Debug)]
pub(super) struct ParsedMessage {
    /// With its package and the messages around it.
    pub(super) name: String,
    pub(super) fields: Vec<ParsedField>,
    /// Where it stands among its siblings, behind the same of those around it.
    pub(super) indexes: Vec<u32>,
    pub(super) is_entry: bool,
}

#[derive(Debug)]
pub(super) struct ParsedField {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) type_name: String,
    pub(super) shape: Shape,
}

/// How often a field is there, and whether that it is not can be told from its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One that is not there has its default.
    Plain,
    Optional,
    /// One of a `oneof`, with its number in the message.
    One(u32),
    /// Many, and whether scalars are packed.
    Many(bool),
}

#[derive(Debug)]
pub(super) struct ParsedEnum {
    pub(super) name: String,
    pub(super) values: Vec<(String, i32)>,
}

/// # Errors
/// The text is no `.proto` file, or has what is not supported.
pub(super) fn parse(text: &str) -> Result<Parsed> {
    let tokens = Tokens::of(text)?;
    let mut parser = Parser { tokens, parsed: Parsed::default(), is_proto3: false, top: 0 };
    parser.file()?;
    Ok(parser.parsed)
}

struct Parser {
    tokens: Tokens,
    parsed: Parsed,
    is_proto3: bool,
    /// Messages on the top level so far.
    top: u32,
}

fn joined(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

impl Parser {
    fn file(&mut self) -> Result<()> {
        let mut package = String::new();
        while let Some(token) = self.tokens.peek().cloned() {
            match &token {
                Token::Sign(';') => drop(self.tokens.next()),
                Token::Word(word) => match word.as_str() {
                    "syntax" => self.syntax()?,
                    "edition" => {
                        return Err(self.tokens.wrong("editions are not supported, proto2 and proto3 are"));
                    }
                    "package" => {
                        self.tokens.next();
                        package = self.tokens.word("a package")?;
                        self.tokens.need(';')?;
                    }
                    "import" => self.import()?,
                    "message" => {
                        self.top += 1;
                        self.message(&package, vec![self.top - 1])?;
                    }
                    "enum" => self.enumeration(&package)?,
                    "option" | "service" | "extend" => self.tokens.pass_statement()?,
                    other => return Err(self.tokens.wrong(format_args!("`{other}` is not known"))),
                },
                _ => return Err(self.tokens.wrong("a statement is expected")),
            }
        }
        Ok(())
    }

    fn syntax(&mut self) -> Result<()> {
        self.tokens.next();
        self.tokens.need('=')?;
        match self.tokens.text()?.as_str() {
            "proto3" => self.is_proto3 = true,
            "proto2" => {}
            other => return Err(self.tokens.wrong(format_args!("the syntax {other} is not known"))),
        }
        self.tokens.need(';')
    }

    fn import(&mut self) -> Result<()> {
        self.tokens.next();
        if let Some(Token::Word(_)) = self.tokens.peek() {
            self.tokens.next();
        }
        let path = self.tokens.text()?;
        self.parsed.imports.push(path);
        self.tokens.need(';')
    }

    fn count(&self) -> Result<()> {
        if self.parsed.messages.len() + self.parsed.enums.len() >= TYPES_MAX {
            return Err(wrong(format_args!("it has more than {TYPES_MAX} types")));
        }
        Ok(())
    }

    fn message(&mut self, scope: &str, indexes: Vec<u32>) -> Result<()> {
        self.count()?;
        if indexes.len() > DEPTH_MAX {
            return Err(self.tokens.wrong(format_args!("messages are nested deeper than {DEPTH_MAX}")));
        }
        self.tokens.next();
        let name = joined(scope, &self.tokens.word("the name of a message")?);
        self.tokens.need('{')?;
        // Its place before those inside of it.
        let at = self.parsed.messages.len();
        let message = ParsedMessage {
            name: name.clone(),
            fields: Vec::new(),
            indexes: indexes.clone(),
            is_entry: false,
        };
        self.parsed.messages.push(message);
        let (mut fields, mut inner, mut oneofs) = (Vec::new(), 0, 0);
        while !self.tokens.take('}') {
            let Some(Token::Word(word)) = self.tokens.peek().cloned() else {
                if self.tokens.take(';') {
                    continue;
                }
                return Err(self.tokens.wrong("a field is expected"));
            };
            match word.as_str() {
                "message" => {
                    let indexes = indexes.iter().copied().chain([inner]).collect();
                    inner += 1;
                    self.message(&name, indexes)?;
                }
                "enum" => self.enumeration(&name)?,
                "option" | "reserved" | "extensions" | "extend" => self.tokens.pass_statement()?,
                "oneof" => {
                    self.oneof(oneofs, &name, &mut fields)?;
                    oneofs += 1;
                }
                _ => {
                    let field = self.field(&name, None)?;
                    fields.push(field);
                }
            }
        }
        check_fields(&name, &fields)?;
        self.parsed.messages[at].fields = fields;
        Ok(())
    }

    fn oneof(&mut self, number: u32, message: &str, fields: &mut Vec<ParsedField>) -> Result<()> {
        self.tokens.next();
        self.tokens.word("the name of a oneof")?;
        self.tokens.need('{')?;
        while !self.tokens.take('}') {
            if self.tokens.is_word("option") {
                self.tokens.pass_statement()?;
            } else if !self.tokens.take(';') {
                fields.push(self.field(message, Some(number))?);
            }
        }
        Ok(())
    }

    fn field(&mut self, message: &str, oneof: Option<u32>) -> Result<ParsedField> {
        let is_many = self.tokens.take_word("repeated");
        let is_optional =
            !is_many && (self.tokens.take_word("optional") || self.tokens.take_word("required"));
        let mut type_name = self.tokens.word("the type of a field")?;
        if type_name == "group" {
            return Err(self.tokens.wrong("groups are not supported"));
        }
        let entry = if type_name == "map" && self.tokens.take('<') {
            let key = self.tokens.word("the type of a key")?;
            self.tokens.need(',')?;
            let value = self.tokens.word("the type of a value")?;
            self.tokens.need('>')?;
            Some((key, value))
        } else {
            None
        };
        let name = self.tokens.word("the name of a field")?;
        self.tokens.need('=')?;
        let number = self.tokens.number()?;
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(self.tokens.wrong(format_args!("`{message}.{name}` has the number {number}")));
        }
        let packed = self.options(message, &name)?;
        let is_map = entry.is_some();
        if let Some((key, value)) = entry {
            type_name = self.entry(message, &name, key, value)?;
        }
        let shape = match oneof {
            Some(number) => Shape::One(number),
            None if is_many || is_map => Shape::Many(packed.unwrap_or(self.is_proto3)),
            None if is_optional || !self.is_proto3 => Shape::Optional,
            None => Shape::Plain,
        };
        Ok(ParsedField { name, number: number as u32, type_name, shape })
    }

    /// A map is a list of messages with a key and a value.
    fn entry(&mut self, message: &str, field: &str, key: String, value: String) -> Result<String> {
        self.count()?;
        // No name that anybody can write.
        let name = format!("{message}.{field} entry");
        let part = |name: &str, number, type_name| ParsedField {
            name: name.to_owned(),
            number,
            type_name,
            shape: Shape::Plain,
        };
        self.parsed.messages.push(ParsedMessage {
            name: name.clone(),
            fields: vec![part("key", 1, key), part("value", 2, value)],
            indexes: Vec::new(),
            is_entry: true,
        });
        Ok(format!(".{name}"))
    }

    /// The options of a field up to its semicolon: whether it is packed, if they say so.
    fn options(&mut self, message: &str, field: &str) -> Result<Option<bool>> {
        let mut packed = None;
        if self.tokens.take('[') {
            let mut depth = 1_usize;
            while depth > 0 {
                if self.tokens.is_word("packed") && self.tokens.is_second('=') {
                    self.tokens.next();
                    self.tokens.next();
                    packed = Some(self.tokens.is_word("true"));
                } else if depth == 1 && self.tokens.is_word("default") && self.tokens.is_second('=') {
                    return Err(self.tokens.wrong(format_args!(
                        "`{message}.{field}` has a default of its own, which is not supported"
                    )));
                }
                match self.tokens.next() {
                    Some(Token::Sign('[' | '{')) => depth += 1,
                    Some(Token::Sign(']' | '}')) => depth -= 1,
                    Some(_) => {}
                    None => return Err(self.tokens.wrong("`]` is expected, not the end")),
                }
            }
        }
        self.tokens.need(';')?;
        Ok(packed)
    }

    fn enumeration(&mut self, scope: &str) -> Result<()> {
        self.count()?;
        self.tokens.next();
        let name = joined(scope, &self.tokens.word("the name of an enum")?);
        self.tokens.need('{')?;
        let mut values = Vec::new();
        while !self.tokens.take('}') {
            if self.tokens.take(';') {
                continue;
            }
            let is_statement = self.tokens.is_word("option") || self.tokens.is_word("reserved");
            if is_statement && !self.tokens.is_second('=') {
                self.tokens.pass_statement()?;
                continue;
            }
            let value = self.tokens.word("a value of an enum")?;
            self.tokens.need('=')?;
            let number = self.tokens.number()?;
            let number = i32::try_from(number)
                .map_err(|_| self.tokens.wrong(format_args!("`{name}.{value}` does not fit 32 bits")))?;
            self.options(&name, &value)?;
            values.push((value, number));
        }
        self.parsed.enums.push(ParsedEnum { name, values });
        Ok(())
    }
}

fn check_fields(message: &str, fields: &[ParsedField]) -> Result<()> {
    let (mut names, mut numbers) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    for field in fields {
        if !names.insert(field.name.as_str()) || !numbers.insert(field.number) {
            return Err(wrong(format_args!(
                "the name or the number {} of `{message}.{}` stands there twice",
                field.number, field.name
            )));
        }
    }
    Ok(())
}
