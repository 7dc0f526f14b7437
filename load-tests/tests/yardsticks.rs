//! The yardsticks over every protocol, and loads beyond what is there to take them. No Posthorn is needed.

mod common;

use anyhow::{Result, ensure};

use common::Ran;

const PROTOCOLS: &str = r#"
title: Protocols
rounds: 1
receiver: {tls: true}
steps: [{send: {count: 60, connections: 4, warm_up: 5}}]
variants:
  - {name: "null", system: "null"}
  - {name: signing, system: signing}
  - {name: null-tls, system: "null", via: tls}
  - {name: signing-tls, system: signing, via: tls, yardsticks: [null-tls, signing]}
  - {name: null-tls-h2, system: "null", via: tls_h2, fan_out: 3}
  - {name: signing-tls-h2, system: signing, via: tls_h2, fan_out: 3}
  - {name: signing-from-h2, system: signing, steps: &h2 [{send: {count: 60, connections: 1, protocol: h2, warm_up: 5}}]}
  - {name: h2-to-h2, system: signing, via: tls_h2, steps: *h2}
"#;

#[test]
fn forwarders_deliver_over_tls_and_http_2_and_take_publishers_over_http_2() -> Result<()> {
    let ran = Ran::of("protocols", PROTOCOLS, tempfile::tempdir()?, None)?;
    ensure!(ran.succeeded, "{}", ran.said);
    let due = [
        ("null-tls", 60.0),
        ("signing-tls", 60.0),
        ("null-tls-h2", 180.0),
        ("signing-tls-h2", 180.0),
        ("signing-from-h2", 60.0),
        ("h2-to-h2", 60.0),
    ];
    for (variant, deliveries) in due {
        assert_eq!(ran.figure(&format!("{variant}/load/delivered")), Some(deliveries), "{variant}");
        assert_eq!(ran.figure(&format!("{variant}/load/refused")), Some(0.0), "{variant}");
    }
    let checked: f64 =
        ["signing-tls", "signing-tls-h2", "h2-to-h2"].iter().filter_map(|v| ran.figure(&format!("{v}/load/signatures"))).sum();
    assert!(checked >= 3.0, "one in 64 of 300 was checked: {checked}");
    // Those of the others were opened by the warm-up: HTTP/2 shares them.
    let opened = |variant| ran.figure(&format!("{variant}/load/connections"));
    assert!(opened("null-tls-h2") <= Some(2.0), "{:?}", opened("null-tls-h2"));
    let cost =
        |variant: &str| ran.page.lines().find(|line| line.starts_with(&format!("| {variant}/load |"))).unwrap_or_default().to_owned();
    assert!(cost("signing-tls").matches("**").count() >= 8, "cost and switches against both: {}", cost("signing-tls"));
    Ok(())
}

const BEYOND: &str = r#"
title: Beyond
rounds: 1
steps:
  - behave: {group: ok, delay_ms: 50}
  - send: {name: above, rate: 400, for: 500ms, arrivals: even, within: 2s, connections: 2, warm_up: 0, may_refuse: true}
  - behave: {group: ok, status: 429}
  - send: {name: throttled, count: 20, connections: 2, warm_up: 0, may_refuse: true}
variants: [{name: raw, system: raw}]
plots: [{kind: throughput, title: T, of: [raw/above]}]
"#;

/// Two connections and 50 ms an answer take at most 40 events a second; the time to send ends after 1.25 s.
#[test]
fn a_load_above_the_ceiling_ends_in_its_time_and_counts_what_was_late_and_what_was_not_sent() -> Result<()> {
    let ran = Ran::of("beyond", BEYOND, tempfile::tempdir()?, None)?;
    ensure!(ran.succeeded, "nothing that was accepted was lost: {}", ran.said);
    let figure = |measure: &str| ran.figure(&format!("raw/above/{measure}")).unwrap_or(-1.0);
    assert_eq!((figure("offered_per_second"), figure("missing"), figure("refused")), (400.0, 0.0, 0.0));
    assert!((1.0..=54.0).contains(&figure("accepted")), "{}", figure("accepted"));
    assert_eq!(figure("accepted") + figure("unsent"), 200.0);
    assert!(figure("late") >= 1.0 && figure("late") <= figure("accepted"), "{}", figure("late"));
    assert_eq!(figure("delivered"), figure("accepted"));
    let throttled = |measure: &str| ran.figure(&format!("raw/throttled/{measure}"));
    assert_eq!((throttled("throttled"), throttled("refused"), throttled("due")), (Some(20.0), Some(20.0), Some(0.0)));
    assert!(ran.page.contains("| refused | of these 429 | late | not sent | lost |"), "{}", ran.page);
    Ok(())
}

#[test]
fn what_could_not_be_sent_fails_a_run_unless_that_is_allowed() -> Result<()> {
    let ran = Ran::of("strict", &BEYOND.replace(", may_refuse: true", ""), tempfile::tempdir()?, None)?;
    assert!(!ran.succeeded && ran.said.contains("above: ") && ran.said.contains("of 200 events could not be sent in time"), "{}", ran.said);
    assert!(ran.said.contains("throttled: 20 of 20 events were refused"), "{}", ran.said);
    Ok(())
}
