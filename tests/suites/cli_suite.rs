//! The command line against a real server (interfaces §6, §9): what verbs print, and how they end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use posthorn_tests::cli::{self, Finished};
use posthorn_tests::process::Mode;
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver, SOON, World, binary, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

struct Shell {
    control: String,
    data: String,
}

impl Shell {
    fn of(posthorn: &Posthorn) -> Self {
        Self { control: posthorn.control().url(""), data: posthorn.data().url("") }
    }

    async fn run(&self, words: &[&str], stdin: &str) -> Result<Finished> {
        let environment = [("POSTHORN_CONTROL_URL", self.control.as_str()), ("POSTHORN_DATA_URL", self.data.as_str())];
        cli::run(words, &environment, stdin).await
    }

    /// Runs a line; it must end with this code.
    async fn ends(&self, code: i32, line: &str, stdin: &str) -> Result<Finished> {
        let words: Vec<&str> = line.split(' ').collect();
        let done = self.run(&words, stdin).await?;
        ensure!(done.code == Some(code), "{line}: {done:?}");
        Ok(done)
    }

    async fn json(&self, line: &str, stdin: &str) -> Result<Value> {
        let done = self.ends(0, &format!("{line} -o json"), stdin).await?;
        serde_json::from_str(&done.stdout).with_context(|| format!("{line}: {done:?}"))
    }
}

