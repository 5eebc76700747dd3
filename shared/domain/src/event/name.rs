//! The names of events.

use super::Event;

impl Event {
    /// The event's name, as it stands in subjects, audit entries and schemas.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OrgCreated { .. } => "OrgCreated",
            Self::OrgSettingsChanged { .. } => "OrgSettingsChanged",
            Self::MemberInvited { .. } => "MemberInvited",
            Self::MemberJoined { .. } => "MemberJoined",
            Self::MemberRoleChanged { .. } => "MemberRoleChanged",
            Self::MemberRemoved { .. } => "MemberRemoved",
            Self::ProjectCreated { .. } => "ProjectCreated",
            Self::ProjectChanged { .. } => "ProjectChanged",
            Self::ProjectDeleted { .. } => "ProjectDeleted",
            Self::KeyCreated { .. } => "KeyCreated",
            Self::KeyImported { .. } => "KeyImported",
            Self::KeyMigrated { .. } => "KeyMigrated",
            Self::KeyChanged { .. } => "KeyChanged",
            Self::KeyRotated { .. } => "KeyRotated",
            Self::KeyDisabled { .. } => "KeyDisabled",
            Self::KeyEnabled { .. } => "KeyEnabled",
            Self::KeyRevoked { .. } => "KeyRevoked",
            Self::KeyActivated { .. } => "KeyActivated",
            Self::KeyDeleted { .. } => "KeyDeleted",
            Self::SecretRevealed { .. } => "SecretRevealed",
            Self::EphemeralIssued { .. } => "EphemeralIssued",
            Self::EphemeralRevoked { .. } => "EphemeralRevoked",
            Self::TokenCreated { .. } => "TokenCreated",
            Self::TokenDeleted { .. } => "TokenDeleted",
            Self::PlanAssigned { .. } => "PlanAssigned",
            Self::QuotaHit { .. } => "QuotaHit",
            Self::AlertRaised { .. } => "AlertRaised",
            Self::WalletToppedUp { .. } => "WalletToppedUp",
            Self::WalletExhausted { .. } => "WalletExhausted",
            Self::WalletRestored { .. } => "WalletRestored",
            Self::GatewayJoined { .. } => "GatewayJoined",
            Self::GatewayLeft { .. } => "GatewayLeft",
            Self::GatewayFenced { .. } => "GatewayFenced",
            Self::LeaseAbandoned { .. } => "LeaseAbandoned",
            Self::ProviderChanged { .. } => "ProviderChanged",
            Self::McpServerChanged { .. } => "McpServerChanged",
            Self::PlanChanged { .. } => "PlanChanged",
            Self::ModelPriced { .. } => "ModelPriced",
        }
    }
}
