use std::path::Path;
use std::time::Duration;

use super::*;
use crate::events::Mode;
use crate::keys::Secret;

const GOOD: &str = r#"
title: Two ways
rounds: {quick: 1, full: 4}
receiver: {hosts: 3, tls: true}
defaults: {topic: {durability: log}}
setup: [{subscribe: {count: {quick: 2, full: 20}, secret: ed25519}}]
steps: [{send: {count: 100, batch: 10}}]
variants:
  - {name: null-forwarder, system: "null", fan_out: 3}
  - name: p
    topics: 2
    steps:
      - send: {name: top, count: 100}
      - send: {name: half, share: 0.5, of: top, for: 3s, size: {uniform: [10, 20]}, mode: structured}
      - behave: {group: ok, hang: 1}
      - wait: 10ms
      - mark: later
rows:
  - {label: it, of: p/half/delivery_p99, against: null-forwarder/load/delivery_p99, aim: {number: 3, at_most: 2}}
plots: [{kind: memory, title: m, of: [p/top]}]
"#;

fn parse(text: &str, depth: Depth) -> Result<Scenario> {
    Scenario::parse("it", text, depth, Path::new("/somewhere"))
}

#[test]
fn a_scenario_is_read_in_both_depths() {
    let quick = parse(GOOD, Depth::Quick).unwrap();
    assert_eq!((quick.rounds, quick.receiver.hosts, quick.receiver.tls, quick.variants.len()), (1, 3, true, 2));
    let plain = ForwarderSpec { sign: false, fan_out: 3, via: Via::Plain };
    assert!(matches!(quick.variants[0].system, System::Forwarder(spec) if spec == plain));
    assert!(quick.variants[0].setup.is_empty(), "the common setup is Posthorn's");
    let [Step::Send(send)] = quick.variants[0].steps.as_slice() else { panic!("the common steps") };
    assert_eq!((send.name.as_str(), send.mode, &send.pace), ("load", Mode::Batch(10), &Pace::Closed(100)));
    let posthorn = &quick.variants[1];
    let System::Posthorn(spec) = &posthorn.system else { panic!("Posthorn when nothing else is said") };
    assert_eq!((spec.topics, &spec.schemas, spec.topic["durability"].as_str()), (2, &Schemas::Order, Some("log")));
    let Step::Send(half) = &posthorn.steps[1] else { panic!("a send") };
    let Pace::Open { rate, length, .. } = &half.pace else { panic!("open") };
    assert_eq!((rate, *length), (&Rate::Share(0.5, "top".into()), Duration::from_secs(3)));
    assert_eq!(posthorn.spans().collect::<Vec<_>>(), ["top", "half", "later"]);
    assert!(quick.rows[0].aim.as_ref().unwrap().met(2.0) && !quick.rows[0].aim.as_ref().unwrap().met(2.1));
    let full = parse(GOOD, Depth::Full).unwrap();
    let Step::Subscribe(subscribe) = &full.variants[1].setup[0] else { panic!("a subscribe") };
    assert_eq!((full.rounds, subscribe.count, subscribe.secret), (4, 20, Secret::Ed25519));
}

#[test]
fn all_faults_of_a_scenario_are_named() {
    let text = r#"
colour: blue
rounds: 0
receiver: {listen: here}
variants:
  - {system: magic, topics: 0}
  - name: p
    steps:
      - send: {count: 5, rate: 7}
      - send: {name: x, count: -1, payload: order, protocol: h3}
      - jump: 1
      - wait: long
      - behave: {hang: 7}
      - subscribe: {count: 0, secret: none}
  - {name: q, system: external, gateway: {url: nowhere, pids: [x]}}
rows:
  - {label: a, of: p/load/x, against: p/none/x}
  - {label: b, of: p, aim: {number: 1}}
plots: [{kind: circle, title: t, of: [p/none]}]
"#;
    let error = parse(text, Depth::Quick).unwrap_err().to_string();
    let wanted = [
        "title: is missing",
        "colour: is not known",
        "rounds: a number from 1 to 100",
        "receiver.listen: an address",
        "variants[0].name: is missing",
        "variants[0].system: one of raw, null",
        "variants[0].topics: a number",
        "variants[1].steps[0].send.count: either count",
        "variants[1].steps[1].send.count: a number from 1",
        "variants[1].steps[1].send.payload: is not known",
        "variants[1].steps[1].send.protocol: one of h1, h2",
        "variants[1].steps[2]: one of subscribe",
        "variants[1].steps[2].jump: is not known",
        "variants[1].steps[3].wait: a time",
        "variants[1].steps[4].behave.group: is missing",
        "variants[1].steps[4].behave.hang: a number",
        "variants[1].steps[5].subscribe.count: a number",
        "variants[1].steps[5].subscribe.secret: one of each",
        "variants[2].gateway.url: `nowhere`",
        "variants[2].gateway.pids: process numbers",
        "rows[0]: no variant and step are called `p/none`",
        "rows[1]: a figure is",
        "rows[1].aim: either at_least",
        "plots[0].kind: one of latency",
        "plots[0]: no variant and step are called `p/none`",
    ];
    for fault in wanted {
        assert!(error.contains(fault), "{fault} is not in\n{error}");
    }
    assert!(parse("a: [", Depth::Quick).is_err());
    assert!(parse("[]", Depth::Quick).unwrap_err().to_string().contains("the document: a mapping"));
}

