//! A whole gateway on loopback, with a control plane in process.

use std::net::Ipv4Addr;

use secrecy::SecretString;
use turnpike_bus::local::LocalBus;
use turnpike_bus::nats::BusAddress;
use turnpike_domain::secret::SecretKind;
use turnpike_runtime::clock::system;
use turnpike_runtime::config::Secret;
use turnpike_wire::secret::mint;
use turnpike_wire::sign::SigningKey;

use super::*;
use crate::fake::{Fake, GATEWAY, ORG, created, secret};
use crate::mirror::Disk;

/// Longer than any step takes on a busy machine.
const PATIENCE_MS: u64 = 30_000;

fn config(data: &tempfile::TempDir) -> Config {
    let mut config = Config { data: data.path().to_owned(), cores: 2, ..Config::default() };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (config.admin, config.serve.listen) = (any, any);
    config.bus = BusAddress::Local;
    let hidden = |text: String| Secret::from(SecretString::from(text));
    config.keys.peppers = hidden(format!("1:{}", "07".repeat(32)));
    config.keys.provider_sealing = hidden(format!("1:{}", "08".repeat(32)));
    config.control.join_token = hidden(mint(SecretKind::Gateway, &[5; 48]).expose().to_owned());
    config
}

async fn get(address: SocketAddr, path: &str, key: &str) -> u16 {
    let connector = ConnectorOptions { allow_private: true, ..ConnectorOptions::default() };
    let client = Connector::new(&connector, system()).unwrap().client().unwrap();
    let request = client.request(reqwest::Method::GET, &format!("http://{address}{path}"));
    request.unwrap().bearer_auth(key).send().await.unwrap().status().as_u16()
}

async fn begin(fake: &Fake, bus: &Arc<dyn Bus>, data: &tempfile::TempDir) -> Running {
    let (config, clock, stop) = (config(data), system(), CancellationToken::new());
    let folder = Folder::open(&config.data).unwrap();
    let loaded = load(&config.data, &config.control.join_token);
    let parts = Parts { bus: Arc::clone(bus), clock, config, stop };
    start(parts, folder, loaded, Arc::new(fake.clone())).await.unwrap()
}

#[tokio::test]
async fn a_gateway_starts_serves_stops_and_starts_again_without_its_control_plane() {
    let (fake, clock, data) = (Fake::new(), system(), tempfile::tempdir().unwrap());
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new(Arc::clone(&clock)));
    fake.commit(ORG, created(1));
    let key = secret(1, 0);

    // Without a mirror on disk it opens its port once it has caught up.
    let beats = async {
        loop {
            fake.beat(&*bus, clock.now()).await;
            clock.sleep(100).await;
        }
    };
    let running = tokio::select! {
        running = begin(&fake, &bus, &data) => running,
        () = beats => unreachable!("beats never end"),
    };
    assert_eq!(running.id, GATEWAY);
    assert!(Folder::open(data.path()).is_err(), "the folder is in use");
    assert_eq!(get(running.admin_addr, "/healthz/ready", "").await, 200);
    assert_eq!(get(running.gateway_addr, "/v1/models", key.expose()).await, 200);
    assert_eq!(get(running.gateway_addr, "/v1/models", secret(2, 0).expose()).await, 401);
    running.stop.cancel();
    assert!(deadline(&*clock, PATIENCE_MS, running.join()).await.is_some());

    fake.set_unreachable(true);
    let running = begin(&fake, &bus, &data).await;
    assert_eq!(running.id, GATEWAY, "it knows who it is");
    assert!(deadline(&*clock, PATIENCE_MS, running.probes.ready()).await.is_some());
    assert_eq!(get(running.admin_addr, "/healthz/startup", "").await, 200);
    assert_eq!(get(running.gateway_addr, "/v1/models", key.expose()).await, 200);
    running.stop.cancel();
    assert!(deadline(&*clock, PATIENCE_MS, running.join()).await.is_some());
    // Nobody books here: the lists of models that were asked for wait for the next start.
    let spool = data.path().join("spool").join(GATEWAY.to_string());
    let older = crate::lane::take_over_all(&spool, 1 << 20).unwrap();
    assert_eq!(older.iter().map(|epoch| epoch.unbooked()).sum::<u64>(), 2);
}

#[test]
fn a_gateway_is_known_by_its_disk_or_by_the_choice_of_its_operator() {
    let data = tempfile::tempdir().unwrap();
    let other = GatewayId(GATEWAY.0 + 1);
    let plain = config(&data);
    let chosen = |id: GatewayId| Config { id: Some(id.to_string()), ..plain.clone() };
    assert_eq!(known_as(&plain).unwrap(), None);
    assert_eq!(known_as(&chosen(other)).unwrap(), Some(other));

    let key = SigningKey::from_seed(&[7; 32]).verifying_key();
    let joined = Joined { gateway: GATEWAY, org: None, signers: key.into() };
    let disk = Disk::open(&plain.data, &plain.control.join_token, joined).unwrap();
    disk.remember(Default::default()).unwrap();
    assert_eq!(known_as(&plain).unwrap(), Some(GATEWAY));
    assert_eq!(known_as(&chosen(GATEWAY)).unwrap(), Some(GATEWAY));
    let refused = known_as(&chosen(other)).unwrap_err().to_string();
    assert!(refused.contains(&other.to_string()), "{refused}");
}
