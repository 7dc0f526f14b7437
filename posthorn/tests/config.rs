//! The configuration as an operator meets it: file, environment, faults, exit codes. Runs the real binary.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::process::{Command, Output};

use tempfile::TempDir;

fn config(verb: &str, file: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("posthorn.yaml");
    std::fs::write(&path, file).unwrap();
    std::fs::write(dir.path().join("order.json"), r#"{"type": "object"}"#).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthorn"));
    command.env_clear().args(["config", verb, "--config"]).arg(&path).args(more).envs(environment.iter().copied());
    command.output().unwrap()
}

fn dump(file: &str, environment: &[(&str, &str)]) -> serde_json::Value {
    let output = config("dump", file, &["-o", "json"], environment);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn faults(file: &str, environment: &[(&str, &str)]) -> String {
    let output = config("check", file, &[], environment);
    assert_eq!(output.status.code(), Some(64));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn environment_wins_over_file_wins_over_defaults() {
    let file = "http:\n  listen: 127.0.0.1:1\n  max_connections: 7\ndelivery:\n  allow_cidrs: [10.0.0.0/8]\n  attempts: {max_age: 1d}\n";
    let environment = [
        ("POSTHORN_HTTP__LISTEN", "127.0.0.1:0"),
        ("POSTHORN_DELIVERY__ALLOW_CIDRS", "127.0.0.0/8, ::1/128"),
        ("POSTHORN_DELIVERY__ATTEMPTS__MAX_BYTES", "2MiB"),
        ("POSTHORN_NODE__ID", "17"),
        ("POSTHORN_TOPICS", "[{name: orders}]"),
        ("POSTHORN_CONTROL_URL", "http://for-the-client"),
        ("POSTHORN_SERVICE_HOST", "10.0.0.1"),
        ("POSTHORN_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let shown = dump(file, &environment);
    assert_eq!(shown["http"]["listen"], "127.0.0.1:0");
    assert_eq!(shown["http"]["max_connections"], 7);
    assert_eq!(shown["http"]["body_timeout"], "30s");
    assert_eq!(shown["delivery"]["allow_cidrs"], serde_json::json!(["127.0.0.0/8", "::1/128"]));
    assert_eq!(shown["delivery"]["attempts"], serde_json::json!({"max_bytes": "2MiB", "max_age": "1d"}));
    assert_eq!(shown["node"]["id"], "17");
    assert_eq!(shown["topics"][0]["name"], "orders");
    assert_eq!(shown["ingest"]["default_durability"], "sync");
}

#[test]
fn all_faults_come_at_once_with_key_and_line() {
    let file = "htpp: {listen: x}\nhttp:\n  listen: nowhere\n  header_timeout: 10\nlog:\n  on_damage: cry\n  colour: red\ndelivery:\n  attempts: 3\nschemas:\n  - {name: a}\n";
    let text = faults(file, &[("POSTHORN_INGEST__MAX_EVENT_BYTES", "lots"), ("POSTHORN_NONSENSE", "1"), ("POSTHORN_NODE__SHARDS", "0")]);
    for wanted in [
        "htpp (line 1): unknown key",
        "http.listen (line 3):",
        "http.header_timeout (line 4):",
        "log.on_damage (line 6):",
        "log.colour (line 7): unknown key",
        "delivery.attempts (line 9):",
        "ingest.max_event_bytes (environment POSTHORN_INGEST__MAX_EVENT_BYTES):",
        "nonsense (environment POSTHORN_NONSENSE): unknown key",
        "node.shards (environment POSTHORN_NODE__SHARDS):",
        "schemas[0].file",
        "10 faults",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
}

#[test]
fn what_judges_endpoints_is_held_to_its_ranges() {
    let file = "delivery:\n  breaker: {failure_share: 1.5, slow_share: 0, min_requests: 0, window: 0s}\n  max_endpoint_hold: 0s\n";
    let text = faults(file, &[("POSTHORN_DELIVERY__RETRY_BUDGET__SHARE", "2"), ("POSTHORN_DELIVERY__RETRY_BUDGET__PER_SECOND", "0")]);
    for wanted in [
        "delivery.breaker.failure_share (line 2): 1.5 is not between 0.01 and 1",
        "delivery.breaker.slow_share (line 2):",
        "delivery.breaker.min_requests (line 2):",
        "delivery.breaker.window (line 2): must be more than 0",
        "delivery.max_endpoint_hold (line 3):",
        "delivery.retry_budget.share (environment POSTHORN_DELIVERY__RETRY_BUDGET__SHARE): 2 is not between 0 and 1",
        "delivery.retry_budget.per_second (environment",
        "7 faults",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
    let environment = [("POSTHORN_DELIVERY__BREAKER__FAILURE_SHARE", "null"), ("POSTHORN_DELIVERY__BREAKER__SLOW_CALL", "2s")];
    let breaker = &dump("", &environment)["delivery"]["breaker"];
    assert!(breaker["failure_share"].is_null(), "{breaker}");
    assert_eq!((&breaker["slow_call"], &breaker["slow_share"]), (&serde_json::json!("2s"), &serde_json::json!(0.8)));
}

#[test]
fn broken_yaml_and_missing_files_are_faults() {
    assert!(faults("http: [", &[]).contains("not readable as YAML"));
    assert!(faults("http: {listen: 127.0.0.1:1}\nhttp: {}\n", &[]).contains("line 2"));
    let output = Command::new(env!("CARGO_BIN_EXE_posthorn")).env_clear().args(["serve", "--config", "/does/not/exist"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn listening_beyond_loopback_needs_the_flag() {
    let file = "http: {listen: \"0.0.0.0:1\"}\nadmin: {listen: \"[::]:2\"}\n";
    let text = faults(file, &[]);
    assert!(text.contains("http.listen (line 1)") && text.contains("admin.listen (line 2)") && text.contains("--insecure"), "{text}");
    assert!(config("check", file, &["--insecure"], &[]).status.success());
}

#[test]
fn secrets_are_masked_and_not_taken_from_the_file() {
    assert!(faults("secrets: {key: abc}\n", &[]).contains("POSTHORN_SECRETS__KEY"));
    let text = String::from_utf8(config("check", "", &[], &[("POSTHORN_SECRETS__KEY", "hush")]).stderr).unwrap();
    assert!(text.contains("secrets.key (environment POSTHORN_SECRETS__KEY)") && !text.contains("hush"), "{text}");
    let file = "subscriptions:\n  - {name: s, filters: [{topic: a}], signing: [{scheme: standard-webhooks, secret: whsec_hushhushhushhushhushhushhushhush}], endpoint: {url: 'https://a.example/', auth: [{type: basic, username: u, password: hush-2}]}}\n";
    let key = "c0ffee42".repeat(8);
    let shown = dump(file, &[("POSTHORN_SECRETS__KEY", &key)]);
    assert!(!shown.to_string().contains("hush") && !shown.to_string().contains("c0ffee"), "{shown}");
    assert_eq!(shown["secrets"]["key"], "********");
    assert_eq!(shown["subscriptions"][0]["name"], "s");
}

#[test]
fn schema_files_are_read_beside_the_configuration() {
    let shown = dump("schemas: [{name: order, file: order.json, ttl: 1h}]\n", &[]);
    assert_eq!(shown["schemas"][0], serde_json::json!({"name": "order", "schema": {"type": "object"}, "ttl": "1h"}));
    assert!(faults("schemas: [{name: order, file: none.json}]\n", &[]).contains("schemas[0].file (line 1)"));
}

#[test]
fn the_dump_is_a_configuration_and_the_schema_is_one() {
    let yaml = config("dump", "", &[], &[]);
    let again = config("check", &String::from_utf8(yaml.stdout).unwrap(), &[], &[]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let schema = Command::new(env!("CARGO_BIN_EXE_posthorn")).args(["config", "schema"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["data_dir"]["description"].is_string());
}
