//! Sessions of MCP: the server's name of one, sealed together with the key that it belongs to.
//!
//! No gateway keeps anything of a session, so that every gateway can carry it on; another key, or
//! another server's path, cannot.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use turnpike_domain::id::KeyId;
use turnpike_domain::secret::Sealed;
use turnpike_runtime::entropy;
use turnpike_wire::seal::{NONCE_BYTES, SealingKeys};

/// The most bytes of a server's name of a session: ours of it stays a header of 2 kB.
const MAX_SESSION_BYTES: usize = 1_024;
/// The most characters of our name of a session.
const MAX_NAME_CHARS: usize = 2_048;
const ID_BYTES: usize = 16;

/// Whose a session is.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) key: KeyId,
    /// The server's name.
    pub(super) server: &'a str,
}

/// Our name of the server's `session`; `None`: it is too long, or no text of visible ASCII.
pub(super) fn seal(keys: &SealingKeys, owner: Owner<'_>, session: &[u8]) -> Option<String> {
    let visible = session.iter().all(u8::is_ascii_graphic);
    if session.is_empty() || session.len() > MAX_SESSION_BYTES || !visible {
        return None;
    }
    let mut nonce = [0; NONCE_BYTES];
    entropy::fill(&mut nonce);
    let length = u8::try_from(owner.server.len()).ok()?;
    let plain = [&owner.key.bytes()[..], &[length], owner.server.as_bytes(), session].concat();
    Some(URL_SAFE_NO_PAD.encode(&keys.seal(&nonce, &plain).ok()?.0))
}

/// The server's name of a session; `None`: `name` is none of ours, or another owner's.
pub(super) fn open(keys: &SealingKeys, owner: Owner<'_>, name: &[u8]) -> Option<String> {
    if name.len() > MAX_NAME_CHARS {
        return None;
    }
    let sealed = Sealed(URL_SAFE_NO_PAD.decode(name).ok()?.into());
    let plain = keys.open(&sealed).ok()?;
    let (key, rest) = plain.split_first_chunk::<ID_BYTES>()?;
    let (length, rest) = rest.split_first()?;
    let (server, session) = rest.split_at_checked(usize::from(*length))?;
    let own = *key == owner.key.bytes() && server == owner.server.as_bytes();
    if own { String::from_utf8(session.to_vec()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use turnpike_wire::seal::Purpose;

    use super::*;
    use crate::fake;

    const OWNER: Owner<'_> = Owner { key: KeyId(7), server: "files" };

    #[test]
    fn a_session_opens_for_its_owner_only() {
        let keys = fake::decisions().also_for(Purpose::McpSession);
        let name = seal(&keys, OWNER, b"s-1").unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.contains("s-1"));
        assert_eq!(open(&keys, OWNER, name.as_bytes()).as_deref(), Some("s-1"));
        let others = [
            Owner { key: KeyId(8), ..OWNER },
            Owner { server: "file", ..OWNER },
            Owner { server: "filess", ..OWNER },
        ];
        for other in others {
            assert_eq!(open(&keys, other, name.as_bytes()), None);
        }
        for strange in ["", "s-1", &name[1..], &name.to_uppercase(), &"A".repeat(9_999)] {
            assert_eq!(open(&keys, OWNER, strange.as_bytes()), None, "{strange}");
        }
        assert_eq!(open(&fake::decisions(), OWNER, name.as_bytes()), None);
    }

    #[test]
    fn what_is_no_name_of_a_session_is_not_passed_on() {
        let keys = fake::decisions();
        for strange in [&b""[..], b"a b", b"\xff", &[b'a'; MAX_SESSION_BYTES + 1]] {
            assert_eq!(seal(&keys, OWNER, strange), None);
        }
        let longest = seal(&keys, OWNER, &[b'a'; MAX_SESSION_BYTES]).unwrap();
        assert!(longest.len() <= MAX_NAME_CHARS, "{}", longest.len());
    }
}
