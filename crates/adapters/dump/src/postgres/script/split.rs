//! Cuts a script into what `psql` takes for comments, commands of its own, statements and rows.

/// The longest piece that is handed over whole. A `COPY` with 1600 columns is shorter.
const WHOLE: usize = 1 << 20;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A line that begins with `--`.
    Comment,
    /// A line that begins with a backslash.
    Meta,
    /// A whole statement, to the end of its last line.
    Statement,
    /// Anything else: rows, blank lines, a part of what is too long.
    Rest,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    /// At the beginning of a line, between two statements.
    #[default]
    Start,
    /// In a line of that kind.
    Line(Kind),
    /// In a statement.
    Statement(Lex),
    /// In the rows of a `COPY`: how much of `\.` the line is so far; `None` for another line.
    Rows(Option<usize>),
}

/// Where in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lex {
    Plain,
    /// In `'…'`, with backslashes that escape or without.
    Single(bool),
    /// Behind a backslash in `E'…'`.
    Escaped,
    /// Behind a `'` that may be the first of two.
    Closing(bool),
    Double,
    /// Behind `$`, in what may become the tag of a dollar quote.
    Tag(Vec<u8>),
    /// In `$tag$…`: how much of the closing tag has passed.
    Dollar(Vec<u8>, usize),
    LineComment,
    /// In so many comments.
    Block(u32),
}

/// Cuts what it is fed. All pieces together are the script.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    state: State,
    held: Vec<u8>,
    /// Whether a part of the piece has been handed over already.
    long: bool,
    /// The two bytes before, of a statement.
    before: [u8; 2],
    /// Whether backslashes escape in every string (`standard_conforming_strings = off`).
    escapes: bool,
}

impl Splitter {
    /// Takes the next bytes; `out` gets each piece that has become whole.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut impl FnMut(Kind, &[u8])) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match &self.state {
                State::Start => self.start(rest, out),
                State::Line(kind) => {
                    let kind = *kind;
                    self.line(kind, rest, out)
                }
                State::Statement(_) => self.statement(rest, out),
                State::Rows(_) => self.rows(rest, out),
            };
            rest = &rest[used..];
        }
    }

    /// Hands over what is left of a script that has ended.
    pub(crate) fn flush(&mut self, out: &mut impl FnMut(Kind, &[u8])) {
        let kind = match self.state {
            State::Line(kind) if !self.long => kind,
            _ => Kind::Rest,
        };
        if !self.held.is_empty() {
            out(kind, &self.held);
            self.held.clear();
        }
    }

    /// Whether a script may end here.
    pub(crate) fn at_rest(&self) -> bool {
        matches!(self.state, State::Start | State::Line(_))
    }

    fn start(&mut self, bytes: &[u8], out: &mut impl FnMut(Kind, &[u8])) -> usize {
        self.state = match bytes[0] {
            b'\n' => {
                out(Kind::Rest, b"\n");
                return 1;
            }
            b'-' => State::Line(Kind::Comment),
            b'\\' => State::Line(Kind::Meta),
            _ => {
                self.before = [b'\n', b'\n'];
                State::Statement(Lex::Plain)
            }
        };
        0
    }

    fn line(&mut self, kind: Kind, bytes: &[u8], out: &mut impl FnMut(Kind, &[u8])) -> usize {
        let end = bytes.iter().position(|b| *b == b'\n').map(|i| i + 1);
        let used = end.unwrap_or(bytes.len());
        self.hold(&bytes[..used], out);
        if end.is_some() {
            self.end(kind, State::Start, out);
        }
        used
    }

    fn statement(&mut self, bytes: &[u8], out: &mut impl FnMut(Kind, &[u8])) -> usize {
        let State::Statement(lex) = &mut self.state else { return 0 };
        let [mut first, mut second] = self.before;
        let mut used = bytes.len();
        let mut ended = false;
        for (i, byte) in bytes.iter().copied().enumerate() {
            if *lex == Lex::Plain && byte == b'\n' && second == b';' {
                used = i + 1;
                ended = true;
                break;
            }
            step(lex, byte, first, second, self.escapes);
            (first, second) = (second, byte);
        }
        self.before = [first, second];
        self.hold(&bytes[..used], out);
        if ended {
            let rows = self.held.starts_with(b"COPY ") && self.held.ends_with(b" FROM stdin;\n");
            if self.held.starts_with(b"SET standard_conforming_strings = ") {
                self.escapes = self.held.ends_with(b"off;\n");
            }
            let next = if rows { State::Rows(Some(0)) } else { State::Start };
            self.end(Kind::Statement, next, out);
        }
        used
    }

    fn rows(&mut self, bytes: &[u8], out: &mut impl FnMut(Kind, &[u8])) -> usize {
        let State::Rows(mark) = &mut self.state else { return 0 };
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes[at..].iter().position(|b| *b == b'\n').map(|i| at + i);
            let line = &bytes[at..end.unwrap_or(bytes.len())];
            *mark = mark.filter(|m| b"\\."[*m..].starts_with(line)).map(|m| m + line.len());
            let Some(end) = end else {
                at = bytes.len();
                break;
            };
            at = end + 1;
            if *mark == Some(2) {
                self.state = State::Start;
                break;
            }
            *mark = Some(0);
        }
        out(Kind::Rest, &bytes[..at]);
        at
    }

    fn hold(&mut self, bytes: &[u8], out: &mut impl FnMut(Kind, &[u8])) {
        if self.held.len() + bytes.len() > WHOLE {
            out(Kind::Rest, &self.held);
            out(Kind::Rest, bytes);
            self.held.clear();
            self.long = true;
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, kind: Kind, next: State, out: &mut impl FnMut(Kind, &[u8])) {
        let kind = if self.long { Kind::Rest } else { kind };
        if !self.held.is_empty() {
            out(kind, &self.held);
        }
        self.held.clear();
        self.long = false;
        self.state = next;
    }
}

