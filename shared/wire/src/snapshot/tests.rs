//! Tests of snapshots: whole, in pieces, changed and cut.

use std::sync::Arc;

use proptest::prelude::*;
use turnpike_domain::event::KeyProfile;
use turnpike_domain::id::{KeyId, PlanId};
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, StoredSecret};
use turnpike_domain::state::{Key, Standing};

use super::*;
use crate::samples;

const TAKEN: Taken = Taken { incarnation: IncarnationId(5), at: Timestamp(6) };

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn read<'a>(
    frames: impl IntoIterator<Item = &'a Vec<u8>>,
) -> Result<Option<Snapshot>, BadSnapshot> {
    let mut assembly = Assembly::new(key().verifying_key());
    let mut whole = None;
    for frame in frames {
        if whole.is_some() {
            return Err(BadSnapshot::Order);
        }
        whole = assembly.take(frame)?;
    }
    Ok(whole)
}

fn large() -> Organisation {
    let mut state = Organisation::new(OrgId(1));
    for number in 0..1_000_u16 {
        let id = KeyId(number.into());
        let name: Box<str> = format!("key {number}").into();
        let profile = KeyProfile {
            name: name.clone(),
            owner: None,
            project: None,
            plan: PlanId(1),
            expires_at: None,
            limits: turnpike_domain::limit::Limits::default(),
            scopes: turnpike_domain::scope::Scopes::default(),
            metadata: None,
        };
        let secret = StoredSecret {
            public_id: PublicId([b'0'; 16]),
            digest: Digest([7; 32]),
            pepper: PepperVersion(1),
            preview: "sk-tp-0000…0000".into(),
        };
        let made = Key {
            id,
            profile,
            secret,
            previous: None,
            recoverable: None,
            standing: Standing::default(),
            generation: 1,
            created_at: Timestamp(1),
            rotated_at: None,
            ephemeral: false,
            seq: 1,
        };
        state.key_names.insert(name, id);
        state.keys.insert(id, Arc::new(made));
    }
    state
}

#[test]
fn a_large_state_comes_in_frames_that_fit_the_store() {
    let state = large();
    let frames: Vec<_> = organisation(&state, TAKEN, &key()).collect();
    assert!(frames.len() > 4, "{} frames", frames.len());
    assert!(frames.iter().all(|frame| frame.len() <= FULL_FRAME_BYTES + 10));
    let state = State::Organisation(Box::new(state));
    assert_eq!(read(&frames), Ok(Some(Snapshot { taken: TAKEN, state })));
}

#[test]
fn lost_repeated_changed_and_foreign_frames_are_noticed() {
    let state = large();
    let frames: Vec<_> = organisation(&state, TAKEN, &key()).collect();
    for at in 0..frames.len() {
        let mut lost = frames.clone();
        lost.remove(at);
        assert!(!matches!(read(&lost), Ok(Some(_))), "frame {at} lost");
        let mut twice = frames.clone();
        twice.insert(at, frames[at].clone());
        assert!(!matches!(read(&twice), Ok(Some(_))), "frame {at} twice");
        let mut changed = frames.clone();
        *changed[at].last_mut().unwrap() ^= 1;
        assert!(!matches!(read(&changed), Ok(Some(_))), "frame {at} changed");
    }
    let other = SigningKey::from_seed(&[2; 32]);
    let foreign: Vec<_> = organisation(&state, TAKEN, &other).collect();
    assert_eq!(read(&foreign), Err(BadSnapshot::Signature(NotSigned::Forged)));
}

#[test]
fn frames_are_found_on_a_stream_of_any_pieces() {
    let state = large();
    let frames: Vec<_> = organisation(&state, TAKEN, &key()).collect();
    let stream: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
    for size in [1, 3, 1_000, stream.len()] {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for piece in stream.chunks(size) {
            splitter.push(piece);
            while let Some(frame) = splitter.next_frame().unwrap() {
                found.push(frame.to_vec());
            }
        }
        assert!(!splitter.is_cut());
        assert_eq!(found, frames);
    }
    let mut splitter = Splitter::default();
    splitter.push(&u32::MAX.to_be_bytes());
    assert!(splitter.is_cut());
    assert_eq!(splitter.next_frame(), Err(BadSnapshot::TooLarge));
}

proptest! {
    #[test]
    fn every_organisation_comes_back(state in samples::any_organisation()) {
        let frames: Vec<_> = organisation(&state, TAKEN, &key()).collect();
        let state = State::Organisation(Box::new(state));
        prop_assert_eq!(read(&frames), Ok(Some(Snapshot { taken: TAKEN, state })));
    }

    #[test]
    fn every_platform_comes_back(state in samples::any_platform()) {
        let frames: Vec<_> = platform(&state, TAKEN, &key()).collect();
        let state = State::Platform(Box::new(state));
        prop_assert_eq!(read(&frames), Ok(Some(Snapshot { taken: TAKEN, state })));
    }

    #[test]
    fn arbitrary_frames_are_read_without_harm(state in samples::any_organisation(),
        at: prop::sample::Index, byte: u8, garbage: Vec<u8>) {
        let mut frames: Vec<_> = organisation(&state, TAKEN, &key()).collect();
        let place = at.index(frames[1].len());
        frames[1][place] = byte;
        let _may_be_refused = read(&frames);
        let _refused = read([&frames[0], &garbage]);
    }
}
