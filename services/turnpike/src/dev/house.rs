//! The parts of the house in one process: started in the order of their needs, ended in reverse.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use turnpike_bus::local::LocalBus;
use turnpike_bus::nats::BusAddress;
use turnpike_bus::seam::Bus;
use turnpike_control_plane::config::{ControlPlaneOptions, KeyOptions};
use turnpike_control_plane::run as control_plane;
use turnpike_domain::id::OrgId;
use turnpike_gateway::config as gateway_config;
use turnpike_gateway::run as gateway;
use turnpike_projector::config::ProjectorOptions;
use turnpike_projector::run as projector;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::metrics::Metrics;
use turnpike_store::embedded::Embedded;
use turnpike_store::kv::Kv;

use super::folder::{Folder, Kept};
use super::keys::{Keys, secret};
use super::ports::Ports;
use super::{Dev, DevFailure, catalogue, first_start};
use crate::echo::{self, Echo, EchoOptions};

/// The gateway's name.
const GATEWAY: &str = "dev";

/// All parts, running.
pub(super) struct House {
    /// The control plane.
    pub(super) control_plane: control_plane::Running,
    /// The gateway.
    pub(super) gateway: gateway::Running,
    /// Where the provider `echo` answers.
    pub(super) echo_address: SocketAddr,
    /// The first organisation.
    pub(super) org: OrgId,
    /// The time.
    pub(super) clock: SharedClock,
    projector: projector::Running,
    echo: Echo,
    stop_echo: CancellationToken,
}

impl House {
    /// Starts everything. `stop` ends the gateway; the rest ends with [`Self::end`].
    pub(super) async fn start(
        dev: &Dev,
        clock: SharedClock,
        stop: CancellationToken,
    ) -> Result<(Folder, Self), DevFailure> {
        let folder = Folder::new(&dev.data);
        // The store's lock is the folder's lock: whoever has it may go on.
        let kv: Arc<dyn Kv> = Arc::new(Embedded::open(&folder.store())?);
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new(clock.clone()));
        let (keys, ports) = (Keys::open(&folder)?, Ports::of(dev));
        let stop_echo = CancellationToken::new();
        let options = EchoOptions {
            listen: ports.echo,
            served: ports.served,
            scripted: false,
            clock: clock.clone(),
        };
        let echo = echo::serve(options, stop_echo.clone()).await?;
        let options = control_options(&keys, ports);
        let control_plane = control_plane::run(control_plane::Parts {
            kv: Arc::clone(&kv),
            bus: Arc::clone(&bus),
            clock: clock.clone(),
            options,
        });
        let control_plane = control_plane.await?;
        let org = first_start::first_start(&control_plane.app, &folder).await?;
        catalogue::offer(&control_plane.app, &url(echo.address)).await?;
        let projector = projector::run(projector::Parts {
            kv,
            bus: Arc::clone(&bus),
            clock: clock.clone(),
            options: ProjectorOptions::default(),
            metrics: Metrics::new(),
        });
        let config = gateway_options(&folder, &keys, ports, control_plane.address)?;
        let gateway = gateway::Parts { bus, clock: clock.clone(), config, stop };
        let gateway = gateway::run(gateway).await?;
        let echo_address = echo.address;
        let house =
            Self { control_plane, gateway, echo_address, org, clock, projector, echo, stop_echo };
        Ok((folder, house))
    }

    /// Completes once leases and permits are granted.
    pub(super) async fn budgets_are_answered(&self) {
        self.projector.answers_for(self.org).await;
    }

    /// Ends everything: requests first, then their records, then what they need.
    pub(super) async fn end(self) {
        self.gateway.join().await;
        tracing::info!("the gateway has ended");
        self.projector.stop().await;
        tracing::info!("the projector has ended");
        self.control_plane.stop().await;
        tracing::info!("the control plane has ended");
        self.stop_echo.cancel();
        self.echo.finished().await;
        tracing::info!("the provider echo has ended");
    }
}

/// An address as a URL, without a path.
pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn control_options(keys: &Keys, ports: Ports) -> ControlPlaneOptions {
    ControlPlaneOptions {
        listen: ports.control,
        admin_listen: ports.control_admin,
        bus: BusAddress::Local,
        public_url: url(ports.control),
        // As for the gateway.
        allow_private: true,
        notice_ms: 0,
        keys: KeyOptions {
            peppers: keys.peppers.clone(),
            provider_sealing: keys.provider_sealing.clone(),
            vault_sealing: keys.vault_sealing.clone(),
            signing: keys.signing.clone(),
            sign_with: 0,
        },
        ..ControlPlaneOptions::default()
    }
}

fn gateway_options(
    folder: &Folder,
    keys: &Keys,
    ports: Ports,
    control: SocketAddr,
) -> Result<gateway_config::Config, DevFailure> {
    let join_token = secret(folder.read(Kept::JoinToken)?.unwrap_or_default());
    Ok(gateway_config::Config {
        name: GATEWAY.to_owned(),
        data: folder.gateway(),
        admin: ports.gateway_admin,
        serve: gateway_config::ServeOptions {
            listen: ports.gateway,
            // `echo` and the models on this machine stand inside the walls.
            allow_private: true,
            notice_ms: 0,
            ..gateway_config::ServeOptions::default()
        },
        control: gateway_config::ControlOptions { url: url(control), join_token },
        bus: BusAddress::Local,
        keys: gateway_config::KeyOptions {
            peppers: keys.peppers.clone(),
            provider_sealing: keys.provider_sealing.clone(),
        },
        ..gateway_config::Config::default()
    })
}
