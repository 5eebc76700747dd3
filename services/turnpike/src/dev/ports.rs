//! Ports beside the two that people name: the next ones where they are free, else any.

use std::net::{SocketAddr, TcpListener};

use super::Dev;

/// Where everything is to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// The control plane.
    pub(super) control: SocketAddr,
    /// Its health and metrics.
    pub(super) control_admin: SocketAddr,
    /// The gateway.
    pub(super) gateway: SocketAddr,
    /// Its health and metrics.
    pub(super) gateway_admin: SocketAddr,
    /// The provider `echo`.
    pub(super) echo: SocketAddr,
    /// What `echo` has served.
    pub(super) served: SocketAddr,
}

impl Ports {
    /// The ports for these arguments.
    pub(super) fn of(dev: &Dev) -> Self {
        Self::choose(dev.control, dev.gateway, is_free)
    }

    fn choose(
        control: SocketAddr,
        gateway: SocketAddr,
        is_free: impl Fn(SocketAddr) -> bool,
    ) -> Self {
        let mut taken = vec![control, gateway];
        let mut beside = |address: SocketAddr, steps: u16| {
            let found = next(address, steps)
                .filter(|found| !taken.contains(found) && is_free(*found))
                .unwrap_or(any(address));
            taken.push(found);
            found
        };
        Self {
            control,
            control_admin: beside(control, 1),
            gateway,
            gateway_admin: beside(gateway, 1),
            echo: beside(gateway, 2),
            served: beside(gateway, 3),
        }
    }
}

/// The address some ports further if nobody listens there, else one with any port.
pub(crate) fn beside(address: SocketAddr, steps: u16) -> SocketAddr {
    next(address, steps).filter(|found| is_free(*found)).unwrap_or(any(address))
}

const fn any(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), 0)
}

/// The address some ports further; none beyond the last port, or where any port will do.
fn next(address: SocketAddr, steps: u16) -> Option<SocketAddr> {
    let port = address.port().checked_add(steps).filter(|_| address.port() > 0)?;
    Some(SocketAddr::new(address.ip(), port))
}

/// Whether a port can be listened on now.
fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(control: u16, gateway: u16, busy: &[u16]) -> [u16; 6] {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let is_free = |address: SocketAddr| !busy.contains(&address.port());
        let ports = Ports::choose(address(control), address(gateway), is_free);
        [
            ports.control,
            ports.control_admin,
            ports.gateway,
            ports.gateway_admin,
            ports.echo,
            ports.served,
        ]
        .map(|address| address.port())
    }

    #[test]
    fn admin_ports_stand_beside_and_never_in_the_way() {
        assert_eq!(choose(7070, 7080, &[]), [7070, 7071, 7080, 7081, 7082, 7083]);
        assert_eq!(choose(7070, 7080, &[7071, 7082]), [7070, 0, 7080, 7081, 0, 7083]);
        assert_eq!(choose(7070, 7071, &[]), [7070, 0, 7071, 7072, 7073, 7074]);
        assert_eq!(choose(7073, 7070, &[]), [7073, 7074, 7070, 7071, 7072, 0]);
        assert_eq!(choose(0, 0, &[]), [0; 6]);
        assert_eq!(choose(65_535, 65_533, &[]), [65_535, 0, 65_533, 65_534, 0, 0]);
    }
}
