//! Where deliveries must not go (I10): every spelling is refused when a subscription is made, and what a name leads to is checked
//! again at each connect. A small name server of our own changes its mind in between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use posthorn_tests::{Behaviour, Config, Posthorn, Receiver};
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::kit::{SOON, dead_letters, delivery, publish, subscribe, topic};

/// Addresses of this host, of private networks, of clouds' metadata, in every spelling that parsers take; and plain http.
const REFUSED: &[&str] = &[
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7F.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://0177.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.0.0.1:8443/",
    "https://１２７.０.０.１/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://%31%32%37.0.0.1/",
    "https:\\\\127.0.0.1\\",
    "https:127.0.0.1",
    "https:///127.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://0x0/",
    "https://10.1.2.3/",
    "https://167838211/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://3232235521/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://203.0.113.7/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "https://[::ffff:0:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::169.254.169.254]/",
    "https://[64:ff9b:1::808:808]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:0:808:808:0:0:80ff:fffe]/",
    "https://[fd00:ec2::254]/",
    "https://[fc00::1]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[100::1]/",
    "https://[4000::1]/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://ｌocalhost/",
    "https://a.localhost/",
    "https://a.localhost./",
    "https://a..example.com/",
    "http://8.8.8.8/",
];

/// What is no target at all.
const NO_TARGETS: &[&str] = &[
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "//example.com/",
    "/hook",
    "",
    "https://",
    "https://user:password@example.com/",
    "https://@example.com/",
    "https://example.com/#fragment",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://exam ple.com/",
    "https://example.com/\r\nx-injected: 1",
];

#[tokio::test]
async fn every_spelling_of_a_forbidden_target_is_refused_when_it_is_made() -> Result<()> {
    let posthorn = Posthorn::start(Config::default().set("delivery.allow_cidrs", json!([]))).await?;
    topic(&posthorn, "out", json!({})).await?;
    ensure!(REFUSED.len() >= 40, "{}", REFUSED.len());
    for url in REFUSED.iter().chain(NO_TARGETS) {
        let body = json!({"filters": [{"topic": "out"}], "endpoint": {"url": url}});
        let reply = posthorn.control().post("/v1/subscriptions", &body).await?;
        ensure!(reply.status == 422, "{url}: {} {}", reply.status, reply.text());
        let problem = reply.json()?;
        let at_url = problem["errors"].as_array().is_some_and(|errors| errors.iter().any(|error| error["pointer"] == "#/endpoint/url"));
        ensure!(at_url, "{url}: {problem}");
    }
    let made = posthorn.control().get("/v1/subscriptions").await?.expect(200)?;
    ensure!(made["items"].as_array().is_some_and(Vec::is_empty), "{made}");
    // The same at a change.
    let good = json!({"filters": [{"topic": "out"}], "endpoint": {"url": "https://example.com/hook"}});
    let made = posthorn.control().post("/v1/subscriptions", &good).await?.expect(201)?;
    let path = format!("/v1/subscriptions/{}", made["id"].as_str().context("an id")?);
    let mut bad = good;
    bad["endpoint"]["url"] = json!("https://169.254.169.254/latest/");
    let reply = posthorn.control().put(&path, &bad).await?;
    ensure!(reply.status == 422 && reply.text().contains("#/endpoint/url"), "{} {}", reply.status, reply.text());
    Ok(())
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_not_followed() -> Result<()> {
    let names = Names::start().await?;
    let allowed: SocketAddr = "127.0.0.2:0".parse()?;
    let receiver = Receiver::start_at(allowed).await?;
    let port = receiver.address().port();
    // The same port at an address that is not allowed.
    let forbidden = Receiver::start_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).await?;
    // Every attempt needs a new connection, and so a new look-up.
    receiver.on("/", Behaviour::OkThenClose);
    let posthorn = Posthorn::start(guarded(&names)).await?;
    topic(&posthorn, "moving", json!({})).await?;
    names.say(&[Ipv4Addr::new(127, 0, 0, 2)]);
    let url = format!("http://hook.posthorn.example.:{port}/");
    let subscription = subscribe(&posthorn, "moving", &url, json!({"retry": {"schedule": ["50ms"], "jitter": 0}})).await?;
    publish(&posthorn, "moving", "allowed").await?;
    receiver.wait_for("/", 1, SOON).await?;
    delivery(&posthorn, &subscription, "it is delivered", |item| item["event_id"] == "allowed" && item["status"] == "delivered").await?;
    ensure!(names.asked() > 0, "the test's name server was not asked");

    let elsewhere = [[127, 0, 0, 1], [169, 254, 169, 254], [10, 0, 0, 1], [0, 0, 0, 0], [100, 64, 0, 1]];
    for (number, address) in elsewhere.into_iter().enumerate() {
        names.say(&[address.into()]);
        let id = format!("forbidden-{number}");
        publish(&posthorn, "moving", &id).await?;
        let ended =
            delivery(&posthorn, &subscription, "it ends", |item| item["event_id"] == json!(id) && item["status"] == "dead_lettered")
                .await?;
        let attempts = ended["attempts"].as_array().context("attempts")?;
        ensure!(attempts.len() == 1 && attempts[0]["error"] == "egress_forbidden" && attempts[0]["status_code"].is_null(), "{ended}");
        let letters = dead_letters(&posthorn, &subscription, number + 1).await?;
        ensure!(letters.iter().all(|letter| letter["reason"] == "egress_forbidden"), "{letters:?}");
    }
    ensure!(forbidden.connections() == 0, "a forbidden address was connected to");

    // Of several addresses only the permitted one is used; and a name that comes back is delivered to.
    names.say(&[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)]);
    publish(&posthorn, "moving", "mixed").await?;
    delivery(&posthorn, &subscription, "it is delivered", |item| item["event_id"] == "mixed" && item["status"] == "delivered").await?;
    ensure!(forbidden.connections() == 0, "a forbidden address was connected to");
    Ok(())
}

