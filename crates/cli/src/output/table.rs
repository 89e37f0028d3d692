//! Tables in restic's look: a head, a dashed line, the rows, a dashed line, a foot.
//!
//! Invariant: every cell is neutralised before its width is measured, so a row is as wide as it looks. A line feed in
//! a cell that the caller made (several paths, for instance) is given as a second element, never as a byte.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as Grid, presets};

use crate::escape;

/// Rows under a head.
pub(crate) struct Table {
    grid: Grid,
    foot: Option<String>,
}

/// What stands in one cell.
pub(crate) enum Content<'a> {
    /// A text, left-aligned.
    Text(&'a str),
    /// A text that was made for the cell.
    Own(String),
    /// A number or size, right-aligned.
    Number(String),
    /// Several lines.
    Lines(Vec<&'a str>),
}

impl Table {
    /// A table with these column names.
    pub(crate) fn new(head: &[&str]) -> Table {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(head.iter().map(Cell::new));
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Table { grid, foot: None }
    }

    /// Adds a row.
    pub(crate) fn add<'a>(&mut self, cells: impl IntoIterator<Item = Content<'a>>) -> &mut Self {
        self.grid.add_row(cells.into_iter().map(Content::into_cell).collect::<Vec<Cell>>());
        self
    }

    /// The line below the table: `3 snapshots`.
    pub(crate) fn foot(&mut self, foot: impl Into<String>) -> &mut Self {
        self.foot = Some(foot.into());
        self
    }

    /// The whole table, with its last line end.
    pub(crate) fn render(&self) -> String {
        let lines: Vec<String> = self.grid.lines().map(|line| line.trim_end().to_owned()).collect();
        let widths: Vec<u16> = self.grid.column_max_content_widths();
        let width = widths.iter().map(|width| usize::from(*width) + 2).sum::<usize>().saturating_sub(2);
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            push_line(&mut text, line);
            if number == 0 {
                push_line(&mut text, &"-".repeat(width));
            }
        }
        push_line(&mut text, &"-".repeat(width));
        self.foot.iter().for_each(|foot| push_line(&mut text, foot));
        text
    }
}

impl Content<'_> {
    fn into_cell(self) -> Cell {
        match self {
            Content::Text(text) => Cell::new(escape::text(text)),
            Content::Own(text) => Cell::new(escape::text(&text)),
            Content::Number(number) => Cell::new(number).set_alignment(CellAlignment::Right),
            Content::Lines(lines) => {
                Cell::new(lines.iter().map(|line| escape::text(line)).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// `1 item`, `2 items`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_restics() {
        let mut table = Table::new(&["ID", "Host", "Size", "Paths"]);
        table.add([
            Content::Text("3f9c2a71"),
            Content::Text("日本"),
            Content::Number("1.500 GiB".into()),
            Content::Lines(vec!["/a", "/b"]),
        ]);
        table.add([
            Content::Text("00112233"),
            Content::Text("w\x1b[1m\nb"),
            Content::Number("17 B".into()),
            Content::Lines(vec!["/c"]),
        ]);
        table.foot("2 snapshots");
        let expected = "\
ID        Host        Size       Paths
--------------------------------------
3f9c2a71  日本        1.500 GiB  /a
                                 /b
00112233  w\\x1b[1m\\nb       17 B  /c
--------------------------------------
2 snapshots
";
        let rendered = table.render();
        assert_eq!(rendered.lines().next_back(), Some("2 snapshots"));
        assert_eq!(rendered.lines().count(), expected.lines().count());
        assert!(rendered.contains("w\\x1b[1m\\nb"), "{rendered}");
        assert!(rendered.lines().all(|line| line == line.trim_end()));
        let column = |line: &str, word: &str| line.find(word);
        let lines: Vec<&str> = rendered.lines().collect();
        assert_eq!(column(lines[0], "Paths"), column(lines[4], "/c"), "{rendered}");
        assert_eq!(lines[1].len(), lines[5].len(), "{rendered}");
    }

    #[test]
    fn an_empty_table_has_its_head() {
        assert_eq!(Table::new(&["ID", "Time"]).render(), "ID  Time\n--------\n--------\n");
    }
}
