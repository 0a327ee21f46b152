//! Requests of every shape, made out of the tables in `otlp::schema`. Whoever includes this
//! file has `schema` in scope.
//!
//! All choices are taken from bytes that proptest makes, so that it can shrink them; when they
//! run out, nothing more is added.

use super::schema::{Field, Kind, Message};

/// What a request may hold beside what every parser takes without a question.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spice {
    /// Unknown fields at every level, fields in any order, more than once, in unusual but
    /// allowed encodings.
    pub(crate) odd: bool,
    /// Strings that are not UTF-8 and ids of wrong lengths.
    pub(crate) bad_values: bool,
}

/// A request of this kind, made of these choices.
pub(crate) fn request(schema: &'static Message, choices: &[u8], spice: Spice) -> Vec<u8> {
    let mut maker = Maker {
        choices: choices.iter(),
        spice,
    };
    maker.message(schema, 0)
}

struct Maker<'a> {
    choices: std::slice::Iter<'a, u8>,
    spice: Spice,
}

/// Of each of these groups a message holds one field at most.
const ONE_OF: [&[&str]; 3] = [
    &[
        "gauge",
        "sum",
        "histogram",
        "exponential_histogram",
        "summary",
    ],
    &["as_double", "as_int"],
    &[
        "string_value",
        "bool_value",
        "int_value",
        "double_value",
        "array_value",
        "kvlist_value",
        "bytes_value",
        "string_value_strindex",
    ],
];

impl Maker<'_> {
    fn choose(&mut self, sides: u8) -> u8 {
        self.choices.next().map_or(0, |choice| choice % sides)
    }

    fn message(&mut self, schema: &'static Message, depth: u32) -> Vec<u8> {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        let mut taken: Vec<&[&str]> = Vec::new();
        let start = usize::from(self.choose(schema.fields.len() as u8));
        for field in schema
            .fields
            .iter()
            .cycle()
            .skip(start)
            .take(schema.fields.len())
        {
            let group = ONE_OF.into_iter().find(|group| group.contains(&field.name));
            // The numbers of histograms have a field "sum" as well.
            let group =
                group.filter(|_| !(field.name == "sum" && matches!(field.kind, Kind::Fixed64)));
            if group.is_some_and(|group| taken.contains(&group)) {
                continue;
            }
            let down = matches!(field.kind, Kind::Level(_) | Kind::Item(_));
            let count = match (field.repeated, down) {
                (true, true) => 1 + self.choose(4),
                (true, false) => self.choose(3),
                (false, true) => 1,
                (false, false) => self.choose(2),
            };
            if count == 0 || depth > 12 || self.choices.len() == 0 {
                continue;
            }
            taken.extend(group);
            self.field(field, count, depth, &mut fields);
            if self.spice.odd && self.choose(4) == 1 {
                fields.push(self.unknown());
            }
        }
        if self.spice.odd && fields.len() > 1 {
            let (place, last) = (
                usize::from(self.choose(fields.len() as u8)),
                fields.len() - 1,
            );
            // Levels stay in their order; only then can a test say what a part should hold.
            let moves = |place: usize| {
                fields
                    .get(place)
                    .is_some_and(|made: &Vec<u8>| !is_down(schema, made))
            };
            if moves(place) && moves(last) {
                fields.swap(place, last);
            }
        }
        fields.concat()
    }

    fn field(&mut self, field: &'static Field, count: u8, depth: u32, fields: &mut Vec<Vec<u8>>) {
        let number = field.number;
        let packed = field.repeated && !(self.spice.odd && self.choose(2) == 1);
        let mut pack = Vec::new();
        for _ in 0..count {
            match field.kind {
                Kind::Message(inner) | Kind::Level(inner) | Kind::Item(inner) => {
                    let content = self.message(inner, depth + 1);
                    fields.push(self.delimited(number, &content));
                }
                Kind::String => {
                    let text = self.text();
                    fields.push(self.delimited(number, &text));
                }
                Kind::Bytes => {
                    let content = vec![0xfe; usize::from(1 + self.choose(5))];
                    fields.push(self.delimited(number, &content));
                }
                Kind::Id(length) => {
                    let bad = self.spice.bad_values && self.choose(32) == 1;
                    let content = vec![0x81; usize::from(length) - usize::from(bad)];
                    fields.push(self.delimited(number, &content));
                }
                Kind::Varint | Kind::Fixed32 | Kind::Fixed64 => {
                    let (wire_type, content) = self.number(field);
                    if packed {
                        pack.extend_from_slice(&content);
                    } else {
                        fields.push([self.tag(number, wire_type), content].concat());
                    }
                }
            }
        }
        if !pack.is_empty() {
            fields.push(self.delimited(number, &pack));
        }
    }

    fn number(&mut self, field: &Field) -> (u32, Vec<u8>) {
        match field.kind {
            Kind::Fixed32 => (5, vec![1 + self.choose(255); 4]),
            Kind::Fixed64 => (1, vec![1 + self.choose(255); 8]),
            _ if self.spice.odd && self.choose(4) == 1 => (0, varint(u64::MAX)),
            _ => (0, vec![1]),
        }
    }

    fn text(&mut self) -> Vec<u8> {
        if self.spice.bad_values && self.choose(32) == 1 {
            return vec![b'a', 0xff];
        }
        match self.choose(4) {
            1 => "\u{e4}\u{20ac}\u{1f600}".into(),
            2 => vec![b'x'; usize::from(self.choose(255)) + 1],
            3 => vec![b'k'; 1 + usize::from(self.choose(3))],
            _ => b"name".to_vec(),
        }
    }

    fn tag(&mut self, number: u32, wire_type: u32) -> Vec<u8> {
        varint(u64::from(number << 3 | wire_type))
    }

    fn delimited(&mut self, number: u32, content: &[u8]) -> Vec<u8> {
        let mut length = varint(content.len() as u64);
        if self.spice.odd && self.choose(16) == 1 {
            // Not in its shortest form.
            if let Some(last) = length.last_mut() {
                *last |= 0x80;
            }
            length.push(0);
        }
        [&self.tag(number, 2)[..], &length, content].concat()
    }

    fn unknown(&mut self) -> Vec<u8> {
        let number = 100 + u32::from(self.choose(100));
        match self.choose(5) {
            0 => [
                self.tag(number, 0),
                varint(u64::from(self.choose(255)) << 40),
            ]
            .concat(),
            1 => [self.tag(number, 1), vec![0xee; 8]].concat(),
            2 => self.delimited(number, &[0xff, 0, 0xfe]),
            3 => {
                let inner = self.unknown();
                [self.tag(number, 3), inner, self.tag(number, 4)].concat()
            }
            _ => [self.tag(number, 5), vec![0xdd; 4]].concat(),
        }
    }
}

/// Whether a field that has been made is a level or an item.
fn is_down(schema: &Message, made: &[u8]) -> bool {
    made.first().is_some_and(|&tag| {
        schema.fields.iter().any(|field| {
            matches!(field.kind, Kind::Level(_) | Kind::Item(_))
                && u32::from(tag) == field.number << 3 | 2
        })
    })
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(value, &mut out);
    out
}
