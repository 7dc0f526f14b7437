//! Filters tried and checked before they are used (interfaces §4, §9: `filters/check`, the type check), over REST, gRPC and the
//! command line.

use anyhow::{Context, Result, ensure};
use posthorn_proto::admin::operations_client::OperationsClient;
use posthorn_proto::admin::subscriptions_client::SubscriptionsClient;
use posthorn_proto::admin::{CheckFilterRequest, Endpoint, Subscription};
use posthorn_tests::{World, cli};
use serde_json::{Value, json};
use tonic::Code;

fn order() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["id", "total"],
        "properties": {
            "id": {"type": "string", "minLength": 3}, "total": {"type": "number", "minimum": 0, "maximum": 10000},
            "status": {"enum": ["open", "paid"]}, "note": {"type": ["string", "null"]},
            "customer": {"type": "object", "properties": {"name": {"type": "string"}, "country": {"const": "NO"}}},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}
        },
        "$defs": {"line": {"type": "object", "additionalProperties": false, "properties": {"sku": {"type": "string"}, "qty": {"type": "integer", "minimum": 1}}}}
    })
}

async fn with_orders() -> Result<World> {
    let world = World::start().await?;
    world.schema("order", order()).await?;
    world.topic("orders", json!({"schemas": ["order"]})).await?;
    Ok(world)
}

fn subscription(filter: &Value, topic: &str) -> Value {
    json!({"filters": [{"topic": topic}, filter], "endpoint": {"url": "http://127.0.0.1:9/hook"}})
}

async fn check(world: &World, body: Value) -> Result<Value> {
    world.control.post("/v1/filters/check", &body).await?.expect(200)
}