#[tokio::test]
async fn topics_schemas_and_subscriptions_by_verbs() -> Result<()> {
    let world = World::start().await?;
    let shell = Shell::of(&world.posthorn);
    let schema = shell.json("schema add order --file -", r#"{"type": "object", "required": ["qty"]}"#).await?;
    ensure!(schema["version"] == 1, "{schema}");
    shell.ends(0, "schema check order --file -", r#"{"type": "object"}"#).await?;
    ensure!(shell.json("schema get order", "").await?["versions"] == json!([1]));
    ensure!(shell.json("schema get order latest", "").await?["schema"]["required"] == json!(["qty"]));
    let topic = shell.json("topic put orders --partitions 2 --schema order", "").await?;
    ensure!(topic["partitions"] == 2 && world.read("/v1/topics/orders").await? == topic, "{topic}");
    // The verb waits until it is in force.
    let mut event = world.event("orders");
    event["data"] = json!({"qty": 1});
    world.data.publish(&event).await?.expect(202)?;
    let table = shell.ends(0, "topic list", "").await?.stdout;
    ensure!(table.lines().count() == 2 && table.starts_with("NAME") && table.contains("orders"), "{table}");
    ensure!(shell.json("topic list", "").await?["items"][0]["name"] == "orders");
    let yaml = "partitions: 4\nschemas: [order]\n";
    ensure!(shell.json("topic put orders --file -", yaml).await?["partitions"] == 4);
    let url = world.receiver.url("/hook");
    let made = shell.json(&format!("subscription create --name shop --topic orders --url {url}"), "").await?;
    let secret = made["signing"][0]["secret"].as_str().context("the secret is shown")?;
    ensure!(shell.json("subscription get shop", "").await?["id"] == made["id"]);
    event["id"] = "second".into();
    world.data.publish(&event).await?.expect(202)?;
    world.receiver.wait_for("/hook", 1, SOON).await?[0].verify(secret)?;
    ensure!(shell.json("subscription pause shop", "").await?["status"] == "paused");
    ensure!(shell.json("subscription resume shop", "").await?["status"] == "active");
    ensure!(shell.json("subscription test shop", "").await?["status_code"] == 200);
    ensure!(shell.json("subscription rotate-secret shop --overlap 1h", "").await?["signing"][0]["secret"] != secret);
    shell.ends(0, "subscription replay shop --from earliest --rate 50", "").await?;
    let begun = shell.json("subscription replay shop --from earliest", "").await?;
    let name = begun["replay"].as_str().context("its id")?;
    ensure!(shell.json("subscription replays shop", "").await?["items"].as_array().is_some_and(|items| items.len() == 2));
    ensure!(shell.json(&format!("subscription replays shop {name}"), "").await?["id"] == begun["replay"]);
    let table = shell.ends(0, "subscription replays shop", "").await?.stdout;
    ensure!(table.lines().count() == 3 && table.contains(name), "{table}");
    ensure!(shell.json(&format!("subscription cancel-replay shop {name}"), "").await?["ended_at"].is_string());
    shell.ends(1, "subscription cancel-replay shop rpl_0", "").await?;
    ensure!(shell.ends(0, "node list", "").await?.stdout.lines().count() == 2);
    shell.ends(0, "subscription delete shop", "").await?;
    shell.ends(0, "topic delete orders", "").await?;
    ensure!(world.control.get("/v1/topics/orders").await?.status == 404);
    Ok(())
}

#[tokio::test]
async fn exit_codes_say_who_is_at_fault() -> Result<()> {
    let world = World::start().await?;
    let shell = Shell::of(&world.posthorn);
    for line in [
        "topic get nowhere",
        "subscription get nobody",
        "schema get none",
        "dead-letter get dl_0",
        "delivery get dlv_0",
        "tail nowhere --limit 1",
    ] {
        let refused = shell.ends(1, line, "").await?;
        ensure!(!refused.stderr.is_empty() && refused.stdout.is_empty(), "the problem goes to stderr: {refused:?}");
    }
    let refused = shell.ends(1, "topic put orders --durability forever", "").await?;
    ensure!(refused.stderr.contains("durability"), "{refused:?}");
    for line in [
        "",
        "topic",
        "topic put",
        "nonsense",
        "topic list --colour",
        "publish",
        "topic list -o xml",
        "topic put t --file /nowhere/at/all",
        "listen --secret nonsense",
        "topic list --control nonsense",
    ] {
        shell.ends(2, line, "").await?;
    }
    let away = Shell { control: "http://127.0.0.1:9".into(), data: "http://127.0.0.1:9".into() };
    for line in ["topic list", "publish orders", "tail orders", "node list", "delivery list"] {
        let done = away.ends(69, line, "{}\n").await?;
        ensure!(done.stderr.contains("127.0.0.1:9"), "{done:?}");
    }
    // Flags win over the environment.
    let words = ["topic", "list", "--control", &shell.control];
    ensure!(away.run(&words, "").await?.code == Some(0));
    Ok(())
}

#[tokio::test]
async fn publish_sends_lines_and_tail_shows_them() -> Result<()> {
    let world = World::start().await?;
    let shell = Shell::of(&world.posthorn);
    world.topic("orders", json!({})).await?;
    shell.ends(0, "publish orders", "{\"n\": 1}\n\n{\"n\": 2}\n").await?;
    shell.ends(0, "publish orders - --batch", "{\"n\": 3}\n{\"n\": 4}\n").await?;
    let file = world.posthorn.data_dir().join("lines.jsonl");
    let own = json!({"specversion": "1.0", "id": "own", "source": "/cli", "type": "t", "data": {"n": 5}});
    std::fs::write(&file, format!("{own}\n"))?;
    let done = shell.run(&["publish", "orders", file.to_str().context("a path")?], "").await?;
    ensure!(done.code == Some(0), "{done:?}");
    let tailed = shell.ends(0, "tail orders --from earliest --limit 5 -o json", "").await?;
    let events: Vec<Value> =
        tailed.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>().with_context(|| tailed.stdout.clone())?;
    let data = |e: &Value| e.get("event").unwrap_or(e)["data"]["n"].clone();
    ensure!(events.iter().map(data).collect::<Vec<_>>() == [1, 2, 3, 4, 5], "{events:?}");
    let table = shell.ends(0, "tail orders --from earliest --limit 5", "").await?;
    ensure!(table.stdout.contains("own"), "{table:?}");
    let words = ["tail", "orders", "--from", "earliest", "--limit", "1", "-o", "json", "--filter", "type = 't' AND id LIKE 'o%'"];
    let filtered = shell.run(&words, "").await?;
    ensure!(filtered.code == Some(0) && serde_json::from_str::<Value>(&filtered.stdout)?["id"] == "own", "{filtered:?}");
    let refused = shell.run(&["tail", "orders", "--filter", "type ="], "").await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("line 1"), "{refused:?}");
    // Sent again, it is no failure; a refused line is, and says which.
    let done = shell.run(&["publish", "orders", file.to_str().context("a path")?], "").await?;
    ensure!(done.code == Some(0), "{done:?}");
    for batch in ["", " - --batch"] {
        let refused = shell.ends(1, &format!("publish orders{batch}"), "{\"n\": 6}\n{nonsense\n{\"n\": 7}\n").await?;
        ensure!(refused.stderr.contains('2'), "the line's number: {refused:?}");
    }
    shell.ends(1, "publish nowhere", "{}\n").await?;
    Ok(())
}

#[tokio::test]
async fn dead_letters_and_deliveries_by_verbs() -> Result<()> {
    let world = World::start().await?;
    let shell = Shell::of(&world.posthorn);
    world.topic("orders", json!({})).await?;
    world.subscribe("/hook", json!({"retry": {"schedule": []}})).await?;
    world.receiver.on("/hook", Behaviour::Status(400));
    for n in 0..3 {
        world.publish("orders", json!(n)).await?;
    }
    world.listed("/v1/dead-letters", 3, |_| true).await?;
    let listed = shell.json("dead-letter list --topic orders", "").await?;
    let id = listed["items"][0]["id"].as_str().context("an id")?;
    ensure!(shell.json(&format!("dead-letter get {id}"), "").await?["reason"] == "attempts_exhausted");
    let delivery = listed["items"][0]["delivery"].as_str().context("a delivery")?;
    ensure!(shell.json(&format!("delivery get {delivery}"), "").await?["status"] == "dead_lettered");
    ensure!(shell.ends(0, "delivery list --status dead_lettered", "").await?.stdout.lines().count() == 4);
    world.receiver.on("/hook", Behaviour::Ok);
    shell.ends(0, &format!("dead-letter retry {id}"), "").await?;
    world.listed("/v1/dead-letters", 2, |_| true).await?;
    // All of them only when it is said.
    shell.ends(2, "dead-letter purge", "").await?;
    shell.ends(0, "dead-letter purge --all", "").await?;
    world.listed("/v1/dead-letters", 0, |_| true).await?;
    Ok(())
}

/// A verb that runs until it is told to end.
struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(words: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary::posthorn()?);
        command.args(words).env_remove("POSTHORN_BIN").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, seen) = (child.stdout.take().context("piped")?, Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                seen.lock().push(line);
            }
        });
        Ok(Self { child, lines })
    }

    async fn says(&self, what: &str) -> Result<String> {
        let found = eventually(what, SOON, || std::future::ready(self.lines.lock().iter().find(|l| l.contains(what)).cloned()));
        found.await.with_context(|| format!("{:?}", self.lines.lock()))
    }

    async fn interrupted(&mut self) -> Result<Option<i32>> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let child = &mut self.child;
        Ok(eventually("it ends", SOON, || std::future::ready(child.try_wait().ok().flatten())).await?.code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn listen_verifies_prints_and_answers_as_told() -> Result<()> {
    let world = World::start().await?;
    world.topic("orders", json!({})).await?;
    let secret = posthorn_tests::receiver::new_secret()?;
    let mut listen = Running::start(&["listen", "--port", "0", "--secret", &secret, "--fail-first", "1", "--status", "418"])?;
    let line = listen.says("listening").await?;
    let address: Value = serde_json::from_str(line.trim_start_matches("listening "))?;
    let url = format!("http://{}/here", address["address"].as_str().context("an address")?);
    let spec = |secret: &str| json!({"endpoint": {"url": url}, "signing": [{"scheme": "standard-webhooks", "secret": secret}], "retry": {"schedule": ["10ms"], "jitter": 0}});
    let good = world.subscribe("/good", spec(&secret)).await?;
    let id = world.publish("orders", json!({"n": 4711})).await?;
    ensure!(listen.says(&format!("ce-id={id}")).await?.contains("verified"));
    let found = world.listed(&format!("/v1/deliveries?event_id={id}"), 1, |d| d["status"] == "delivered").await?;
    let codes: Vec<&Value> = found[0]["attempts"].as_array().context("attempts")?.iter().map(|a| &a["status_code"]).collect();
    ensure!(codes == [418, 200], "{codes:?}");
    world.control.delete(&format!("/v1/subscriptions/{}", good.id)).await?;
    world.subscribe("/bad", spec(&posthorn_tests::receiver::new_secret()?)).await?;
    let id = world.publish("orders", json!({"n": 4712})).await?;
    let letters = world.listed("/v1/dead-letters", 1, |l| l["event"]["id"] == *id).await?;
    ensure!(letters[0]["reason"] == "attempts_exhausted", "a bad signature is refused: {letters:?}");
    ensure!(listen.interrupted().await? == Some(0));
    Ok(())
}

#[tokio::test]
async fn the_configuration_is_checked_shown_and_described() -> Result<()> {
    let folder = Receiver::start().await?; // keeps the port of the URL below taken
    let file = std::env::temp_dir().join(format!("posthorn-cli-{}.yaml", folder.address().port()));
    let path = file.to_str().context("a path")?;
    let check = |text: &'static str, environment: &'static [(&'static str, &'static str)]| async move {
        std::fs::write(path, text)?;
        cli::run(&["config", "check", "--config", path], environment, "").await
    };
    ensure!(check("http: {listen: '127.0.0.1:0'}\n", &[]).await?.code == Some(0));
    let bad = check("http: {listen: nowhere, colour: red}\ningest: {max_event_bytes: lots}\nnonsense: 1\n", &[]).await?;
    ensure!(bad.code == Some(64), "{bad:?}");
    for fault in ["http.listen", "colour", "max_event_bytes", "nonsense"] {
        ensure!(bad.stderr.contains(fault), "all faults at once; `{fault}` is missing: {}", bad.stderr);
    }
    ensure!(check("http: [\n", &[]).await?.code == Some(64));
    let bad = check("", &[("POSTHORN_DELIVERY__ALLOW_CIDRS", "nonsense"), ("POSTHORN_HTTP__COLOUR", "red")]).await?;
    ensure!(
        bad.code == Some(64) && bad.stderr.to_lowercase().contains("colour") && bad.stderr.to_lowercase().contains("allow_cidrs"),
        "{bad:?}"
    );
    // Declared resources too, as far as they can be judged by themselves.
    let bad =
        check("topics: [{name: a, partitions: 0, colour: red}]\nsubscriptions: [{name: b, filters: [], endpoint: {url: nonsense}}]\n", &[])
            .await?;
    ensure!(bad.code == Some(64), "{bad:?}");
    for fault in ["topics[0].partitions", "topics[0].colour", "subscriptions[0].filters", "subscriptions[0].endpoint.url"] {
        ensure!(bad.stderr.contains(fault), "`{fault}` is missing: {}", bad.stderr);
    }
    let text = "subscriptions: [{name: a, filters: [{topic: '**'}], endpoint: {url: 'http://127.0.0.1:1/'}, signing: [{scheme: standard-webhooks, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}]}]\ndelivery: {allow_cidrs: [127.0.0.0/8]}\n";
    std::fs::write(path, text)?;
    let dump = cli::run(&["config", "dump", "--config", path], &[("POSTHORN_INGEST__MAX_EVENT_BYTES", "2MiB")], "").await?;
    ensure!(dump.code == Some(0) && dump.stdout.contains("2MiB"), "the environment wins: {dump:?}");
    ensure!(!dump.stdout.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "a secret is shown");
    let schema = cli::run(&["config", "schema"], &[], "").await?;
    let schema: Value = serde_json::from_str(&schema.stdout)?;
    ensure!(schema["properties"]["delivery"].is_object(), "{schema}");
    std::fs::remove_file(&file)?;
    Ok(())
}

#[tokio::test]
async fn serve_refuses_what_it_should_and_ends_in_good_order() -> Result<()> {
    let open = Config::default().set("http.listen", json!("0.0.0.0:0"));
    let refused = Posthorn::start(open.clone()).await.err().context("it listens to the world without authentication")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("exit status: 64") && said.contains("http.listen") && said.contains("--insecure"), "{said}");
    let mut posthorn = Posthorn::start_with(Mode::Serve, open, &["--insecure"], &[]).await?;
    ensure!(posthorn.admin().get("/live").await?.status == 200 && posthorn.admin().get("/ready").await?.status == 200);
    let metrics = posthorn.admin().get("/metrics").await?;
    ensure!(metrics.status == 200 && metrics.text().contains("posthorn_"), "{}", metrics.text());
    ensure!(posthorn.terminate().await?.code() == Some(0));
    Ok(())
}

