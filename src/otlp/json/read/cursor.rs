//! JSON's tokens (RFC 8259), read from a text that is known to be UTF-8.

use super::error::{Read, Stop};
use crate::otlp::json::plain::plain;

/// How deeply objects and lists may lie within a value that is not looked at.
const MAX_UNKNOWN_DEPTH: usize = 1000;

/// Where the reading stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

/// A string up to its end, or up to the first escape in it.
pub(super) enum Piece<'a> {
    /// All of it; the cursor stands behind its closing quote.
    Whole(&'a [u8]),
    /// It goes on; the cursor stands at a backslash.
    Escaped(&'a [u8]),
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    #[inline(always)]
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The next byte; 0, which stands nowhere outside of strings, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Goes over a byte that was peeked at.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    /// What has not been read.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes over `expected` if it comes next.
    #[inline(always)]
    pub(super) fn take(&mut self, expected: &[u8]) -> bool {
        let comes = self.rest().starts_with(expected);
        if comes {
            self.at += expected.len();
        }
        comes
    }

    /// Goes over white space; the byte behind it.
    #[inline(always)]
    pub(super) fn space(&mut self) -> u8 {
        match self.peek() {
            byte @ b'!'.. => byte,
            _ => self.long_space(),
        }
    }

    fn long_space(&mut self) -> u8 {
        loop {
            // Indentation is long and of one kind.
            while self.rest().starts_with(b"        ") {
                self.at += 8;
            }
            match self.peek() {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Reads a string, behind its opening quote, up to where something is to be done.
    #[inline(always)]
    pub(super) fn piece(&mut self) -> Read<Piece<'a>> {
        let rest = self.rest();
        let length = plain(rest);
        let piece = rest.get(..length).unwrap_or_default();
        self.at += length;
        match rest.get(length) {
            Some(b'"') => {
                self.at += 1;
                Ok(Piece::Whole(piece))
            }
            Some(b'\\') => Ok(Piece::Escaped(piece)),
            Some(_) => Err(self.stop("is not JSON: a control character in a string")),
            None => Err(self.stop("is not JSON: the text ends within a string")),
        }
    }

    /// Reads an escape: its character, or a surrogate that stands alone.
    pub(super) fn escape(&mut self) -> Read<Result<char, LoneSurrogate>> {
        let place = self.at;
        self.at += 2;
        let simple = match self.text.get(place + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(Stop::text(place, "is not JSON: no such escape in strings")),
        };
        Ok(Ok(simple))
    }

    /// Behind `\u`.
    fn unicode(&mut self) -> Read<Result<char, LoneSurrogate>> {
        let first = self.four_digits()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(Ok(character));
        }
        let mut ahead = *self;
        if first < 0xdc00 && ahead.take(b"\\u") {
            let second = ahead.four_digits()?;
            if let 0xdc00..0xe000 = second {
                *self = ahead;
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).ok_or(LoneSurrogate));
            }
        }
        Ok(Err(LoneSurrogate))
    }

    fn four_digits(&mut self) -> Read<u32> {
        let digits = self.rest().first_chunk::<4>();
        let mut value = 0;
        for digit in digits.into_iter().flatten() {
            let digit = char::from(*digit).to_digit(16);
            value = value << 4 | digit.ok_or_else(|| self.stop(FOUR_DIGITS))?;
        }
        if digits.is_none() {
            return Err(self.stop(FOUR_DIGITS));
        }
        self.at += 4;
        Ok(value)
    }

    /// Goes over a number, and gives its characters.
    pub(super) fn number(&mut self) -> Read<&'a [u8]> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if let b'e' | b'E' = self.peek() {
            self.at += 1;
            if let b'+' | b'-' = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// One digit at least.
    fn digits(&mut self) -> Read {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if start == self.at {
            return Err(self.stop("is not JSON: a number lacks a digit here"));
        }
        Ok(())
    }

    /// Goes over a value of any kind that nobody wants to know.
    pub(super) fn skip(&mut self) -> Read {
        // One bit a level: whether it is a list.
        let mut lists = [0_u64; MAX_UNKNOWN_DEPTH.div_ceil(64)];
        let mut depth = 0;
        loop {
            match self.space() {
                open @ (b'{' | b'[') => {
                    self.open(open, &mut lists, &mut depth)?;
                    if self.space() != open + 2 {
                        if open == b'{' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => self.skip_simple()?,
            }
            if self.close(&lists, &mut depth)? {
                return Ok(());
            }
        }
    }

    fn open(&mut self, open: u8, lists: &mut [u64], depth: &mut usize) -> Read {
        if *depth == MAX_UNKNOWN_DEPTH {
            return Err(self.stop("is nested more than 1000 levels deep"));
        }
        if let Some(bits) = lists.get_mut(*depth / 64) {
            let bit = 1 << (*depth % 64);
            *bits = (*bits & !bit) | (u64::from(open == b'[') * bit);
        }
        *depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Behind a value: goes over all that ends there, and to the next value. Says whether there is
    /// none.
    fn close(&mut self, lists: &[u64], depth: &mut usize) -> Read<bool> {
        while let Some(level) = depth.checked_sub(1) {
            let is_list = lists
                .get(level / 64)
                .is_some_and(|bits| bits >> (level % 64) & 1 == 1);
            match (self.space(), is_list) {
                (b'}', false) | (b']', true) => {
                    self.at += 1;
                    *depth = level;
                }
                (b',', _) => {
                    self.at += 1;
                    if !is_list {
                        self.space();
                        self.skip_key()?;
                    }
                    return Ok(false);
                }
                (_, true) => return Err(self.stop(COMMA_OR_BRACKET)),
                (_, false) => return Err(self.stop(COMMA_OR_BRACE)),
            }
        }
        Ok(true)
    }

    fn skip_key(&mut self) -> Read {
        if self.peek() != b'"' {
            return Err(self.stop(KEY));
        }
        self.skip_string()?;
        self.colon()
    }

    /// Goes over the colon behind a key.
    #[inline(always)]
    pub(super) fn colon(&mut self) -> Read {
        if self.space() != b':' {
            return Err(self.stop("is not JSON: a colon is missing here"));
        }
        self.at += 1;
        Ok(())
    }

    /// A string, a number or a word.
    fn skip_simple(&mut self) -> Read {
        match self.peek() {
            b'"' => self.skip_string(),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ if self.take(b"null") || self.take(b"true") || self.take(b"false") => Ok(()),
            _ => Err(self.stop("is not JSON: a value is missing here")),
        }
    }

    /// At the opening quote.
    pub(super) fn skip_string(&mut self) -> Read {
        self.at += 1;
        while let Piece::Escaped(_) = self.piece()? {
            // Nobody reads it, so a surrogate may stand alone.
            self.escape()?.ok();
        }
        Ok(())
    }

    #[cold]
    pub(super) fn stop(&self, what: &'static str) -> Box<Stop> {
        Stop::text(self.at, what)
    }
}

/// Half of a pair that has no other half, which is no character.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoneSurrogate;

const FOUR_DIGITS: &str = "is not JSON: \\u is followed by four hexadecimal digits";
pub(super) const KEY: &str = "is not JSON: a key in quotes is missing here";
pub(super) const COMMA_OR_BRACE: &str = "is not JSON: a comma or } is missing here";
pub(super) const COMMA_OR_BRACKET: &str = "is not JSON: a comma or ] is missing here";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_nobody_knows_are_gone_over_whole() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0.0e-0",
            "12E+5",
            r#""a\"b\\\u00e9\ud800""#,
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[[],{},[1,[2]],{\"a\":{\"b\":[]}}]",
            "{\"a\" : 1 , \"b\" : [ {\"c\":null} , 2 ] }",
        ] {
            let mut cursor = Cursor::new(text.as_bytes());
            cursor.skip().unwrap();
            assert_eq!(cursor.at(), text.len(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_told() {
        for text in [
            "",
            "nul",
            "NaN",
            "-Infinity",
            "+1",
            "01",
            ".5",
            "1.",
            "1e",
            "-",
            "'a'",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,]",
            "[1 2]",
            "[1}",
            "{",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1]",
            "{1:2}",
            "{\"a\" 1}",
            "]",
            "}",
        ] {
            let mut cursor = Cursor::new(text.as_bytes());
            let result = cursor.skip();
            // A number ends where it cannot go on; what follows is found by whoever is next.
            assert!(result.is_err() || cursor.at() < text.len(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        for (levels, fits) in [(1000, true), (1001, false), (1_000_000, false)] {
            let text = ["[".repeat(levels), "]".repeat(levels)].concat();
            assert_eq!(Cursor::new(text.as_bytes()).skip().is_ok(), fits);
            let text = ["{\"a\":".repeat(levels), "1".into(), "}".repeat(levels)].concat();
            assert_eq!(Cursor::new(text.as_bytes()).skip().is_ok(), fits);
        }
    }
}