/// One byte further in a statement, by the server's rules (PostgreSQL manual, 4.1).
fn step(lex: &mut Lex, byte: u8, first: u8, second: u8, escapes: bool) {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    match lex {
        Lex::Plain => plain(lex, byte, first, second, escapes),
        Lex::Single(true) if byte == b'\\' => *lex = Lex::Escaped,
        Lex::Single(escaping) if byte == b'\'' => *lex = Lex::Closing(*escaping),
        Lex::Escaped => *lex = Lex::Single(true),
        Lex::Closing(escaping) if byte == b'\'' => *lex = Lex::Single(*escaping),
        Lex::Double if byte == b'"' => *lex = Lex::Plain,
        Lex::Tag(tag) if byte == b'$' => *lex = Lex::Dollar(std::mem::take(tag), 0),
        Lex::Tag(tag) if word(byte) && !(tag.is_empty() && byte.is_ascii_digit()) => tag.push(byte),
        // It was the end after all, or no tag.
        Lex::Closing(_) | Lex::Tag(_) => {
            *lex = Lex::Plain;
            plain(lex, byte, first, second, escapes);
        }
        Lex::Dollar(tag, seen) => {
            // The closing `$tag$`: its first and last byte are the only dollars in it.
            let expected =
                if *seen == 0 { b'$' } else { tag.get(*seen - 1).copied().unwrap_or(b'$') };
            if byte != expected {
                *seen = usize::from(byte == b'$');
            } else if *seen == tag.len() + 1 {
                *lex = Lex::Plain;
            } else {
                *seen += 1;
            }
        }
        Lex::LineComment if byte == b'\n' => *lex = Lex::Plain,
        Lex::Block(depth) if byte == b'/' && second == b'*' => {
            *lex = if *depth > 1 { Lex::Block(*depth - 1) } else { Lex::Plain };
        }
        Lex::Block(depth) if byte == b'*' && second == b'/' => *depth += 1,
        Lex::Single(_) | Lex::Double | Lex::LineComment | Lex::Block(_) => {}
    }
}

fn plain(lex: &mut Lex, byte: u8, first: u8, second: u8, escapes: bool) {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80;
    match byte {
        b'\'' => *lex = Lex::Single(escapes || matches!(second, b'E' | b'e') && !word(first)),
        b'"' => *lex = Lex::Double,
        b'$' if !word(second) => *lex = Lex::Tag(Vec::new()),
        b'-' if second == b'-' => *lex = Lex::LineComment,
        b'*' if second == b'/' => *lex = Lex::Block(1),
        _ => {}
    }
}
