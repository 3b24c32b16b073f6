//! The pattern of one path component, as Go's `filepath.Match` reads it: `*`, `?`, `[a-z]`, `[^a]`, and
//! `\` before what stands for itself.

/// A pattern.
#[derive(Debug)]
pub(super) struct Glob(Vec<Token>);

#[derive(Debug)]
enum Token {
    Star,
    One,
    Char(char),
    Class { not: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Reads a pattern; `None` for one that is malformed.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::One,
                '\\' => Token::Char(chars.next()?),
                '[' => {
                    let not = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                        let mut bound = || match chars.next()? {
                            '\\' => chars.next(),
                            '-' | ']' => None,
                            c => Some(c),
                        };
                        let low = bound()?;
                        let high = match chars.next_if_eq(&'-') {
                            Some(_) => match chars.next()? {
                                '\\' => chars.next()?,
                                '-' | ']' => return None,
                                c => c,
                            },
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    Token::Class { not, ranges }
                }
                c => Token::Char(c),
            });
        }
        Some(Self(tokens))
    }

    /// Whether it fits the whole name.
    pub(super) fn fits(&self, name: &[u8]) -> bool {
        fits(&self.0, name)
    }
}

fn fits(mut tokens: &[Token], mut name: &[u8]) -> bool {
    // Where to go on if what stands behind the last `*` does not fit here.
    let mut back: Option<(&[Token], &[u8])> = None;
    loop {
        let step = match tokens {
            [] if name.is_empty() => return true,
            [] => None,
            [Token::Star, rest @ ..] => {
                back = Some((rest, name));
                Some((rest, name))
            }
            [token, rest @ ..] => first(name)
                .filter(|(c, _)| match token {
                    Token::Star | Token::One => true,
                    Token::Char(wanted) => c == wanted,
                    Token::Class { not, ranges } => {
                        ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *not
                    }
                })
                .map(|(_, behind)| (rest, behind)),
        };
        (tokens, name) = match (step, back) {
            (Some(step), _) => step,
            (None, Some((rest, from))) => {
                let Some((_, from)) = first(from) else { return false };
                back = Some((rest, from));
                (rest, from)
            }
            (None, None) => return false,
        };
    }
}

/// The first character and the rest. A byte that is none counts as one that nothing else is.
fn first(name: &[u8]) -> Option<(char, &[u8])> {
    let chunk = name.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(c) => Some((c, &name[c.len_utf8()..])),
        None => Some((char::REPLACEMENT_CHARACTER, &name[1..])),
    }
}
