//! Which topics belong to which feed, and which calls to which server.

use turnpike_domain::id::OrgId;

use crate::seam::{Feed, Serve, Service, Topic};

/// A kind of topic; each is one log of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Events,
    Heartbeat,
    Spend,
    Booked,
    Receipts,
    Recall,
    Ledger,
}

impl Family {
    /// Whether messages stay readable after they were delivered.
    pub(crate) const fn kept(self) -> bool {
        match self {
            Self::Events | Self::Spend | Self::Ledger => true,
            Self::Heartbeat | Self::Booked | Self::Receipts | Self::Recall => false,
        }
    }
}

impl Topic {
    pub(crate) const fn family(&self) -> Family {
        match self {
            Self::Events { .. } => Family::Events,
            Self::Heartbeat { .. } => Family::Heartbeat,
            Self::Spend { .. } => Family::Spend,
            Self::Booked { .. } => Family::Booked,
            Self::Receipts { .. } => Family::Receipts,
            Self::Recall { .. } => Family::Recall,
            Self::Ledger { .. } => Family::Ledger,
        }
    }
}

impl Feed {
    pub(crate) const fn family(&self) -> Family {
        match self {
            Self::Events(_) => Family::Events,
            Self::Heartbeat(_) => Family::Heartbeat,
            Self::Spend(_) => Family::Spend,
            Self::Booked(..) => Family::Booked,
            Self::Receipts(_) => Family::Receipts,
            Self::Recall(_) => Family::Recall,
            Self::Ledger(_) => Family::Ledger,
        }
    }

    /// Whether it is the whole of its family, so that its places have no holes.
    #[cfg(feature = "nats")]
    pub(crate) const fn is_whole(&self) -> bool {
        match self {
            Self::Events(org)
            | Self::Heartbeat(org)
            | Self::Spend(org)
            | Self::Receipts(org)
            | Self::Recall(org)
            | Self::Ledger(org) => org.is_none(),
            Self::Booked(..) => false,
        }
    }

    /// Whether messages of `topic` are yielded.
    pub(crate) fn holds(&self, topic: &Topic) -> bool {
        match (self, topic) {
            (Self::Events(wanted), Topic::Events { org, .. })
            | (Self::Heartbeat(wanted), Topic::Heartbeat { org })
            | (Self::Spend(wanted), Topic::Spend { org, .. })
            | (Self::Receipts(wanted), Topic::Receipts { org, .. })
            | (Self::Recall(wanted), Topic::Recall { org })
            | (Self::Ledger(wanted), Topic::Ledger { org, .. }) => is_among(*wanted, *org),
            (Self::Booked(wanted, reader), Topic::Booked { org, gateway }) => {
                is_among(*wanted, *org) && reader == gateway
            }
            (
                Self::Events(_)
                | Self::Heartbeat(_)
                | Self::Spend(_)
                | Self::Booked(..)
                | Self::Receipts(_)
                | Self::Recall(_)
                | Self::Ledger(_),
                _,
            ) => false,
        }
    }
}

impl Serve {
    /// Whether a call to `service` comes here.
    pub(crate) fn takes(&self, service: &Service) -> bool {
        match (self, service) {
            (Self::Authority(wanted), Service::Authority { org, .. })
            | (Self::Rates(wanted), Service::Rates { org }) => is_among(*wanted, *org),
            (Self::Authority(_), Service::Rates { .. })
            | (Self::Rates(_), Service::Authority { .. }) => false,
        }
    }
}

fn is_among(wanted: Option<OrgId>, org: OrgId) -> bool {
    wanted.is_none_or(|wanted| wanted == org)
}
