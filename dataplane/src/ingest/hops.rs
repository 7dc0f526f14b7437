//! Through how many Posthorns an event has come, so that two that feed each other stop (docs/decisions/0020).
//!
//! The receiver counts: a request that carries `posthorn-delivery` was sent by a Posthorn, and its events have one hop more
//! than it says. Endpoints that are no Posthorn therefore see nothing of it.

use posthorn_domain::event::Event;
use posthorn_domain::hops::HOPS;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::reason::Reason;

use super::schemas::Refusal;

/// What the attribute can hold (CloudEvents Integer).
const MAX: u32 = i32::MAX.unsigned_abs();

/// The event as it is kept, and its hops. `relayed` is there when a Posthorn sent it: what its header says, else 0.
///
/// # Errors
/// `invalid-event` when the attribute is no integer from 0.
pub(super) fn arrived(event: Event, relayed: Option<u32>) -> Result<(Event, u32), Problem> {
    let own = event.get(HOPS).map(count).transpose()?;
    match relayed {
        None => Ok((event, own.unwrap_or(0))),
        Some(told) => {
            let hops = own.unwrap_or(0).max(told).saturating_add(1).min(MAX);
            Ok((event.with_integer(HOPS, hops), hops))
        }
    }
}

/// Whether an event with so many hops is taken.
pub(super) fn check(hops: u32, max: u32) -> Result<(), Refusal> {
    if hops <= max {
        return Ok(());
    }
    let detail = format!(
        "the event came through {hops} Posthorns, and at most {max} are allowed: two of them may feed each other; see `max_hops` of the topic"
    );
    let problem = Problem::new(Code::TooManyHops, detail).with("hops", hops).with("max_hops", max);
    Err(Refusal { problem, reason: Some(Reason::TooManyHops) })
}

/// What the headers of a request, or the metadata of a call, say; `None` when no Posthorn sent it.
pub(crate) fn relayed(delivery: bool, hops: Option<&[u8]>) -> Option<u32> {
    let told = || hops.and_then(|hops| std::str::from_utf8(hops).ok()?.parse().ok());
    delivery.then(|| told().unwrap_or(0))
}

fn count(text: &str) -> Result<u32, Problem> {
    text.parse()
        .ok()
        .filter(|hops| *hops <= MAX)
        .ok_or_else(|| Problem::new(Code::InvalidEvent, "attribute `hops` must be an integer from 0: it counts the Posthorns on the way"))
}

#[cfg(test)]
mod tests {
    use posthorn_domain::event::{AttrKind, EventBuilder};

    use super::*;

    fn event(hops: Option<&str>) -> Event {
        let mut builder = EventBuilder::new("1", "/s", "t");
        if let Some(hops) = hops {
            builder.push(HOPS, AttrKind::String, hops);
        }
        builder.build()
    }

    #[test]
    fn a_hop_is_counted_where_a_posthorn_delivered() {
        for (own, relayed, kept, hops) in [
            (None, None, None, 0),
            (Some("3"), None, Some("3"), 3),
            (None, Some(0), Some("1"), 1),
            (Some("3"), Some(0), Some("4"), 4),
            (None, Some(2), Some("3"), 3),
            (Some("2147483647"), Some(0), Some("2147483647"), 2_147_483_647),
        ] {
            let (event, counted) = arrived(event(own), relayed).expect("taken");
            assert_eq!((event.get(HOPS), counted), (kept, hops));
        }
        for bad in ["x", "-1", "1.5", "", "2147483648"] {
            assert!(arrived(event(Some(bad)), None).expect_err(bad).detail().contains("`hops`"));
        }
    }

    #[test]
    fn the_limit_is_the_last_that_is_taken() {
        assert!(check(8, 8).is_ok());
        assert_eq!(check(9, 8).err().map(|refusal| refusal.problem.code()), Some(Code::TooManyHops));
        assert_eq!(relayed(true, Some(b"2")), Some(2));
        assert_eq!(relayed(true, Some(b"x")), Some(0));
        assert_eq!(relayed(false, Some(b"2")), None);
    }
}
