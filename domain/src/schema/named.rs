//! The list of schemas that an event, or a question about one, names: `order:3 customer` (interfaces §1).

use smallvec::SmallVec;

use crate::names::Name;

/// Schemas that one event may name.
pub const MAX_NAMED: usize = 16;

/// Names, each with its version where one is given.
pub type Named<'a> = SmallVec<[(&'a str, Option<u32>); 4]>;

/// Reads a list whose items are separated by blanks; a name alone means its latest version.
///
/// # Errors
/// What is wrong with it, to stand behind the name of whatever held the list.
pub fn parse_list(text: &str) -> Result<Named<'_>, String> {
    let named: Named<'_> = text.split_ascii_whitespace().map(item).collect::<Result<_, _>>()?;
    if named.len() > MAX_NAMED {
        return Err(format!("at most {MAX_NAMED} schemas may be named"));
    }
    Ok(named)
}

/// A version as it is written: from 1, without leading zeros.
pub fn version_number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn item(item: &str) -> Result<(&str, Option<u32>), String> {
    let (name, version) = match item.split_once(':') {
        None => (item, None),
        Some((name, version)) => (name, Some(version_number(version))),
    };
    match version {
        None if Name::is_valid(name) => Ok((name, None)),
        Some(Some(version)) if Name::is_valid(name) => Ok((name, Some(version))),
        _ => {
            let shown: String = item.chars().take(100).collect();
            Err(format!("`{shown}` is not a schema and a version from 1, such as `order:3` or `order`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_malformed_items_named() {
        assert_eq!(parse_list(" order:3  customer ").expect("a list").as_slice(), [("order", Some(3)), ("customer", None)]);
        assert!(parse_list("").expect("nothing is named").is_empty());
        for bad in ["order:0", "order:x", "order:", ":1", "order:01", "order:4294967296", "or der:1:2", "-order"] {
            let item = bad.split(' ').next_back().unwrap_or(bad);
            assert!(parse_list(bad).expect_err(bad).contains(item), "{bad}");
        }
        assert!(parse_list(&"a ".repeat(17)).expect_err("too many").contains("16"));
    }
}
