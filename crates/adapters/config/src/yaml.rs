//! The file as a tree that knows where each of its parts stands.
//!
//! Values stay the text that was written (a password `0123` is not the number 83): what a value
//! means is decided by the key that it belongs to, and every complaint can name line and column.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// A place in the file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub line: u64,
    pub column: u64,
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub place: Place,
    pub value: Yaml,
}

/// What a value can be. Numbers and truth values are still text.
#[derive(Debug, Clone)]
pub(crate) enum Yaml {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One line of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    /// A text that was written nowhere, e.g. a default.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { place: Place { line: 0, column: 0 }, value: Yaml::Text(text.into()) }
    }

    /// The lines of a mapping; none if it is something else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Yaml::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The line of a mapping with this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.node)
    }

    /// Whether nothing was written, or an empty text.
    pub(crate) fn is_blank(&self) -> bool {
        match &self.value {
            Yaml::Null => true,
            Yaml::Text(text) => text.is_empty(),
            Yaml::List(_) | Yaml::Map(_) => false,
        }
    }

    /// What it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Text(_) => "a single value",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }
}

/// Why a text is no YAML, and where.
#[derive(Debug)]
pub(crate) struct ParseError {
    pub place: Option<Place>,
    pub message: String,
}

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Node, ParseError> {
    // The default counts are made for short documents; a thousand projects are not an attack.
    let options = serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! { max_events: 10_000_000, max_nodes: 5_000_000 },
    };
    let raw: Raw = serde_saphyr::from_str_with_options(text, options).map_err(|e| ParseError {
        place: e.location().filter(|l| l.line() > 0).map(place),
        message: message_of(&e),
    })?;
    Ok(raw.into_node(text))
}

/// The parser's message without the place, which is told apart from it, and without its advice to
/// programmers.
fn message_of(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let end = [" at line ", ", set DuplicateKeyPolicy", "; use from_"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    text[..end].trim().trim_end_matches('.').to_owned()
}

fn place(location: Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

/// A node as the deserializer hands it over: with spans, and scalars by type.
type Raw = Spanned<RawValue>;

enum RawValue {
    Null,
    Text(String),
    /// A number or truth value, whose text is taken from the document.
    Typed(String),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

trait IntoNode {
    fn into_node(self, text: &str) -> Node;
}

impl IntoNode for Raw {
    fn into_node(self, text: &str) -> Node {
        let value = match self.value {
            RawValue::Null => Yaml::Null,
            RawValue::Text(text) => Yaml::Text(text),
            RawValue::Typed(shown) => Yaml::Text(written(text, self.defined).unwrap_or(shown)),
            RawValue::List(items) => {
                Yaml::List(items.into_iter().map(|n| n.into_node(text)).collect())
            }
            RawValue::Map(entries) => Yaml::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| Entry {
                        place: place(key.referenced),
                        key: key.value,
                        node: node.into_node(text),
                    })
                    .collect(),
            ),
        };
        Node { place: place(self.referenced), value }
    }
}

/// The text between the ends of a scalar.
fn written(text: &str, location: Location) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let len = usize::try_from(location.span().byte_len()?).ok()?;
    text.get(start..start + len).map(|s| s.trim().to_owned())
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_none<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<RawValue, E> {
        Ok(RawValue::Typed(v.to_string()))
    }

    fn visit_i64<E>(self, v: i64) -> Result<RawValue, E> {
        Ok(RawValue::Typed(v.to_string()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<RawValue, E> {
        Ok(RawValue::Typed(v.to_string()))
    }

    fn visit_i128<E>(self, v: i128) -> Result<RawValue, E> {
        Ok(RawValue::Typed(v.to_string()))
    }

    fn visit_u128<E>(self, v: u128) -> Result<RawValue, E> {
        Ok(RawValue::Typed(v.to_string()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<RawValue, E> {
        Ok(RawValue::Typed(v.to_string()))
    }

    fn visit_str<E>(self, v: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<RawValue, E> {
        Ok(RawValue::Text(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar<'a>(node: &'a Node, key: &str) -> &'a str {
        match &node.get(key).unwrap().value {
            Yaml::Text(text) => text,
            other => panic!("{key} is {other:?}"),
        }
    }

    #[test]
    fn scalars_keep_their_text_and_everything_its_place() {
        let text = "a: 0123\nb: yes\nc: 'it''s'\nd: 1e5\ne: é 1.50\nf:\n  - x\n  - {y: 1.50}\ng: ~\n\
                    h: 0x1F # c\n1: z\nn: .nan\nbig: 123456789012345678901234567890\nx: 007\n";
        let node = parse(text).unwrap();
        assert_eq!(scalar(&node, "a"), "0123");
        assert_eq!(scalar(&node, "b"), "yes");
        assert_eq!(scalar(&node, "c"), "it's");
        assert_eq!(scalar(&node, "d"), "1e5");
        assert_eq!(scalar(&node, "h"), "0x1F");
        assert_eq!(scalar(&node, "1"), "z");
        assert_eq!(scalar(&node, "x"), "007");
        assert_eq!(scalar(&node, "n"), ".nan");
        assert_eq!(scalar(&node, "big"), "123456789012345678901234567890");
        assert_eq!(node.entry("f").unwrap().place, Place { line: 6, column: 1 });
        let Yaml::List(items) = &node.get("f").unwrap().value else { panic!() };
        assert_eq!(items[1].entry("y").unwrap().place, Place { line: 8, column: 6 });
        assert_eq!(items[1].get("y").unwrap().place, Place { line: 8, column: 9 });
        assert_eq!(scalar(&items[1], "y"), "1.50");
        assert!(matches!(node.get("g").unwrap().value, Yaml::Null));
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let node = parse("x: &x {p: 1, q: 2}\ny:\n  <<: *x\n  q: 3\nz: *x\n").unwrap();
        let y = node.get("y").unwrap();
        assert_eq!((scalar(y, "p"), scalar(y, "q")), ("1", "3"));
        assert_eq!(scalar(node.get("z").unwrap(), "q"), "2");
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (text, line, message) in [
            ("a: 1\nb: 2\na: 3\n", 3, "duplicate mapping key: a"),
            ("a:\n\tb: 1\n", 2, "tabs disallowed within this context (block indentation)"),
            ("a: [1, 2\n", 1, "unclosed bracket '['"),
            ("a: b: c\n", 1, "mapping values are not allowed in this context"),
            ("a: 1\n---\nb: 1\n", 3, "multiple YAML documents detected"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.place.unwrap().line, error.message.as_str()), (line, message));
        }
    }
}
