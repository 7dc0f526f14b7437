//! A table of texts as Markdown, without the columns and lines that have nothing in them.

/// Headings and lines; the first cell of a line names it.
#[derive(Debug)]
pub(super) struct Grid {
    headings: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Grid {
    /// One without lines.
    pub(super) fn new(headings: Vec<String>) -> Self {
        Self { headings, lines: Vec::new() }
    }

    /// Adds a line, unless all of it is empty.
    pub(super) fn line(&mut self, name: String, cells: impl IntoIterator<Item = String>) {
        let line: Vec<String> = std::iter::once(name).chain(cells).collect();
        if line[1..].iter().any(|cell| !cell.is_empty()) {
            self.lines.push(line);
        }
    }

    /// The table; nothing when there are no lines.
    pub(super) fn shown(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        let filled = |n: usize| n == 0 || self.lines.iter().any(|line| line.get(n).is_some_and(|cell| !cell.is_empty()));
        let columns: Vec<usize> = (0..self.headings.len()).filter(|n| filled(*n)).collect();
        let line = |cells: &[String]| {
            let cells: Vec<&str> = columns.iter().map(|n| cells.get(*n).map_or("", String::as_str)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let body: String = self.lines.iter().map(|cells| line(cells)).collect();
        format!("{}{}|\n{body}", line(&self.headings), "|---".repeat(columns.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_left_out() {
        let mut grid = Grid::new(["t", "a", "b", "c"].map(str::to_owned).to_vec());
        assert_eq!(grid.shown(), "");
        grid.line("none".into(), ["", "", ""].map(str::to_owned));
        grid.line("one".into(), ["1", "", ""].map(str::to_owned));
        grid.line("two".into(), ["", "", "3"].map(str::to_owned));
        assert_eq!(grid.shown(), "| t | a | c |\n|---|---|---|\n| one | 1 |  |\n| two |  | 3 |\n");
    }
}
