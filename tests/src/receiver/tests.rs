use http::Method;
use serde_json::json;

use super::*;
use crate::api::Api;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn counts_and_fails_as_told() {
    let receiver = Receiver::start().await.unwrap();
    receiver.on("/a", Behaviour::FailFirst { n: 1, status: 503 });
    receiver.on("/b", Behaviour::RetryAfter { status: 429, value: "7".into() });
    let api = Api::new(receiver.address());
    let mut statuses = Vec::new();
    for id in ["msg_1", "msg_1", "msg_2"] {
        let reply = api.send(Method::POST, "/a?v=2", &[("webhook-id", id)], "{}".into()).await.unwrap();
        statuses.push(reply.status.as_u16());
    }
    assert_eq!(statuses, [503, 200, 200]);
    let tally = receiver.tally("/a");
    assert_eq!((tally.total, tally.unique, tally.duplicate, tally.in_flight), (3, 2, 1, 0));
    assert_eq!(api.post("/b", &json!(1)).await.unwrap().headers["retry-after"], "7");
    let got = receiver.wait_for("/a", 3, SOON).await.unwrap();
    assert_eq!((got[0].query.as_str(), got[2].id()), ("v=2", "msg_2"));
}

#[tokio::test]
async fn broken_answers_are_broken() {
    let receiver = Receiver::start().await.unwrap();
    let api = Api::new(receiver.address());
    for (path, behaviour) in [("/r", Behaviour::Reset), ("/g", Behaviour::Garbage), ("/c", Behaviour::Close)] {
        receiver.on(path, behaviour);
        assert!(api.get(path).await.is_err(), "{path}");
        assert_eq!(receiver.tally(path).total, 1);
    }
    receiver.on("/i", Behaviour::Interim(3));
    assert_eq!(api.get("/i").await.unwrap().status, 200);
    receiver.on("/h", Behaviour::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(50), api.get("/h")).await.is_err());
}

#[tokio::test]
async fn signatures_and_events_are_checked_by_the_reference_libraries() {
    let receiver = Receiver::start().await.unwrap();
    let api = Api::new(receiver.address());
    let secret = new_secret().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the reference library checks against the real time")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let body = r#"{"a":1}"#;
    let signature = standardwebhooks::Webhook::new(&secret).unwrap().sign("msg_1", now as i64, body.as_bytes()).unwrap();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &now.to_string()),
        ("webhook-signature", &signature),
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "e1"),
        ("ce-type", "t"),
        ("ce-source", "/s"),
    ];
    api.send(Method::POST, "/hook", &headers, body.into()).await.unwrap();
    let structured = json!({"specversion": "1.0", "id": "e2", "type": "t", "source": "/s", "data": {"a": 1}});
    api.send(Method::POST, "/hook", &[("content-type", "application/cloudevents+json")], structured.to_string().into()).await.unwrap();
    let got = receiver.wait_for("/hook", 2, SOON).await.unwrap();
    got[0].verify(&secret).unwrap();
    assert!(got[0].verify(&new_secret().unwrap()).is_err());
    assert_eq!((got[0].event_id().unwrap(), got[1].event_id().unwrap()), ("e1".into(), "e2".into()));
}
