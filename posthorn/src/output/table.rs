//! Aligned columns.

/// Cells longer than this are cut; `-o json` shows them whole.
const MAX_CELL: usize = 100;

/// `head` (may be empty) and `rows`, each column as wide as its widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|name| name.rsplit('.').next().unwrap_or(name).to_uppercase()).collect();
    let lines: Vec<Vec<String>> =
        std::iter::once(&head).filter(|head| !head.is_empty()).chain(rows).map(|row| row.iter().map(|text| fit(text)).collect()).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|text| text.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    lines
        .iter()
        .map(|line| {
            let cells: Vec<_> = line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect()
}

/// Control characters would move the cursor of the reader's terminal.
fn fit(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let cut = text.chars().nth(MAX_CELL).is_some();
    let mut fitted: String = text.chars().take(if cut { MAX_CELL - 1 } else { MAX_CELL }).map(shown).collect();
    if cut {
        fitted.push('…');
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_tame() {
        let rows = vec![vec!["a".into(), "1".into()], vec!["long\x1b".into(), String::new()]];
        assert_eq!(table(&["x.name", "n"], &rows), "NAME   N\na      1\nlong\n");
    }
}
