//! Archives as `mongodump --archive` writes them, byte by byte (mongo-tools, `common/archive`).

use std::ops::Range;

/// What a stretch of an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The magic number.
    Magic,
    /// The prelude's first document.
    Header,
    /// A collection's document in the prelude.
    Metadata,
    /// Four bytes 0xff.
    Terminator,
    /// The header of a block of documents.
    BlockHeader,
    /// A document of a collection.
    Document,
    /// The header that ends a collection, with its checksum.
    End,
}

/// A small document: `{_id: id, text: text}`.
pub fn document(id: i32, text: &str) -> Vec<u8> {
    bson(&[("_id", Field::Int32(id)), ("text", Field::Text(text))])
}

/// An archive in the making.
#[derive(Debug, Clone)]
pub struct MongoArchive {
    collections: Vec<Collection>,
    documents_a_block: usize,
}

#[derive(Debug, Clone)]
struct Collection {
    db: String,
    name: String,
    /// `collection`, `view` or `timeseries`.
    kind: &'static str,
    /// Under which name its documents come.
    data: String,
    documents: Vec<Vec<u8>>,
}

impl Default for MongoArchive {
    fn default() -> Self {
        Self::new()
    }
}

impl MongoArchive {
    /// The server's version in every archive.
    pub const SERVER: &str = "7.0.5";
    /// The tool's version in every archive.
    pub const TOOL: &str = "100.9.4";

    /// One without a collection.
    pub fn new() -> Self {
        Self { collections: Vec::new(), documents_a_block: usize::MAX }
    }

    /// Adds a collection.
    #[must_use]
    pub fn collection(
        self,
        db: &str,
        name: &str,
        documents: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        self.add(db, name, "collection", name, documents)
    }

    /// Adds a view: announced, and without documents.
    #[must_use]
    pub fn view(self, db: &str, name: &str) -> Self {
        self.add(db, name, "view", name, [])
    }

    /// Adds a time series, whose documents come as those of its buckets.
    #[must_use]
    pub fn timeseries(
        self,
        db: &str,
        name: &str,
        documents: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        self.add(db, name, "timeseries", &format!("system.buckets.{name}"), documents)
    }

    /// Adds a time series of a server that keeps no collection of buckets.
    #[must_use]
    pub fn timeseries_without_buckets(
        self,
        db: &str,
        name: &str,
        documents: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        self.add(db, name, "timeseries", name, documents)
    }

    /// Lets collections take turns after so many documents, as several that are dumped at once do.
    #[must_use]
    pub fn documents_a_block(mut self, count: usize) -> Self {
        self.documents_a_block = count;
        self
    }

    fn add(
        mut self,
        db: &str,
        name: &str,
        kind: &'static str,
        data: &str,
        documents: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        self.collections.push(Collection {
            db: db.to_owned(),
            name: name.to_owned(),
            kind,
            data: data.to_owned(),
            documents: documents.into_iter().collect(),
        });
        self
    }

    /// The archive.
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces().into_iter().flat_map(|(_, bytes)| bytes).collect()
    }

    /// What stands where in it, without a gap.
    pub fn parts(&self) -> Vec<(Part, Range<usize>)> {
        let mut at = 0;
        let mut parts = Vec::new();
        for (part, bytes) in self.pieces() {
            parts.push((part, at..at + bytes.len()));
            at += bytes.len();
        }
        parts
    }

    /// What mongodump says of the collections once each is dumped.
    pub fn said(&self) -> Vec<String> {
        let line = |c: &Collection| {
            let count = c.documents.len();
            let plural = if count == 1 { "" } else { "s" };
            format!("done dumping {}.{} ({count} document{plural})", c.db, c.data)
        };
        self.collections.iter().map(line).collect()
    }

    fn pieces(&self) -> Vec<(Part, Vec<u8>)> {
        let terminator = || (Part::Terminator, vec![0xff; 4]);
        let mut pieces = vec![(Part::Magic, 0x8199_e26d_u32.to_le_bytes().to_vec())];
        let header = bson(&[
            ("concurrent_collections", Field::Int32(4)),
            ("version", Field::Text("0.1")),
            ("server_version", Field::Text(Self::SERVER)),
            ("tool_version", Field::Text(Self::TOOL)),
        ]);
        pieces.push((Part::Header, header));
        for c in &self.collections {
            let metadata = format!(
                "{{\"indexes\":[{{\"v\":{{\"$numberInt\":\"2\"}},\"key\":{{\"_id\":{{\"$numberInt\":\"1\"}}}},\"name\":\"_id_\"}}],\"collectionName\":\"{}\",\"type\":\"{}\"}}",
                c.name, c.kind
            );
            let described = bson(&[
                ("db", Field::Text(&c.db)),
                ("collection", Field::Text(&c.name)),
                ("metadata", Field::Text(&metadata)),
                ("size", Field::Int32(0)),
                ("type", Field::Text(c.kind)),
            ]);
            pieces.push((Part::Metadata, described));
        }
        pieces.push(terminator());
        let mut left: Vec<(&Collection, &[Vec<u8>])> =
            self.collections.iter().map(|c| (c, c.documents.as_slice())).collect();
        while !left.is_empty() {
            left.retain_mut(|(c, documents)| {
                let (now, later) = documents.split_at(documents.len().min(self.documents_a_block));
                // An empty collection has an empty block too.
                pieces.push((Part::BlockHeader, head(c, None)));
                pieces.extend(now.iter().map(|d| (Part::Document, d.clone())));
                pieces.push(terminator());
                *documents = later;
                if later.is_empty() {
                    let all: Vec<u8> = c.documents.concat();
                    pieces.push((Part::End, head(c, Some(crc64_ecma(&all)))));
                    pieces.push(terminator());
                }
                !later.is_empty()
            });
        }
        pieces
    }
}

/// The header of a block; with a checksum, that of a collection's end.
fn head(collection: &Collection, crc: Option<u64>) -> Vec<u8> {
    bson(&[
        ("db", Field::Text(&collection.db)),
        ("collection", Field::Text(&collection.data)),
        ("EOF", Field::Bool(crc.is_some())),
        ("CRC", Field::Int64(crc.unwrap_or_default().cast_signed())),
    ])
}

/// The few kinds of values that headers have.
pub(crate) enum Field<'a> {
    Text(&'a str),
    Int32(i32),
    Int64(i64),
    Bool(bool),
    Double(f64),
}

/// A BSON document.
pub(crate) fn bson(fields: &[(&str, Field<'_>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, field) in fields {
        let (kind, value) = match field {
            Field::Double(number) => (0x01, number.to_le_bytes().to_vec()),
            Field::Text(text) => {
                let length = i32::try_from(text.len() + 1).expect("a short text").to_le_bytes();
                (0x02, [length.as_slice(), text.as_bytes(), b"\0"].concat())
            }
            Field::Bool(flag) => (0x08, vec![u8::from(*flag)]),
            Field::Int32(number) => (0x10, number.to_le_bytes().to_vec()),
            Field::Int64(number) => (0x12, number.to_le_bytes().to_vec()),
        };
        body.push(kind);
        body.extend(name.as_bytes());
        body.push(0);
        body.extend(value);
    }
    body.push(0);
    let length = i32::try_from(body.len() + 4).expect("a short document").to_le_bytes();
    [length.as_slice(), &body].concat()
}

/// CRC-64 of ECMA-182 bit by bit, so that it shares no mistake with a table.
fn crc64_ecma(bytes: &[u8]) -> u64 {
    let mut crc = u64::MAX;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xC96C_5795_D787_0F42 } else { crc >> 1 };
        }
    }
    !crc
}
