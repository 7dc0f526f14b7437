//! The name that was probably meant.

/// Longer names are not compared.
const MAX_LENGTH: usize = 64;

/// The name that takes the fewest edits to be `wanted`; the first of several.
pub(super) fn nearest<'n>(wanted: &str, names: &[&'n str]) -> Option<&'n str> {
    let wanted = short(wanted);
    names.iter().copied().min_by_key(|name| distance(&wanted, &short(name)))
}

fn short(name: &str) -> Vec<char> {
    name.chars().take(MAX_LENGTH).collect()
}

/// Twice the number of letters added, left out, replaced or swapped with their neighbour; another case counts once.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).map(|n| 2 * n).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(2 * (i + 1));
        for (j, &y) in b.iter().enumerate() {
            let replaced = if x == y { 0 } else { 1 + usize::from(!x.eq_ignore_ascii_case(&y)) };
            let mut least = (row[j] + replaced).min(row[j + 1] + 2).min(next[j] + 2);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                least = least.min(before[j - 1] + 2);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_name_is_found() {
        let names = ["amount", "customer", "total", "totalCents"];
        for (wanted, found) in [("totl", "total"), ("tota", "total"), ("Total", "total"), ("custmoer", "customer"), ("amout", "amount")] {
            assert_eq!(nearest(wanted, &names), Some(found));
        }
        assert_eq!(nearest("x", &[]), None);
        assert!(nearest(&"x".repeat(10_000), &names).is_some());
    }
}
