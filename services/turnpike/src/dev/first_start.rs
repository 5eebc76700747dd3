//! What the first start of `turnpike dev` makes beyond that of any control plane: a model key.

use turnpike_control_plane::app::App;
use turnpike_control_plane::bootstrap::{self, FirstStart, Made, Shown};
use turnpike_control_plane::order;
use turnpike_domain::command::{Command, FreshSecret, KeyDraft};
use turnpike_domain::id::{KeyId, OrgId};
use turnpike_domain::secret::SecretKind;
use turnpike_runtime::entropy;
use turnpike_wire::seal::NONCE_BYTES;
use turnpike_wire::secret::{ENTROPY_BYTES, PlainSecret, mint};

use super::DevFailure;
use super::folder::{Folder, Kept};

/// The first organisation.
const ORGANISATION: &str = "default";
/// Its owner's address.
pub(super) const OWNER_EMAIL: &str = "owner@localhost";
/// The first model key.
const KEY: &str = "default";

/// The first organisation. Where it is not there yet, the steps of a first start that are missing
/// are taken. Every secret is in the folder before it works, so that a start that was cut short
/// loses none.
pub(super) async fn first_start(app: &App, folder: &Folder) -> Result<OrgId, DevFailure> {
    if let Some(org) = folder.read(Kept::OrgId)?.and_then(|id| id.parse().ok()) {
        return Ok(org);
    }
    let wanted =
        FirstStart { organisation: ORGANISATION.to_owned(), owner_email: OWNER_EMAIL.to_owned() };
    let hand_over = |what: Shown, secret: &str| {
        let kept = match what {
            Shown::OwnerPassword => Kept::OwnerPassword,
            Shown::ManagementToken => Kept::ManagementToken,
            Shown::JoinToken => Kept::JoinToken,
        };
        folder.keep(kept, secret).map_err(std::io::Error::other)
    };
    let made = bootstrap::first_start(app, &wanted, hand_over).await?;
    key(app, folder, &made).await?;
    folder.keep(Kept::OrgId, &made.org.to_string())?;
    Ok(made.org)
}

/// Makes the first model key, with the id and the secret of a start that was cut short if there was
/// one.
async fn key(app: &App, folder: &Folder, made: &Made) -> Result<(), DevFailure> {
    let id = folder.read(Kept::KeyId)?.and_then(|id| id.parse().ok());
    let id = id.unwrap_or(KeyId(entropy::id(app.clock.now())));
    if app.streams().organisation(made.org, |state| state.keys.contains_key(&id)).await? {
        return Ok(());
    }
    let secret = folder.read(Kept::Key)?.and_then(|secret| PlainSecret::read(&secret).ok());
    let secret = secret.unwrap_or_else(fresh);
    folder.keep(Kept::Key, secret.expose())?;
    folder.keep(Kept::KeyId, &id.to_string())?;
    let mut nonce = [0; NONCE_BYTES];
    entropy::fill(&mut nonce);
    let recoverable = app.keys.recoverable.seal(&nonce, secret.expose().as_bytes());
    let recoverable = recoverable.map_err(|error| DevFailure::Sealing(error.to_string()))?;
    let draft = Box::new(KeyDraft {
        name: KEY.into(),
        owner: Some(made.owner),
        plan: Some(made.plan),
        ..KeyDraft::default()
    });
    let secret = FreshSecret { stored: app.keys.peppers.stored(&secret), recoverable };
    order::organisation(app, made.org, Command::CreateKey { key: id, draft, secret }).await?;
    Ok(())
}

fn fresh() -> PlainSecret {
    let mut random = [0; ENTROPY_BYTES];
    entropy::fill(&mut random);
    mint(SecretKind::Model, &random)
}
