//! Text that compresses as written text does: some three and a half times by gzip.
//!
//! Generated rows of pgbench compress a hundredfold and say nothing about real data.

use std::fmt::Write as _;

const COMMON: [&str; 96] = [
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be",
    "by", "on", "not", "he", "this", "are", "or", "his", "from", "at", "which", "but", "have",
    "an", "had", "they", "you", "were", "their", "one", "all", "we", "can", "her", "has", "there",
    "been", "if", "more", "when", "will", "would", "who", "so", "no", "out", "up", "into", "them",
    "then", "she", "some", "could", "these", "two", "may", "first", "than", "what", "do", "other",
    "time", "about", "its", "only", "over", "my", "new", "people", "such", "any", "like", "after",
    "most", "also", "made", "did", "many", "before", "must", "through", "years", "where", "much",
    "your", "way", "well", "down", "should", "because", "each", "just",
];
const START: [&str; 24] = [
    "re", "con", "de", "in", "per", "pro", "trans", "sub", "ex", "im", "dis", "com", "ab", "ad",
    "inter", "over", "under", "out", "mis", "un", "en", "fore", "super", "counter",
];
const MIDDLE: [&str; 32] = [
    "port", "form", "tract", "scribe", "ceive", "duct", "fer", "gress", "ject", "mit", "pel",
    "pose", "spect", "struct", "tain", "tend", "vent", "vert", "vise", "voke", "press", "sign",
    "serve", "sist", "solve", "cede", "claim", "clude", "cover", "fine", "firm", "flect",
];
const END: [&str; 12] =
    ["", "s", "ed", "ing", "er", "ion", "able", "ment", "ive", "al", "ly", "ness"];

/// Writes rows; the same seed writes the same rows.
pub(crate) struct Writer {
    state: u64,
    words: Vec<String>,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        let mut words: Vec<String> = COMMON.iter().map(|w| (*w).to_owned()).collect();
        for end in END {
            for middle in MIDDLE {
                words.extend(START.iter().map(|start| format!("{start}{middle}{end}")));
            }
        }
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), words }
    }

    /// One row for `COPY articles`: id, day, author, title, body.
    pub(crate) fn row(&mut self, id: u64) -> String {
        let mut row = String::with_capacity(1200);
        let (month, day) = (1 + id / 28 % 12, 1 + id % 28);
        let author = self.below(900);
        // Writing to a string cannot fail.
        let _ = write!(row, "{id}\t2025-{month:02}-{day:02}\tauthor {author}\t");
        self.sentence(&mut row, 6);
        row.push('\t');
        let sentences = 4 + self.below(8);
        for _ in 0..sentences {
            let words = 6 + self.below(14);
            self.sentence(&mut row, words);
            row.push_str(". ");
        }
        row.push('\n');
        row
    }

    fn sentence(&mut self, row: &mut String, words: usize) {
        for word in 0..words {
            if word > 0 {
                row.push(' ');
            }
            let index = self.word();
            row.push_str(&self.words[index]);
        }
    }

    /// Few words are frequent and many are rare: three of four come from the common ones.
    fn word(&mut self) -> usize {
        if self.below(4) < 3 {
            // The smaller of two draws makes the first words the most frequent ones.
            self.below(COMMON.len()).min(self.below(COMMON.len()))
        } else {
            COMMON.len() + self.below(self.words.len() - COMMON.len())
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64: short, quick, and good enough for words.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_writes_the_same_rows_and_another_others() {
        let (mut a, mut b, mut c) = (Writer::new(1), Writer::new(1), Writer::new(2));
        let row = a.row(1);
        assert_eq!(row, b.row(1));
        assert_ne!(row, c.row(1));
        assert_eq!(row.matches('\t').count(), 4);
    }
}
