//! The mirror on the local disk, so that a gateway can start while the control plane is away.
//!
//! `DATA/mirror/` holds one file a stream in the form of a snapshot, and `identity`, which says who
//! this gateway is and up to when all of it was fresh. Everything is signed with a key that is made
//! of the join token: a file that was changed, or is of another gateway, is not read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use turnpike_bus::seam::BoxFuture;
use turnpike_domain::id::{GatewayId, IncarnationId, OrgId};
use turnpike_domain::state::{Organisation, Platform};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::config::Secret;
use turnpike_runtime::tasks;
use turnpike_wire::form;
use turnpike_wire::record::Hash;
use turnpike_wire::sign::{NotSigned, Signed, Signers, SigningKey, VerifyingKey};
use turnpike_wire::snapshot::{self, Assembly, Snapshot, Splitter, Taken, framed};

use super::world::World;
use crate::upstairs::Joined;

/// The folder within the data folder, and the file that speaks for the others.
const FOLDER: &str = "mirror";
const IDENTITY: &str = "identity";
/// What a stream's file ends with.
const SUFFIX: &str = ".snapshot";
/// What the signing key is made of, beside the join token.
const LABEL: &[u8] = b"turnpike gateway disk v1\0";

/// The folder of one gateway.
pub(crate) struct Disk {
    folder: PathBuf,
    key: SigningKey,
    joined: Joined,
    /// The head up to which each stream is saved, by its hash: a seq may come again.
    saved: BTreeMap<OrgId, Hash>,
    incarnation: Option<IncarnationId>,
}

/// What is being written.
pub(crate) type Saving = BoxFuture<'static, io::Result<Saved>>;

/// What was written: up to which seq of each stream.
pub(crate) struct Saved {
    incarnation: IncarnationId,
    heads: BTreeMap<OrgId, Hash>,
}

/// What was found on the disk.
pub(crate) struct Loaded {
    pub(crate) joined: Joined,
    pub(crate) times: Times,
    pub(crate) streams: Vec<Snapshot>,
}

/// How old the mirror is, told so that no two machines' days are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// The control plane's time up to which the streams were fresh.
    pub(crate) fresh_at: Timestamp,
    /// The mirror's time when it was saved, and what this machine's day said then.
    pub(crate) mirror: Timestamp,
    pub(crate) machine: Timestamp,
}

struct Identity {
    gateway: GatewayId,
    org: Option<OrgId>,
    /// The control plane's public keys.
    signers: Vec<[u8; 32]>,
    fresh_at: Timestamp,
    mirror: Timestamp,
    machine: Timestamp,
}

// 3 was one key; a gateway that finds it learns all of them when it joins.
turnpike_wire::form!(Identity {
    1 gateway,
    2 org,
    4 fresh_at,
    5 mirror,
    6 machine,
    7 signers [default],
});

enum Stream {
    Organisation(Box<Organisation>),
    Platform(Box<Platform>),
}

impl Disk {
    /// The mirror's folder in `data`, for the gateway with this join token.
    pub(crate) fn open(data: &Path, token: &Secret, joined: Joined) -> io::Result<Self> {
        let folder = data.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let key = signing_key(token);
        Ok(Self { folder, key, joined, saved: BTreeMap::new(), incarnation: None })
    }

    /// Writes who this gateway is, and how old what is on the disk is.
    pub(crate) fn remember(&self, times: Times) -> io::Result<()> {
        write_file(&self.folder.join(IDENTITY), &self.identity(times))
    }

    /// Writes the streams that have changed, then the time up to which all were fresh. All is taken
    /// from the world now, and written without it: the mirror goes on meanwhile. [`Self::saved`]
    /// must hear what was written. `None`: there is nothing to write.
    pub(crate) fn save(&mut self, world: &World) -> Option<Saving> {
        let times = world.times();
        let incarnation = world.incarnation()?;
        if self.incarnation.replace(incarnation) != Some(incarnation) {
            self.saved.clear();
        }
        let mut changed = Vec::new();
        let mut heads = BTreeMap::new();
        for org in std::iter::once(OrgId::PLATFORM).chain(world.orgs()) {
            let hash = world.head(org).hash;
            heads.insert(org, hash);
            if self.saved.get(&org) == Some(&hash) {
                continue;
            }
            changed.extend(match world.organisation(org) {
                Some(state) => Some(Stream::Organisation(Box::new(state.clone()))),
                None if org == OrgId::PLATFORM => {
                    Some(Stream::Platform(Box::new(world.platform().clone())))
                }
                None => None,
            });
        }
        let (folder, key, taken) =
            (self.folder.clone(), self.key.clone(), Taken { incarnation, at: times.fresh_at });
        let identity = self.identity(times);
        let gone: Vec<OrgId> =
            self.saved.keys().filter(|org| !heads.contains_key(org)).copied().collect();
        Some(Box::pin(async move {
            let written = tasks::blocking("save mirror", move || {
                for stream in &changed {
                    write_stream(&folder, stream, taken, &key)?;
                }
                for org in gone {
                    std::fs::remove_file(path(&folder, org))?;
                }
                write_file(&folder.join(IDENTITY), &identity)
            });
            written.await.map_err(io::Error::other)??;
            Ok(Saved { incarnation, heads })
        }))
    }

