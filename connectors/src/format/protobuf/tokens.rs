//! The words, numbers and signs of `.proto` text.

use headwater::{Error, Result};

/// Largest text.
const TEXT_BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name, with its dots.
    Word(String),
    /// A number, as it stands there.
    Number(String),
    /// A text in quotes, without them.
    Text(String),
    Sign(char),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Token::Word(text) | Token::Number(text) => format!("`{text}`"),
            Token::Text(text) => format!("\"{text}\""),
            Token::Sign(sign) => format!("`{sign}`"),
        }
    }
}

/// What is left of a text, token by token.
#[derive(Debug)]
pub(super) struct Tokens {
    /// With their lines.
    tokens: Vec<(Token, usize)>,
    at: usize,
}

pub(super) fn wrong(what: impl std::fmt::Display) -> Error {
    Error::Config(format!("this is no schema of Protobuf: {what}"))
}

impl Tokens {
    /// # Errors
    /// The text is too long, or ends inside a comment or quotes.
    pub(super) fn of(text: &str) -> Result<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(wrong(format_args!("it is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let (mut tokens, mut line) = (Vec::new(), 1);
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (token, length) = if rest.starts_with("//") {
                (None, rest.find('\n').unwrap_or(rest.len()))
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| at_line(line, "a comment does not end"))?;
                (None, end + 2)
            } else if first.is_whitespace() {
                (None, first.len_utf8())
            } else if first == '"' || first == '\'' {
                let end = quoted_end(rest, first).ok_or_else(|| at_line(line, "a text does not end"))?;
                (Some(Token::Text(rest[1..end - 1].to_owned())), end)
            } else if first.is_ascii_digit() {
                let end = word_end(rest);
                (Some(Token::Number(rest[..end].to_owned())), end)
            } else if first.is_ascii_alphabetic() || first == '_' || first == '.' {
                let end = word_end(rest);
                (Some(Token::Word(rest[..end].to_owned())), end)
            } else {
                (Some(Token::Sign(first)), first.len_utf8())
            };
            tokens.extend(token.map(|token| (token, line)));
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
        }
        Ok(Tokens { tokens, at: 0 })
    }

    fn line(&self) -> usize {
        let at = self.at.min(self.tokens.len().saturating_sub(1));
        self.tokens.get(at).map_or(1, |(_, line)| *line)
    }

    /// An error at the next token.
    #[cold]
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        at_line(self.line(), what)
    }

    #[cold]
    fn expected(&self, what: &str) -> Error {
        let found = self.peek().map_or("the end".to_owned(), Token::shown);
        self.wrong(format_args!("{what} is expected, not {found}"))
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    /// Whether a sign stands behind the next token.
    pub(super) fn is_second(&self, sign: char) -> bool {
        matches!(self.tokens.get(self.at + 1), Some((Token::Sign(found), _)) if *found == sign)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).map(|(token, _)| token.clone());
        self.at += usize::from(token.is_some());
        token
    }

    /// Goes behind a sign, if it is next.
    pub(super) fn take(&mut self, sign: char) -> bool {
        let is_next = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is_next = self.is_word(word);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn need(&mut self, sign: char) -> Result<()> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    pub(super) fn word(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.expected("a text in quotes")),
        }
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        let is_negative = self.take('-');
        let parsed = match self.peek() {
            Some(Token::Number(text)) => integer(text),
            _ => None,
        };
        let number = parsed.ok_or_else(|| self.expected("a number"))?;
        self.at += 1;
        Ok(if is_negative { -number } else { number })
    }

    /// Goes behind the end of a statement that does not matter: a semicolon, or a block.
    pub(super) fn pass_statement(&mut self) -> Result<()> {
        let mut depth = 0_usize;
        loop {
            match self.next() {
                None => return Err(self.expected("`;` or `}`")),
                Some(Token::Sign(';')) if depth == 0 => return Ok(()),
                Some(Token::Sign('{')) => depth += 1,
                Some(Token::Sign('}')) => {
                    depth = depth.checked_sub(1).ok_or_else(|| self.expected("`;`"))?;
                    // A value in braces may be followed by a semicolon, a block need not.
                    if depth == 0 && self.peek() != Some(&Token::Sign(';')) {
                        return Ok(());
                    }
                }
                Some(_) => {}
            }
        }
    }
}

fn at_line(line: usize, what: impl std::fmt::Display) -> Error {
    wrong(format_args!("line {line}: {what}"))
}

fn word_end(text: &str) -> usize {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    end.unwrap_or(text.len())
}

/// Position behind the closing quote.
fn quoted_end(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' => return None,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn integer(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    if let Some(digits) = lower.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok();
    }
    match lower.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => i64::from_str_radix(digits, 8).ok(),
        _ => lower.parse().ok(),
    }
}
