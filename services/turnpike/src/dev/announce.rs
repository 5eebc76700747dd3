//! What a start says: for people where to go and what to try, for programs one line.

use serde::Serialize;
use turnpike_domain::state::Organisation;

use super::DevFailure;
use super::first_start::OWNER_EMAIL;
use super::folder::{Folder, Kept};
use super::house::{House, url};
use crate::cmd::key;
use crate::failure::Failure;
use crate::output::Output;

/// Where everything answers, and what is shown once: null from the second start on.
#[derive(Debug, Serialize)]
pub(super) struct Announcement {
    control_url: String,
    gateway_url: String,
    console_url: String,
    echo_url: String,
    control_admin_url: String,
    gateway_admin_url: String,
    org_id: String,
    management_token: Option<String>,
    key: Option<String>,
    key_id: Option<String>,
    owner_email: Option<String>,
    owner_password: Option<String>,
}

impl Announcement {
    /// What is to be said of a house.
    pub(super) async fn of(house: &House, folder: &Folder) -> Result<Self, DevFailure> {
        let is_owner = |state: &Organisation| {
            state.members.values().any(|member| &*member.email == OWNER_EMAIL)
        };
        let is_there = house.control_plane.app.streams().organisation(house.org, is_owner).await?;
        let control_url = url(house.control_plane.address);
        Ok(Self {
            gateway_url: url(house.gateway.gateway_addr),
            // The console stands at the root of the control plane.
            console_url: control_url.clone(),
            control_url,
            echo_url: url(house.echo_address),
            control_admin_url: url(house.control_plane.admin_address),
            gateway_admin_url: url(house.gateway.admin_addr),
            org_id: house.org.to_string(),
            management_token: folder.read(Kept::ManagementToken)?,
            key: folder.read(Kept::Key)?,
            key_id: folder.read(Kept::KeyId)?,
            owner_email: is_there.then(|| OWNER_EMAIL.to_owned()),
            owner_password: folder.read(Kept::OwnerPassword)?,
        })
    }

    /// The model key, if it was not shown before.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Says it.
    pub(super) fn print(&self, output: Output) -> Result<(), Failure> {
        if !output.json {
            return output.line(&self.told());
        }
        let line = serde_json::to_string(self).map_err(std::io::Error::other);
        output.line(&line.map_err(Failure::io("the announcement cannot be written"))?)
    }

    fn told(&self) -> String {
        let owner = self.owner_email.as_deref().unwrap_or("-");
        let mut lines = vec![
            "Turnpike is ready.".to_owned(),
            String::new(),
            format!("  console        {}", self.console_url),
            format!("  control plane  {}   health {}", self.control_url, self.control_admin_url),
            format!("  gateway        {}   health {}", self.gateway_url, self.gateway_admin_url),
            format!("  provider echo  {}", self.echo_url),
            format!("  organisation   {}", self.org_id),
        ];
        let shown = [
            ("owner", self.owner_password.as_deref().map(|word| format!("{owner} / {word}"))),
            ("token", self.management_token.clone()),
            ("key", self.key.clone()),
        ];
        if shown.iter().any(|(_, secret)| secret.is_some()) {
            lines.push(String::new());
            lines.push("Shown this once, keep them now:".to_owned());
        }
        for (name, secret) in shown {
            lines.extend(secret.map(|secret| format!("  {name:<13}  {secret}")));
        }
        lines.push(key::example(&self.gateway_url, self.key()));
        lines.push(String::new());
        lines.push("Use the client:".to_owned());
        lines.push(format!("  export TURNPIKE_URL={}", self.control_url));
        let token = self.management_token.as_deref().unwrap_or("…");
        lines.push(format!("  export TURNPIKE_TOKEN={token}"));
        lines.push(format!("  {} key list", program()));
        lines.join("\n")
    }
}

/// What this program was called by: whoever has it in no folder of the `PATH` can call it so again.
fn program() -> String {
    let called = std::env::args_os().next().filter(|called| !called.is_empty());
    called.map_or("turnpike".to_owned(), |called| called.to_string_lossy().into_owned())
}
