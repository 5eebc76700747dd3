//! Tests of the way out, on the loopback.

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use reqwest::Method;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::clock::system;
use crate::serve::listen;
use crate::tasks::Tasks;

/// Of `localhost`, signed by itself, good for a hundred years; its key is no secret.
const CERTIFICATE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/src/connector/testdata/certificate.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/connector/testdata/key.pem");

fn connector(allow_private: bool, extra_roots: Option<&str>) -> Connector {
    let extra_roots = extra_roots.map(PathBuf::from);
    let options = ConnectorOptions { allow_private, extra_roots, ..ConnectorOptions::default() };
    Connector::new(&options, system()).unwrap()
}

fn local() -> (TcpListener, u16) {
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Answers every TLS connection with `hello` in the protocol that it likes best.
fn serve_tls(tasks: &Tasks) -> u16 {
    let (listener, port) = local();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_file(KEY).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tasks.spawn("tls", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn nothing_inside_the_walls_is_reached() {
    let (_listener, port) = local();
    let connector = connector(false, None);
    for host in ["127.0.0.1", "localhost", "[::1]", "::ffff:127.0.0.1", "0.0.0.0", "2130706433"] {
        let refused = connector.connect(host, port, Transport::Plain).await;
        assert!(matches!(refused, Err(ConnectError::Refused { .. })), "{host}: {refused:?}");
    }
}

/// The seam by which a name that leads elsewhere the second time gains nothing: what is connected
/// to are the very addresses that passed, and there is no second look.
#[tokio::test]
async fn of_a_name_only_the_addresses_that_pass_are_connected_to() {
    let (listener, port) = local();
    let allowed_networks = vec!["127.0.0.9/32".parse().unwrap(), "10.2.0.0/16".parse().unwrap()];
    let options = ConnectorOptions { allowed_networks, ..ConnectorOptions::default() };
    let connector = Connector::new(&options, system()).unwrap();
    let at = |text: &str| SocketAddr::new(text.parse().unwrap(), port);
    let told = ["127.0.0.1", "10.2.3.4", "::1", "::ffff:10.2.0.1", "10.3.0.1", "8.8.8.8"].map(at);
    let passed = connector.wall.pass("both.example", told).unwrap();
    assert_eq!(passed, ["10.2.3.4", "::ffff:10.2.0.1", "8.8.8.8"].map(at));
    for told in [vec![at("127.0.0.1"), at("169.254.169.254")], vec![at("::ffff:127.0.0.1")]] {
        let refused = connector.wall.pass("inside.example", told);
        assert!(matches!(refused, Err(ConnectError::Refused { .. })), "{refused:?}");
    }
    let refused = connector.connect("localhost", port, Transport::Plain).await;
    assert!(matches!(refused, Err(ConnectError::Refused { .. })), "{refused:?}");
    let own = TcpListener::bind(("127.0.0.9", 0)).await.unwrap();
    let own_port = own.local_addr().unwrap().port();
    connector.connect("127.0.0.9", own_port, Transport::Plain).await.unwrap();
    own.accept().await.unwrap();
    drop(listener);
}

#[tokio::test]
async fn an_operator_can_open_the_walls() {
    let (listener, port) = local();
    let connection = connector(true, None).connect("localhost", port, Transport::Plain).await;
    let Connection::Plain(stream) = connection.unwrap() else { panic!("plain was asked for") };
    assert!(stream.nodelay().unwrap());
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_closed_port_and_a_name_that_is_none_are_told_apart() {
    let (listener, port) = local();
    drop(listener);
    let connector = connector(true, None);
    let closed = connector.connect("127.0.0.1", port, Transport::Plain).await;
    assert!(matches!(closed, Err(ConnectError::Reach { .. })), "{closed:?}");
    let nobody = connector.connect("nobody.invalid", port, Transport::Plain).await;
    assert!(matches!(nobody, Err(ConnectError::Resolve { .. })), "{nobody:?}");
}

#[tokio::test]
async fn tls_is_spoken_with_those_whose_certificate_is_trusted() {
    let tasks = Tasks::new("test");
    let port = serve_tls(&tasks);
    let trusting = connector(true, Some(CERTIFICATE));
    for (transport, http2) in [(Transport::Tls, false), (Transport::TlsHttp2, true)] {
        let mut connection = trusting.connect("localhost", port, transport).await.unwrap();
        assert_eq!(connection.is_http2(), http2);
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
    }
    let by_address = trusting.connect("127.0.0.1", port, Transport::Tls).await;
    assert!(matches!(by_address, Err(ConnectError::Reach { .. })), "not the certificate's name");
    let by_text = connector(true, None).trusting(&std::fs::read_to_string(CERTIFICATE).unwrap());
    let connection = by_text.unwrap().connect("localhost", port, Transport::Tls).await;
    assert!(connection.is_ok(), "{connection:?}");
    let strange = connector(true, None).connect("localhost", port, Transport::Tls).await;
    assert!(matches!(strange, Err(ConnectError::Reach { .. })), "{strange:?}");
    tasks.abort();
}

#[test]
fn roots_that_are_none_are_refused() {
    let options = |path: &str| ConnectorOptions {
        extra_roots: Some(path.into()),
        ..ConnectorOptions::default()
    };
    let refused = |path| Connector::new(&options(path), system()).unwrap_err();
    assert!(matches!(refused(KEY), TlsError::Empty));
    assert!(matches!(refused("/nowhere/roots.pem"), TlsError::Pem(_)));
    let mut mistakes = Mistakes::default();
    options("/nowhere/roots.pem").check(&mut mistakes);
    assert_eq!(mistakes.iter().count(), 1);
    let (certificate, key) = (std::fs::read_to_string(CERTIFICATE), std::fs::read_to_string(KEY));
    let (certificate, key) = (certificate.unwrap(), key.unwrap());
    assert!(check_roots(&certificate).is_ok() && check_roots(&certificate.repeat(2)).is_ok());
    let torn = certificate.replace("-----END", "----END");
    let no_root = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "roots", &key, &torn, no_root, &(certificate.clone() + no_root)] {
        assert!(check_roots(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn the_http_client_keeps_the_same_walls() {
    let client = connector(false, None).client().unwrap();
    for url in ["http://127.0.0.1/", "http://0x7f.1/", "http://2130706433/", "http://[::1]:80/"] {
        let refused = client.request(Method::GET, url);
        assert!(matches!(refused, Err(ClientError::Refused(_))), "{url}: {refused:?}");
    }
    for url in ["", "file:///etc/passwd", "gopher://example.com/"] {
        assert!(matches!(client.request(Method::GET, url), Err(ClientError::Url)), "{url}");
    }
    let error = client.request(Method::GET, "http://localhost/").unwrap().send().await.unwrap_err();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    assert!(cause.to_string().contains("localhost is a private"), "{cause}");
    assert!(matches!(refusal(&error), Some(ConnectError::Refused { .. })));
    let gone = connector(true, None).client().unwrap().request(Method::GET, "http://127.0.0.1:9/");
    assert!(refusal(&gone.unwrap().send().await.unwrap_err()).is_none());
}

#[tokio::test]
async fn the_http_client_follows_no_redirect() {
    let (listener, port) = local();
    let router = Router::new().route("/", get(|| async { Redirect::to("http://10.0.0.1/") }));
    let tasks = Tasks::new("test");
    let stopping = tasks.stopping().cancelled_owned();
    let server = axum::serve(listener, router).with_graceful_shutdown(stopping);
    tasks.spawn("redirects", async move { server.await.unwrap() });

    let client = connector(true, None).client().unwrap();
    let url = format!("http://localhost:{port}/");
    let answer = client.request(Method::GET, &url).unwrap().send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 303);
    tasks.abort();
}