#[tokio::test]
async fn a_drain_lets_what_is_in_flight_end() -> Result<()> {
    let mut world = World::start().await?;
    world.topic("orders", json!({})).await?;
    world.subscribe("/hook", json!({})).await?;
    world.receiver.on("/hook", Behaviour::Delay(std::time::Duration::from_millis(300), Box::new(Behaviour::Ok)));
    for n in 0..5 {
        world.publish("orders", json!(n)).await?;
    }
    world.receiver.wait_for("/hook", 1, SOON).await?;
    ensure!(world.posthorn.terminate().await?.code() == Some(0), "{}", world.posthorn.stderr());
    world.posthorn.restart().await?;
    world.publish("orders", json!("after")).await?;
    let tally = world.receiver.wait_for_unique("/hook", 6, SOON).await?;
    ensure!(tally.duplicate == 0, "nothing was cut off, so nothing comes twice: {tally:?}");
    Ok(())
}

#[tokio::test]
async fn declared_resources_are_there_from_the_start() -> Result<()> {
    let receiver = Receiver::start().await?;
    let config = Config::with(json!({
        "schemas": [{"name": "order", "schema": {"type": "object", "required": ["qty"]}}],
        "topics": [{"name": "orders", "schemas": ["order"]}],
        "subscriptions": [{"name": "shop", "filters": [{"topic": "orders"}], "endpoint": {"url": receiver.url("/hook")}}],
    }));
    let mut posthorn = Posthorn::start(config).await?;
    let event =
        |id: &str, data: Value| json!({"specversion": "1.0", "id": id, "source": "/t", "type": "t", "topic": "orders", "data": data});
    // In force when the ready line is printed.
    posthorn.data().publish(&event("1", json!({"qty": 1}))).await?.expect(202)?;
    ensure!(posthorn.data().publish(&event("2", json!({}))).await?.problem()? == "schema-invalid");
    receiver.wait_for("/hook", 1, SOON).await?;
    let before = posthorn.control().get("/v1/subscriptions").await?.expect(200)?;
    posthorn.restart().await?;
    let after = posthorn.control().get("/v1/subscriptions").await?.expect(200)?;
    ensure!(
        before["items"][0]["id"] == after["items"][0]["id"] && after["items"].as_array().is_some_and(|i| i.len() == 1),
        "{before} {after}"
    );
    Ok(())
}