#[tokio::test]
async fn redirects_are_not_followed() -> Result<()> {
    let names = Names::start().await?;
    let receiver = Receiver::start_at("127.0.0.2:0".parse()?).await?;
    let elsewhere = Receiver::start().await?;
    let posthorn = Posthorn::start(guarded(&names)).await?;
    topic(&posthorn, "moved", json!({})).await?;
    let targets = [elsewhere.url("/stolen"), receiver.url("/allowed-too"), "http://169.254.169.254/latest/".into(), "//127.0.0.1/".into()];
    for (number, target) in targets.into_iter().enumerate() {
        let path = format!("/moved-{number}");
        receiver.on(&path, Behaviour::Redirect(target));
        let subscription = subscribe(&posthorn, "moved", &receiver.url(&path), json!({"retry": {"schedule": []}})).await?;
        publish(&posthorn, "moved", &format!("m{number}")).await?;
        let ended = delivery(&posthorn, &subscription, "it ends", |item| item["status"] == "dead_lettered").await?;
        let attempt = &ended["attempts"][0];
        ensure!((&attempt["status_code"], &attempt["error"]) == (&json!(302), &json!(null)), "{ended}");
    }
    ensure!(elsewhere.connections() == 0 && receiver.tally("/allowed-too").total == 0, "a redirect was followed");
    Ok(())
}

/// Only 127.0.0.2 may be connected to, and names are asked of `names`.
fn guarded(names: &Names) -> Config {
    Config::default().set("delivery.allow_cidrs", json!(["127.0.0.2/32"])).set("delivery.dns_servers", json!([names.address.to_string()]))
}

/// A name server that gives every name the addresses it was told last, to be kept for no time at all.
struct Names {
    address: SocketAddr,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
    asked: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl Names {
    async fn start() -> Result<Self> {
        let socket = UdpSocket::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).await?;
        let address = socket.local_addr()?;
        let (addresses, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let serving = tokio::spawn(serve(socket, Arc::clone(&addresses), Arc::clone(&asked)));
        Ok(Self { address, addresses, asked, serving })
    }

    fn say(&self, addresses: &[Ipv4Addr]) {
        *self.addresses.lock() = addresses.to_vec();
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: UdpSocket, addresses: Arc<Mutex<Vec<Ipv4Addr>>>, asked: Arc<AtomicU64>) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query).await {
        let answer = answer(&query[..length], &addresses.lock());
        asked.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer {
            // Who asked may be gone.
            drop(socket.send_to(&answer, from).await);
        }
    }
}

/// The answer to a query of one question (RFC 1035 §4.1): addresses for A, nothing for all else.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += 1 + usize::from(query[end]);
    }
    let question = query.get(12..end + 5)?;
    let is_a = question[question.len() - 4..question.len() - 2] == [0, 1];
    let found: &[Ipv4Addr] = if is_a { addresses } else { &[] };
    let mut out = query[..2].to_vec();
    out.extend([0x84, 0x00, 0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    out.extend(question);
    for address in found {
        // The name by pointer, A, IN, no time to live, four bytes.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}
