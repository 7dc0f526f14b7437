//! What a person sees: numbered steps, short sentences, a progress bar and colour on terminals only.

use std::io::{self, IsTerminal, Write};

use crate::output;

const BAR: usize = 30;

/// Standard output.
#[derive(Debug)]
pub(super) struct Console {
    terminal: bool,
    colour: bool,
    steps: u32,
}

impl Console {
    pub(super) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        // https://no-color.org: any value that is not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { terminal, colour: terminal && !plain, steps: 0 }
    }

    /// The heading of the next step.
    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        self.steps += 1;
        output::line(&format!("\n{}", self.paint("1", &format!("{}. {title}", self.steps))))
    }

    /// Text below a heading.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            output::line(&format!("   {line}"))?;
        }
        Ok(())
    }

    /// Good news, or bad.
    pub(super) fn verdict(&self, good: bool, text: &str) -> io::Result<()> {
        let (colour, mark) = if good { ("32", "ok") } else { ("31", "FAILED") };
        output::line(&format!("   {} {text}", self.paint(colour, mark)))
    }

    /// A bar that is drawn over itself; on anything but a terminal, nothing.
    pub(super) fn progress(&self, label: &str, done: usize, total: usize) -> io::Result<()> {
        if !self.terminal || total == 0 {
            return Ok(());
        }
        let full = (BAR * done.min(total)) / total;
        let mut out = io::stdout().lock();
        write!(out, "\r   {label:<12} [{}{}] {done}/{total}", "#".repeat(full), ".".repeat(BAR - full))?;
        out.flush()
    }

    /// Wipes the bar, so that a line can stand in its place.
    pub(super) fn clear(&self) -> io::Result<()> {
        if self.terminal {
            let mut out = io::stdout().lock();
            out.write_all(b"\r\x1b[2K")?;
            out.flush()?;
        }
        Ok(())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns: the first to the left, numbers to the right.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["".into(), "accepted".into()], vec!["batch".into(), "277".into()]];
        assert_eq!(columns(&rows), "       accepted\nbatch       277\n");
    }
}
