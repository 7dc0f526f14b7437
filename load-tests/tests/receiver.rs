//! The receiver as a process: it does what it is told, and counts what it took.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use posthorn_load::child::Child;
use posthorn_load::client::Client;
use posthorn_load::connection::Connection;
use posthorn_load::dial::{Protocol, Server};
use posthorn_load::mark::Mark;
use posthorn_load::{receiver::control, wall};
use serde_json::json;
use tempfile::TempDir;

struct Started {
    child: Child,
    door: Client,
    folder: TempDir,
}

async fn start(more: &[&str]) -> Result<Started> {
    let folder = tempfile::tempdir()?;
    let arguments: Vec<&str> = ["receiver"].iter().chain(more).copied().collect();
    let child = Child::start(Path::new(env!("CARGO_BIN_EXE_posthorn-load")), &arguments, &folder.path().join("log")).await?;
    let door = Client::new(child.doors.data);
    Ok(Started { child, door, folder })
}

impl Started {
    async fn post(&self, path: &str, number: Option<u64>, body: String) -> Result<(StatusCode, usize)> {
        let mut request = Request::post(path).header("host", self.child.doors.data.to_string());
        if let Some(number) = number {
            request = request.header("ce-id", Mark { run: 1, number, due: wall::micros() }.to_string());
        }
        let answer = self.door.send(request.body(Full::new(Bytes::from(body)))?).await?;
        Ok((answer.status(), answer.body().len()))
    }

    async fn told(&self, group: &str, behaviour: serde_json::Value, number: u64) -> Result<(StatusCode, usize)> {
        control::behave(&self.door, group, &behaviour).await?;
        self.post(&format!("/{group}/0"), Some(number), "{}".to_owned()).await
    }
}

#[tokio::test]
async fn groups_behave_as_told_and_what_they_took_is_counted_once() -> Result<()> {
    let receiver = start(&[]).await?;
    assert_eq!(receiver.post("/ok/0", Some(0), "{}".to_owned()).await?, (StatusCode::OK, 0));
    assert_eq!(receiver.post("/ok/0", Some(0), "{}".to_owned()).await?.0, StatusCode::OK);
    assert_eq!(
        receiver.told("slow", json!({"status": 201, "delay_ms": 5, "body": 100, "slow_body": "20ms"}), 1).await?,
        (StatusCode::CREATED, 100)
    );
    assert_eq!(receiver.told("bad", json!({"status": 500}), 2).await?.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(receiver.told("hangs", json!({"hang": 1, "hang_for": "10ms"}), 3).await?.0, StatusCode::SERVICE_UNAVAILABLE);
    let reset = format!("{:#}", receiver.told("resets", json!({"reset": 1}), 4).await.unwrap_err());
    assert!(reset.contains("reset"), "{reset}");
    let refused = control::behave(&receiver.door, "ok", &json!({"colour": "red"})).await.unwrap_err();
    assert!(format!("{refused:#}").contains("colour: is not known"), "{refused:#}");
    let report = control::report(&receiver.door, 1).await?;
    let counts = |group: &str| report.groups.get(group).map(|g| (g.unique, g.repeated, g.refused));
    assert_eq!((counts("ok"), counts("slow")), (Some((1, 1, 0)), Some((1, 0, 0))));
    assert_eq!((counts("bad"), counts("hangs"), counts("resets")), (Some((0, 0, 1)), Some((0, 0, 1)), Some((0, 0, 1))));
    assert_eq!(control::count(&receiver.door, 1, &["ok".to_owned(), "slow".to_owned()]).await?, 2);
    control::forget(&receiver.door, 1).await?;
    assert_eq!(control::count(&receiver.door, 1, &[]).await?, 0);
    assert!(control::status(&receiver.door).await?.connections >= 1);
    Ok(())
}

#[tokio::test]
async fn marks_are_found_in_bodies_too_and_other_paths_are_no_deliveries() -> Result<()> {
    let receiver = start(&[]).await?;
    let mark = |number| Mark { run: 7, number, due: wall::micros() };
    receiver.post("/batch/2", None, format!("[{{\"id\":\"{}\"}},{{\"id\":\"{}\"}}]", mark(0), mark(1))).await?;
    let report = control::report(&receiver.door, 7).await?;
    assert_eq!(report.groups["batch"].unique, 2);
    assert_eq!(receiver.post("/_/nothing", None, String::new()).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn tls_doors_and_more_hosts_are_there_when_asked_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = start(&["--hosts", "2", "--tls-folder", &folder.path().display().to_string()]).await?;
    let (tls, h2) = (receiver.child.doors.tls.unwrap(), receiver.child.doors.tls_h2.unwrap());
    assert!(folder.path().join("ca.pem").is_file() && receiver.folder.path().join("log").is_file());
    for (address, protocol, host) in [(tls, Protocol::H1, "127.0.0.2"), (h2, Protocol::H2, "127.0.0.1")] {
        let url = format!("https://{host}:{}", address.port()).parse()?;
        let server = Arc::new(Server::of(&url, protocol, Some(&folder.path().join("ca.pem")))?);
        let id = Mark { run: 9, number: u64::from(host == "127.0.0.2"), due: wall::micros() }.to_string();
        let request = Request::post(server.uri("/ok/0")?).header("ce-id", id);
        let request = if protocol == Protocol::H1 { request.header("host", server.authority()) } else { request };
        assert_eq!(Connection::new(server).send(request.body(Full::default())?).await?, StatusCode::OK);
    }
    assert_eq!(control::count(&receiver.door, 9, &[]).await?, 2);
    Ok(())
}