    /// This was written.
    pub(crate) fn saved(&mut self, saved: Saved) {
        // Another life may have begun meanwhile, whose streams are all to be written.
        if self.incarnation == Some(saved.incarnation) {
            self.saved = saved.heads;
        }
    }

    /// The keys that are written from the next time on.
    pub(crate) fn set_signers(&mut self, signers: Signers) {
        self.joined.signers = signers;
    }

    fn identity(&self, times: Times) -> Vec<u8> {
        let Joined { gateway, org, ref signers } = self.joined;
        let Times { fresh_at, mirror, machine } = times;
        let signers = signers.keys().map(VerifyingKey::to_bytes).collect();
        let body = form::encode(&Identity { gateway, org, signers, fresh_at, mirror, machine });
        let signature = self.key.sign(Signed::Snapshot, &body);
        [&signature[..], &body].concat()
    }
}

impl Times {
    /// The mirror's time when this machine's day says `now`: as much later as this machine says.
    /// `None` if the machine's day was set back: nobody knows how much later it is.
    pub(crate) fn mirror_at(&self, now: Timestamp) -> Option<Timestamp> {
        (now >= self.machine).then(|| self.mirror.plus_ms(now.since(self.machine)))
    }
}

/// What an earlier run has saved in `data`; `None` if there is nothing that can be believed.
pub(crate) fn load(data: &Path, token: &Secret) -> Option<Loaded> {
    let folder = data.join(FOLDER);
    let key = signing_key(token).verifying_key();
    let Some(identity) = read_identity(&folder, key) else {
        if folder.join(IDENTITY).exists() {
            tracing::warn!(
                "the mirror on disk is damaged or of another join token: it is not used"
            );
        }
        return None;
    };
    let joined = Joined {
        gateway: identity.gateway,
        org: identity.org,
        signers: signers(&identity.signers).ok()?,
    };
    let mut streams = Vec::new();
    for file in std::fs::read_dir(&folder).ok()? {
        let path = file.ok()?.path();
        if path.to_str().is_some_and(|name| name.ends_with(SUFFIX)) {
            match read_stream(&path, key) {
                Ok(stream) => streams.push(stream),
                Err(error) => {
                    // An organisation that is missing would be answered with 401.
                    let path = path.display();
                    tracing::error!(%path, %error, "the mirror on disk is damaged");
                    let times = Times::default();
                    return Some(Loaded { joined, times, streams: Vec::new() });
                }
            }
        }
    }
    let Identity { fresh_at, mirror, machine, .. } = identity;
    Some(Loaded { joined, times: Times { fresh_at, mirror, machine }, streams })
}

/// Who an earlier run in `data` was, without reading its streams.
pub(crate) fn remembered(data: &Path, token: &Secret) -> Option<GatewayId> {
    let identity = read_identity(&data.join(FOLDER), signing_key(token).verifying_key());
    identity.map(|identity| identity.gateway)
}

fn read_identity(folder: &Path, key: VerifyingKey) -> Option<Identity> {
    let bytes = std::fs::read(folder.join(IDENTITY)).ok()?;
    let (signature, body) = bytes.split_first_chunk::<64>()?;
    key.verify(Signed::Snapshot, body, signature).ok()?;
    form::decode::<Identity>(body).ok()
}

fn signers(keys: &[[u8; 32]]) -> Result<Signers, NotSigned> {
    keys.iter().map(VerifyingKey::from_bytes).collect::<Result<Vec<_>, _>>().map(Signers::new)
}

fn signing_key(token: &Secret) -> SigningKey {
    let mut hash = Sha256::new();
    hash.update(LABEL);
    hash.update(token.expose());
    SigningKey::from_seed(&hash.finalize().into())
}

fn path(folder: &Path, org: OrgId) -> PathBuf {
    folder.join(format!("{org}{SUFFIX}"))
}

fn write_stream(folder: &Path, stream: &Stream, taken: Taken, key: &SigningKey) -> io::Result<()> {
    let (org, frames) = match stream {
        Stream::Organisation(state) => (state.id, snapshot::organisation(state, taken, key)),
        Stream::Platform(state) => (OrgId::PLATFORM, snapshot::platform(state, taken, key)),
    };
    let bytes: Vec<u8> = frames.flat_map(|frame| framed(&frame)).collect();
    write_file(&path(folder, org), &bytes)
}

/// Replaces a file as a whole: a crash leaves the old one or the new one.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(new, path)
}

fn read_stream(path: &Path, key: VerifyingKey) -> Result<Snapshot, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let (mut splitter, mut assembly) = (Splitter::default(), Assembly::new(key));
    splitter.push(&bytes);
    while let Some(frame) = splitter.next_frame().map_err(|error| error.to_string())? {
        if let Some(whole) = assembly.take(frame).map_err(|error| error.to_string())? {
            return Ok(whole);
        }
    }
    Err("it is cut".to_owned())
}
