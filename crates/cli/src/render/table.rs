//! Aligned columns.

use anstyle::Style;

/// Rows of text under headings, each column as wide as its widest cell.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<(String, Option<Style>)>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; each cell with the style it is shown in.
    pub(crate) fn row(&mut self, cells: Vec<(String, Option<Style>)>) {
        self.rows.push(cells);
    }

    /// The lines, heading first, without trailing blanks.
    pub(crate) fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|i| {
                let cells = self.rows.iter().filter_map(|r| r.get(i)).map(|c| width(&c.0));
                cells.chain([width(self.headings[i])]).max().unwrap_or(0)
            })
            .collect();
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        let heading: Vec<(String, Option<Style>)> =
            self.headings.iter().map(|h| ((*h).to_owned(), Some(super::BOLD))).collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (i, (text, style)) in row.iter().enumerate() {
                let pad = widths.get(i).copied().unwrap_or(0).saturating_sub(width(text));
                match style {
                    Some(style) => line.extend([
                        style.render().to_string(),
                        text.clone(),
                        style.render_reset().to_string(),
                    ]),
                    None => line.push_str(text),
                }
                if i + 1 < row.len() {
                    line.extend(std::iter::repeat_n(' ', pad + 2));
                }
            }
            lines.push(line);
        }
        lines
    }
}

/// Characters, which for the texts shown here is columns.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG"]);
        table.row(vec![("abc".into(), None), ("x".into(), None)]);
        let plain: Vec<String> =
            table.lines().iter().map(|l| anstream::adapter::strip_str(l).to_string()).collect();
        assert_eq!(plain, ["A    LONG", "abc  x"]);
    }
}