#[tokio::test]
async fn a_check_gives_value_type_and_error() -> Result<()> {
    let world = World::start().await?;
    let mut event = world.event("orders");
    event["amount"] = 12.into();
    event["name"] = "acme".into();
    event["data"] = json!({"total": 120.5, "lines": [{"sku": "A-1"}]});
    for (filter, value, kind, error, matches) in [
        (json!({"sql": "amount > 10"}), json!(true), "boolean", Value::Null, true),
        (json!({"sql": "amount + 1"}), json!(13), "integer", Value::Null, false),
        (json!({"sql": "CONCAT(name, '!')"}), json!("acme!"), "string", Value::Null, false),
        (json!({"sql": "amount / 0"}), json!(0), "integer", json!("math"), false),
        (json!({"sql": "INT(name)"}), json!(0), "integer", json!("cast"), false),
        (json!({"sql": "nothing = 'x'"}), json!(false), "boolean", json!("missing_attribute"), false),
        (json!({"sql": "NOPE(1)"}), json!(false), "boolean", json!("missing_function"), false),
        (json!({"sql": "LEFT(name, -1)"}), json!("acme"), "string", json!("function_evaluation"), false),
        (json!({"exact": {"type": "t.made"}}), json!(true), "boolean", Value::Null, true),
        (json!({"data": {"/total": {"gt": 100}, "/lines/0/sku": {"prefix": "A-"}}}), json!(true), "boolean", Value::Null, true),
        (json!({"not": {"data": {"/total": {"gt": 100}}}}), json!(false), "boolean", Value::Null, false),
    ] {
        let answer = check(&world, json!({"filter": filter, "event": event})).await?;
        ensure!(answer["valid"] == true && answer["value"] == value && answer["type"] == kind, "{filter}: {answer}");
        ensure!(answer["error"]["kind"] == error && answer["matches"] == matches, "{filter}: {answer}");
        ensure!(error.is_null() == answer["error"].is_null(), "{filter}: {answer}");
    }
    let cel = check(&world, json!({"filter": {"cel": "data.total > 100.0"}, "event": event})).await?;
    ensure!(cel["valid"] == true && cel["value"] == true && cel["matches"] == true && cel["error"].is_null(), "{cel}");
    let alone = check(&world, json!({"filter": {"sql": "amount > 10"}})).await?;
    ensure!(alone["valid"] == true && alone["value"].is_null() && alone["matches"].is_null(), "{alone}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_filter_is_an_answer_and_what_is_no_question_a_problem() -> Result<()> {
    let world = World::start().await?;
    let event = world.event("orders");
    for filter in [json!({"sql": "amount >"}), json!({"cel": "data.("}), json!({"nope": 1}), json!({"sql": 7}), json!({})] {
        let answer = check(&world, json!({"filter": filter, "event": event})).await?;
        ensure!(answer["valid"] == false && answer["error"]["kind"] == "parse" && answer["matches"] == false, "{filter}: {answer}");
        ensure!(answer["error"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer}");
        let made = world.control.post("/v1/subscriptions", &subscription(&filter, "orders")).await?;
        ensure!(made.status.is_client_error(), "{filter}: {}", made.text());
    }
    ensure!(world.control.post("/v1/subscriptions", &subscription(&json!({"sql": "amount >"}), "orders")).await?.status == 422);
    for (body, named) in [
        (json!({}), "filter"),
        (json!({"filter": {"sql": "TRUE"}, "evnt": {}}), "evnt"),
        (json!({"filter": {"sql": "TRUE"}, "event": {"id": "1"}}), "specversion"),
        (json!({"filter": {"sql": "TRUE"}, "event": {"specversion": "1.0", "id": "1", "type": "t"}}), "source"),
        (json!({"filter": {"sql": "TRUE"}, "direction": "up"}), "direction"),
    ] {
        let refused = world.control.post("/v1/filters/check", &body).await?;
        ensure!(refused.status == 400 && refused.text().contains(named), "{body}: {}", refused.text());
    }
    let nowhere = world.control.post("/v1/filters/check", &json!({"filter": {"sql": "TRUE"}, "topic": "nowhere"})).await?;
    ensure!(nowhere.problem()? == "topic-unknown", "{}", nowhere.text());
    Ok(())
}

#[tokio::test]
async fn a_filter_that_can_never_match_is_refused_with_place_and_nearest_name() -> Result<()> {
    let world = with_orders().await?;
    for (filter, pointer, nearest, said) in [
        (json!({"data": {"/totl": {"gt": 1}}}), "#/filters/1/data/~1totl", "total", "totl"),
        (json!({"cel": "data.total > 1.0 && data.custmer.name == 'x'"}), "#/filters/1/cel", "customer", "custmer"),
        (json!({"cel": "data.lines.exists(l, l.quantity > 1)"}), "#/filters/1/cel", "qty", "quantity"),
        (
            json!({"all": [{"exact": {"type": "x"}}, {"data": {"/lines/0/skv": {"exists": true}}}]}),
            "#/filters/1/all/1/data/~1lines~10~1skv",
            "sku",
            "skv",
        ),
        (json!({"data": {"/total/cents": {"exists": true}}}), "#/filters/1/data/~1total~1cents", "", "a number"),
        (json!({"data": {"/status": {"eq": "closed"}}}), "#/filters/1/data/~1status", "", "open"),
        (json!({"data": {"/status": {"in": ["new", "old"]}}}), "#/filters/1/data/~1status", "", "paid"),
        (json!({"data": {"/total": {"eq": "100"}}}), "#/filters/1/data/~1total", "", "a string"),
        (json!({"data": {"/total": {"gt": 10000}}}), "#/filters/1/data/~1total", "", "10000"),
        (json!({"data": {"/id": {"eq": "x"}}}), "#/filters/1/data/~1id", "", "3"),
        (json!({"data": {"/id": {"exists": false}}}), "#/filters/1/data/~1id", "", ""),
        (json!({"cel": "data.customer.country == 'SE'"}), "#/filters/1/cel", "", "NO"),
        (json!({"cel": "data.total == 'ten'"}), "#/filters/1/cel", "", "a string"),
        (json!({"data": {"/lines/0/qty": {"lt": 1}}}), "#/filters/1/data/~1lines~10~1qty", "", "integer"),
    ] {
        let refused = world.control.post("/v1/subscriptions", &subscription(&filter, "orders")).await?;
        ensure!(refused.status == 422 && refused.problem()? == "filter-never-matches", "{filter}: {} {}", refused.status, refused.text());
        let body = refused.json()?;
        let fault = &body["errors"][0];
        ensure!(fault["pointer"] == pointer && body["filter"] == 1, "{filter}: {body}");
        ensure!(fault["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{filter}: {body}");
        ensure!(body["nearest"].as_str().unwrap_or_default() == nearest, "{filter}: {body}");
        ensure!(body["position"].is_object() == filter.get("cel").is_some(), "{filter}: {body}");
        let mut forced = subscription(&filter, "orders");
        forced["allow_unknown"] = true.into();
        let made = world.control.post("/v1/subscriptions", &forced).await?.expect(201)?;
        ensure!(made["allow_unknown"] == true, "{made}");
    }
    let text = "data.total > 1.0 &&\n  data.status == 'closed'";
    let refused = world.control.post("/v1/subscriptions", &subscription(&json!({"cel": text}), "orders")).await?.json()?;
    ensure!(refused["position"] == json!({"offset": 22, "line": 2, "column": 3}), "{refused}");
    Ok(())
}

#[tokio::test]
async fn what_could_match_is_taken() -> Result<()> {
    let world = with_orders().await?;
    for filter in [
        json!({"data": {"/total": {"gt": 9999.5}, "/status": {"in": ["closed", "open"]}, "/note": {"eq": null}}}),
        json!({"data": {"/customer/name": {"prefix": "A"}, "/lines/7/qty": {"ge": 1}, "/status": {"exists": false}}}),
        json!({"cel": "has(data.status) && data.status != 'open'"}),
        json!({"cel": "data.lines.all(l, l.qty > 3) || data.total < 5.0"}),
        json!({"cel": "data.totl > 1.0 || data.total > 1.0"}),
        json!({"not": {"data": {"/totl": {"exists": true}}}}),
        json!({"sql": "NOT EXISTS amount OR amount > 10"}),
        json!({"sql": "subject = '' OR id = 5"}),
    ] {
        let made = world.control.post("/v1/subscriptions", &subscription(&filter, "orders")).await?;
        ensure!(made.status == 201, "{filter}: {} {}", made.status, made.text());
        ensure!(made.json()?["warnings"].is_array(), "{}", made.text());
    }
    // Topics that may come later, and topics without schemas, refuse nothing.
    world.topic("free", json!({})).await?;
    for topic in ["later", "free", "orders.*", "**"] {
        let filter = json!({"data": {"/anything": {"eq": 1}}});
        let made = world.control.post("/v1/subscriptions", &subscription(&filter, topic)).await?;
        ensure!(made.status == 201, "{topic}: {}", made.text());
    }
    Ok(())
}

#[tokio::test]
async fn a_path_that_any_version_can_have_is_taken_and_an_unnamed_one_warned_of() -> Result<()> {
    let world = with_orders().await?;
    let filter = json!({"data": {"/weight": {"gt": 1}}});
    ensure!(world.control.post("/v1/subscriptions", &subscription(&filter, "orders")).await?.status == 422);
    let mut heavier = order();
    heavier["properties"]["weight"] = json!({"type": "number"});
    world.schema("order", heavier).await?;
    let made = world.control.post("/v1/subscriptions", &subscription(&filter, "orders")).await?.expect(201)?;
    ensure!(made["warnings"] == json!([]), "{made}");

    let filter = json!({"cel": "data.customer.nmae == 'x'"});
    let made = world.control.post("/v1/subscriptions", &subscription(&filter, "orders")).await?.expect(201)?;
    let warning = &made["warnings"][0];
    ensure!(warning["path"] == "/customer/nmae" && warning["nearest"] == "name" && warning["filter"] == 1, "{made}");
    ensure!(warning["pointer"] == "#/filters/1/cel" && warning["position"]["offset"] == 0, "{made}");
    // The answer can be written back, and changes are checked as well.
    let path = format!("/v1/subscriptions/{}", made["id"].as_str().context("an id")?);
    let changed = world.control.put(&path, &made).await?.expect(200)?;
    ensure!(changed["warnings"].as_array().is_some_and(|warnings| warnings.len() == 1), "{changed}");
    ensure!(world.read(&path).await?.get("warnings").is_none());
    let mut never = made.clone();
    never["filters"][1] = json!({"data": {"/totl": {"gt": 1}}});
    ensure!(world.control.put(&path, &never).await?.problem()? == "filter-never-matches");
    Ok(())
}

#[tokio::test]
async fn what_no_event_can_be_is_refused_without_any_schema() -> Result<()> {
    let world = World::start().await?;
    for filter in [
        json!({"sql": "source = ''"}),
        json!({"sql": "specversion = '2.0'"}),
        json!({"sql": "NOT EXISTS id"}),
        json!({"sql": "FALSE"}),
        json!({"sql": "TRUE AND 1 = 2"}),
        json!({"sql": "direction = 'sideways'"}),
        json!({"sql": "LENGTH(subject)"}),
        json!({"sql": "topic = 'others'"}),
        json!({"exact": {"specversion": "0.3"}}),
        json!({"not": {"prefix": {"specversion": "1"}}}),
        json!({"any": [{"exact": {"direction": "x"}}, {"suffix": {"specversion": "2"}}]}),
        json!({"cel": "event.specversion == '0.3'"}),
    ] {
        let refused = world.control.post("/v1/subscriptions", &subscription(&filter, "orders")).await?;
        ensure!(refused.status == 422 && refused.problem()? == "filter-never-matches", "{filter}: {} {}", refused.status, refused.text());
    }
    Ok(())
}

#[tokio::test]
async fn with_a_topic_a_check_tells_what_its_schemas_say() -> Result<()> {
    let world = with_orders().await?;
    let never = check(&world, json!({"filter": {"data": {"/totl": {"gt": 1}}}, "topic": "orders"})).await?;
    let warning = &never["warnings"][0];
    ensure!(never["valid"] == true && warning["never_matches"] == true && warning["nearest"] == "total", "{never}");
    ensure!(warning["pointer"] == "#/filter/data/~1totl" && warning["schema"] == "order:1", "{never}");
    let unnamed = check(&world, json!({"filter": {"cel": "data.customer.nmae == 'x'"}, "topic": "orders"})).await?;
    ensure!(unnamed["warnings"][0]["never_matches"] == false && unnamed["warnings"][0]["nearest"] == "name", "{unnamed}");
    let fine = check(&world, json!({"filter": {"data": {"/total": {"gt": 1}}}, "topic": "orders"})).await?;
    ensure!(fine["warnings"] == json!([]), "{fine}");
    Ok(())
}

#[tokio::test]
async fn a_version_that_drops_what_a_filter_reads_needs_force() -> Result<()> {
    let world = with_orders().await?;
    let made = world
        .control
        .post("/v1/subscriptions", &subscription(&json!({"data": {"/status": {"eq": "paid"}}}), "orders"))
        .await?
        .expect(201)?;
    let other = world.control.post("/v1/subscriptions", &subscription(&json!({"cel": "data.total > 5.0"}), "orders")).await?.expect(201)?;
    let mut less = order();
    less["properties"].as_object_mut().context("properties")?.remove("status");
    let body = json!({"schema": less});
    let path = "/v1/schemas/order/versions";
    let refused = world.control.post(path, &body).await?;
    ensure!(refused.status == 409 && refused.problem()? == "filter-references", "{}: {}", refused.status, refused.text());
    let told = refused.json()?;
    ensure!(told["subscriptions"].as_array().is_some_and(|all| all.len() == 1), "{told}");
    ensure!(told["subscriptions"][0]["subscription"] == made["id"] && told["subscriptions"][0]["paths"] == json!(["/status"]), "{told}");
    ensure!(!refused.text().contains(other["id"].as_str().context("an id")?), "{told}");
    let dry = world.control.post(&format!("{path}?dry_run=true"), &body).await?;
    ensure!(dry.status == 409, "{}", dry.text());
    let forced = world.control.post(&format!("{path}?force=true"), &body).await?;
    ensure!(forced.status == 201 && forced.json()?["version"] == 2, "{}", forced.text());
    // The same again is no new version.
    ensure!(world.control.post(path, &body).await?.status == 200);
    // What nobody reads may go.
    less["properties"].as_object_mut().context("properties")?.remove("note");
    ensure!(world.control.post(path, &json!({"schema": less})).await?.status == 201);
    Ok(())
}

#[tokio::test]
async fn the_same_over_grpc() -> Result<()> {
    let world = with_orders().await?;
    let mut operations = OperationsClient::connect(world.control.url("")).await?;
    let mut event = world.event("orders");
    event["amount"] = 12.into();
    let question = CheckFilterRequest {
        filter: json!({"sql": "amount > 10"}).to_string(),
        event: Some(event.to_string()),
        topic: Some("orders".into()),
        direction: None,
    };
    let answer = operations.check_filter(question.clone()).await?.into_inner();
    ensure!(answer.valid && answer.value.as_deref() == Some("true") && answer.matches == Some(true), "{answer:?}");
    ensure!(answer.r#type.as_deref() == Some("boolean") && answer.error.is_none(), "{answer:?}");
    let parse =
        operations.check_filter(CheckFilterRequest { filter: json!({"sql": "("}).to_string(), ..question.clone() }).await?.into_inner();
    ensure!(!parse.valid && parse.error.as_ref().is_some_and(|error| error.kind == "parse"), "{parse:?}");
    let never = CheckFilterRequest { filter: json!({"data": {"/totl": {"gt": 1}}}).to_string(), event: None, ..question };
    let never = operations.check_filter(never).await?.into_inner();
    ensure!(never.warnings.iter().any(|warning| warning.never_matches && warning.nearest.as_deref() == Some("total")), "{never:?}");
    let refused = operations.check_filter(CheckFilterRequest { filter: "{".into(), ..CheckFilterRequest::default() }).await;
    ensure!(refused.as_ref().is_err_and(|status| status.code() == Code::InvalidArgument), "{refused:?}");

    let mut subscriptions = SubscriptionsClient::connect(world.control.url("")).await?;
    let subscription = Subscription {
        filters: vec![json!({"topic": "orders"}).to_string(), json!({"data": {"/totl": {"gt": 1}}}).to_string()],
        endpoint: Some(Endpoint { url: "http://127.0.0.1:9/hook".into(), ..Endpoint::default() }),
        ..Subscription::default()
    };
    let refused = subscriptions.create_subscription(subscription.clone()).await;
    ensure!(
        refused.as_ref().is_err_and(|status| status.code() == Code::InvalidArgument && status.message().contains("filter-never-matches")),
        "{refused:?}"
    );
    let forced = Subscription { allow_unknown: Some(true), ..subscription.clone() };
    ensure!(subscriptions.create_subscription(forced).await?.into_inner().allow_unknown == Some(true));
    let open = vec![json!({"topic": "orders"}).to_string(), json!({"data": {"/customer/nmae": {"eq": "x"}}}).to_string()];
    let warned = subscriptions.create_subscription(Subscription { filters: open, ..subscription }).await?.into_inner();
    ensure!(warned.warnings.len() == 1 && warned.warnings[0].nearest.as_deref() == Some("name"), "{warned:?}");
    Ok(())
}

#[tokio::test]
async fn filters_are_checked_by_a_verb() -> Result<()> {
    let world = with_orders().await?;
    let (control, data) = (world.control.url(""), world.data.url(""));
    let environment = [("POSTHORN_CONTROL_URL", control.as_str()), ("POSTHORN_DATA_URL", data.as_str())];
    let mut event = world.event("orders");
    event["amount"] = 12.into();
    let good = cli::run(&["filter", "check", "amount > 10", "--event", "-"], &environment, &event.to_string()).await?;
    ensure!(good.code == Some(0) && good.stdout.contains("matches") && good.stdout.contains("true"), "{good:?}");
    let json =
        cli::run(&["filter", "check", r#"{"sql": "amount > 10"}"#, "--event", "-", "-o", "json"], &environment, &event.to_string()).await?;
    ensure!(serde_json::from_str::<Value>(&json.stdout)?["matches"] == true, "{json:?}");
    let bare =
        cli::run(&["filter", "check", r#"{"data": {"/total": {"gt": 5}}}"#, "--event", "-"], &environment, r#"{"total": 6}"#).await?;
    ensure!(bare.code == Some(0) && bare.stdout.contains("true"), "{bare:?}");
    let parse = cli::run(&["filter", "check", "amount >"], &environment, "").await?;
    ensure!(parse.code == Some(1) && parse.stdout.contains("parse"), "{parse:?}");
    let never = cli::run(&["filter", "check", "--file", "-", "--topic", "orders"], &environment, "data: {/totl: {gt: 1}}").await?;
    ensure!(never.code == Some(1) && never.stdout.contains("never matches") && never.stdout.contains("total"), "{never:?}");
    ensure!(cli::run(&["filter", "check"], &environment, "").await?.code == Some(2));
    Ok(())
}
