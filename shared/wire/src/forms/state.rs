//! Forms of state, as it stands in snapshots.

use turnpike_domain::secret::{Sealed, StoredSecret};
use turnpike_domain::state::{
    Cap, Ephemeral, Gateway, Head, Hit, Key, McpServer, Member, MemberState, Model, Plan,
    PreviousSecret, Project, Provider, Standing, Token, TopUp,
};

use crate::cbor::{Malformed, Reader, Writer};
use crate::form;
use crate::form::Form;

form!(Head { 1 seq, 2 hash, 3 position });
form!(Standing { 1 disabled, 2 revoked });
form!(PreviousSecret { 1 secret, 2 until });

form!(Key {
    1 id,
    2 profile,
    3 secret,
    4 previous,
    5 recoverable,
    6 standing,
    7 generation,
    8 created_at,
    9 rotated_at,
    10 seq,
    11 ephemeral [default],
});

form!(Ephemeral { 1 grant, 2 created_at, 3 revoked [default], 4 seq });
form!(Member { 1 email, 2 name, 3 role, 4 state, 5 created_at, 6 seq });
form!(Project { 1 name, 2 limits, 3 created_at, 4 seq });

form!(Token {
    1 name,
    2 kind,
    3 role,
    4 owner,
    5 secret,
    6 expires_at,
    7 created_at,
    8 seq,
});

form!(Gateway { 1 name, 2 token, 3 joined_at, 4 left, 5 fenced, 6 seq });
form!(Provider { 1 spec, 2 seq });
form!(McpServer { 1 spec, 2 seq });
form!(Plan { 1 spec, 2 seq });
form!(Model { 1 spec, 2 price_version });
form!(TopUp { 1 id, 2 at, 3 amount, 4 note });
form!(Cap { 1 amount, 2 reset, 3 revision });
form!(Hit { 1 window, 2 revision, 3 percent, 4 exhausted, 5 settled });

const INVITED: u8 = 1;
const JOINED: u8 = 2;

/// A pair of the case and its secret.
impl Form for MemberState {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        match self {
            Self::Invited { invitation } => {
                INVITED.write(out);
                invitation.write(out);
            }
            Self::Joined { password } => {
                JOINED.write(out);
                password.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (from.array()?, u8::read(from)?) {
            (2, INVITED) => Ok(Self::Invited { invitation: StoredSecret::read(from)? }),
            (2, JOINED) => Ok(Self::Joined { password: Sealed::read(from)? }),
            (_, number) => {
                Err(Malformed::Unknown { form: "state of a member", number: number.into() })
            }
        }
    }
}
