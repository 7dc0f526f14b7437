//! The client over TLS: HTTP/1.1, HTTP/2 by ALPN, and certificates that are not trusted.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

type Identity = (Vec<CertificateDer<'static>>, rcgen::KeyPair);

/// The certificate that the pools of these tests trust.
pub(crate) static ROOTS: LazyLock<Identity> = LazyLock::new(identity);

fn identity() -> Identity {
    let made = rcgen::generate_simple_self_signed(vec!["hook.example".into(), "127.0.0.1".into()]).unwrap();
    (vec![made.cert.der().clone()], made.signing_key)
}

/// An endpoint that says which HTTP it was spoken to in.
async fn serve(identity: &Identity, alpn: &[&[u8]]) -> (u16, Arc<AtomicUsize>) {
    let key = PrivateKeyDer::try_from(identity.1.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.0.clone(), key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (port, connections) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(echo)).await);
            });
        }
    });
    (port, connections)
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = if request.version() == Version::HTTP_2 { "h2 " } else { "h1 " };
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::new([version.as_bytes(), &body].concat().into())))
}

#[test]
fn http_2_is_chosen_and_one_connection_shared() {
    local(async {
        let (port, connections) = serve(&ROOTS, &[b"h2", b"http/1.1"]).await;
        let (pool, url) = (pool(), format!("https://hook.example:{port}/x"));
        let all = futures_util::future::join_all((0..20).map(|_| post(&pool, &url, AMPLE))).await;
        for reply in all {
            assert_eq!(&reply.unwrap().body_head[..], b"h2 {\"a\":1}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn http_1_over_tls_is_kept() {
    local(async {
        let (port, connections) = serve(&ROOTS, &[b"http/1.1"]).await;
        let (pool, url) = (pool(), format!("https://127.0.0.1:{port}/x"));
        for _ in 0..3 {
            assert_eq!(&post(&pool, &url, AMPLE).await.unwrap().body_head[..], b"h1 {\"a\":1}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn certificates_that_are_not_trusted_or_not_its_own_are_refused() {
    local(async {
        let (port, _) = serve(&identity(), &[b"h2"]).await;
        let error = post(&pool(), &format!("https://hook.example:{port}/"), AMPLE).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Tls(_)) && !error.may_have_been_sent, "{error:?}");
        let (port, _) = serve(&ROOTS, &[b"h2"]).await;
        let error = post(&pool(), &format!("https://other.example:{port}/"), AMPLE).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Tls(_)), "{error:?}");
    });
}