const YARDSTICKS: &str = r#"
title: Over TLS
by_name: true
receiver: {tls: true}
steps: [{send: {rate: 5, for: 2s, within: 10s, may_refuse: true}}]
variants:
  - {name: bare, system: "null"}
  - {name: signing, system: signing}
  - {name: bare-tls, system: "null", via: tls}
  - {name: signing-h2, system: signing, via: tls_h2}
  - {name: p, setup: [{subscribe: {via: tls}}, {subscribe: {group: gone, via: closed}}], yardsticks: [bare-tls, signing-h2]}
  - {name: q, yardsticks: [signing-h2]}
  - {name: r, yardsticks: []}
  - {name: s}
"#;

#[test]
fn variants_have_the_yardsticks_that_they_name_else_the_first_of_each_kind() {
    let scenario = parse(YARDSTICKS, Depth::Quick).unwrap();
    assert!(!scenario.included, "it runs when it is named");
    let of = |n: usize| [false, true].map(|signing| scenario.yardstick(&scenario.variants[n], signing).map(|v| v.name.as_str()));
    assert_eq!(of(4), [Some("bare-tls"), Some("signing-h2")]);
    assert_eq!(of(5), [None, Some("signing-h2")]);
    assert_eq!(of(6), [None, None]);
    assert_eq!(of(7), [Some("bare"), Some("signing")]);
    assert_eq!(of(0), [None, Some("signing")], "nothing is its own yardstick");
    assert_eq!(of(2), [Some("bare"), Some("signing")]);
    let System::Forwarder(spec) = scenario.variants[3].system else { panic!("a forwarder") };
    assert_eq!(spec, ForwarderSpec { sign: true, fan_out: 1, via: Via::TlsH2 });
    let Step::Subscribe(gone) = &scenario.variants[4].setup[1] else { panic!("a subscribe") };
    assert_eq!((gone.via, gone.counted), (Via::Closed, false), "nothing is due where nobody listens");
    let Step::Send(send) = &scenario.variants[7].steps[0] else { panic!("a send") };
    assert_eq!(send.sent_within(Duration::from_secs(2)), Duration::from_secs(6), "as much time is left for what was accepted last");
}

#[test]
fn faults_of_yardsticks_and_doors_are_named() {
    let text = r#"
title: t
by_name: yes please
steps: [{send: {rate: 5, for: 10s, within: 10s}}]
variants:
  - {name: a, system: "null", via: closed}
  - {name: b, system: raw, via: plain}
  - {name: c, system: "null", via: tls}
  - {name: d, yardsticks: [nobody, b, a, c]}
  - {name: e, yardsticks: a, setup: [{subscribe: {via: closed, counted: true}}, {subscribe: {via: tls_h2}}]}
"#;
    let error = parse(text, Depth::Quick).unwrap_err().to_string();
    let wanted = [
        "by_name: true or false",
        "variants[0].steps[0].send.within: must be longer than `for`",
        "variants[0].via: one of plain, tls, tls_h2 is",
        "variants[1].via: is of forwarders",
        "variants[2]: goes over TLS, and the receiver",
        "variants[3].yardsticks[0]: no variant is called `nobody`",
        "variants[3].yardsticks[1]: `b` is no forwarder",
        "variants[3].yardsticks: at most one",
        "variants[4].yardsticks: a list",
        "variants[4].setup[0].subscribe.counted: nothing can arrive",
        "variants[4]: goes over TLS",
    ];
    for fault in wanted {
        assert!(error.contains(fault), "{fault} is not in\n{error}");
    }
    assert!(!error.contains("variants[3].yardsticks[2]"), "{error}");
}

#[test]
fn the_scenarios_of_this_tree_are_right_and_each_aim_has_one_row() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for depth in [Depth::Quick, Depth::Full] {
        let all = load_all(&folder, depth).unwrap();
        let mut aims: Vec<u64> = all.iter().flat_map(|s| &s.rows).filter_map(|row| Some(row.aim.as_ref()?.number)).collect();
        aims.sort_unstable();
        assert_eq!(aims, (1..=15).collect::<Vec<_>>());
        assert!(all.iter().any(|scenario| scenario.included));
        assert!(all.iter().any(|scenario| scenario.name == "lopsided-10m" && !scenario.included), "half an hour is no part of a run");
    }
}
