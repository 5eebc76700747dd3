//! Legacy secrets belong to one key of all organisations, whoever asks first and whatever fails.

use turnpike_domain::command::KeyDraft;
use turnpike_domain::id::{KeyId, PlanId};
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, StoredSecret};

use super::*;
use crate::legacy::{Holder, holders};
use crate::orders::order;

const OTHER: OrgId = OrgId(8);

fn imported(key: u128, secret: u8, older: Option<u8>) -> ImportedKey {
    let digest = Digest([secret; 32]);
    let (public_id, preview) = (PublicId::of_digest(&digest), "le…cy".into());
    let secret = StoredSecret { public_id, digest, pepper: PepperVersion(1), preview };
    let name = format!("key {key}").into();
    let draft = KeyDraft { name, plan: Some(PlanId(1)), ..KeyDraft::default() };
    let older = older.map(|older| Digest([older; 32])).into_iter().collect();
    ImportedKey { key: KeyId(key), draft, secret, older }
}

fn import(id: u64, keys: Vec<ImportedKey>) -> Order<Command> {
    order(id, Command::ImportKeys { keys })
}

/// Two processes on one store with a plan and two organisations.
async fn processes(kv: &Arc<dyn Kv>) -> [Executor; 2] {
    let executors = [executor(kv), executor(kv)];
    executors[0].platform(&plan(1), attempt(1, 1)).await.unwrap();
    for org in [ORG, OTHER] {
        executors[0].organisation(org, &create(1), attempt(1, 1)).await.unwrap();
    }
    executors
}

async fn holder_of(kv: &Arc<dyn Kv>, key: ImportedKey) -> Option<Holder> {
    holders(&*kv.snapshot().await.unwrap(), &[key]).await.unwrap()[0]
}

#[tokio::test(start_paused = true)]
async fn of_two_organisations_with_one_secret_one_has_it() {
    let kv = engines::fresh();
    let [left, right] = processes(&kv).await;
    for secret in 1..40 {
        let (id, key) = (u64::from(secret) + 10, u128::from(secret));
        let (mine, theirs) = (imported(key, secret, None), imported(key, secret, None));
        let (mine, theirs) = (import(id, vec![mine]), import(id, vec![theirs]));
        let (mine, theirs) = tokio::join!(
            left.organisation(ORG, &mine, attempt(1, 1)),
            right.organisation(OTHER, &theirs, attempt(1, 2)),
        );
        assert_ne!(mine.is_ok(), theirs.is_ok(), "{mine:?} {theirs:?}");
        let refused = mine.err().or(theirs.err()).unwrap().to_string();
        assert_eq!(refused, "/secret cannot be imported: this secret is in use already");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_free_again_once_its_key_is_gone() {
    let kv = engines::fresh();
    let [executor, _] = processes(&kv).await;
    let first = import(2, vec![imported(1, 9, None), imported(2, 10, None)]);
    executor.organisation(ORG, &first, attempt(1, 1)).await.unwrap();
    let known = holder_of(&kv, imported(5, 9, None)).await;
    assert_eq!(known, Some(Holder { org: ORG, key: KeyId(1) }));
    // Under another pepper it is the same secret.
    assert_eq!(holder_of(&kv, imported(5, 99, Some(9))).await, known);
    for (id, again) in [(3, imported(5, 9, None)), (4, imported(5, 99, Some(9)))] {
        let refused = executor.organisation(ORG, &import(id, vec![again]), attempt(1, 1)).await;
        let refused = refused.unwrap_err().to_string();
        assert_eq!(refused, format!("/secret is the secret of {} already", KeyId(1)));
    }
    let delete = order(5, Command::DeleteKey { key: KeyId(1) });
    executor.organisation(ORG, &delete, attempt(1, 1)).await.unwrap();
    assert_eq!(holder_of(&kv, imported(5, 9, None)).await, None);
    let theirs = import(6, vec![imported(1, 9, None)]);
    executor.organisation(OTHER, &theirs, attempt(1, 1)).await.unwrap();
    let known = holder_of(&kv, imported(5, 9, None)).await;
    assert_eq!(known, Some(Holder { org: OTHER, key: KeyId(1) }));
}

/// Bounds: 5 lives of 300 imports of 60 secrets by two processes into two organisations.
#[tokio::test(start_paused = true)]
async fn no_secret_is_ever_two_keys_on_a_hostile_store() {
    for seed in 0..5 {
        entropy::seed_this_thread(seed);
        let hostile = Arc::new(Hostile::default());
        let kv: Arc<dyn Kv> = Arc::<Hostile>::clone(&hostile);
        let executors = processes(&kv).await;
        hostile.set_failing(true);
        for id in 0..300 {
            let org = if entropy::below(2) == 0 { ORG } else { OTHER };
            let secret = u8::try_from(entropy::below(60)).unwrap();
            let executor = &executors[usize::try_from(entropy::below(2)).unwrap()];
            let order = import(id + 100, vec![imported(u128::from(id) + 1, secret, None)]);
            // Refused, done or unknown: what counts is what is stored at the end.
            let _any = executor.organisation(org, &order, attempt(1, 1)).await;
        }
        hostile.set_failing(false);
        hostile.land_all().await;
        let mut found = BTreeMap::new();
        for org in [ORG, OTHER] {
            for record in stored(&*kv, org).await {
                let Event::KeyImported { key, secret, .. } = record.event else { continue };
                let before = found.insert(secret.digest, Holder { org, key });
                assert_eq!(before, None, "seed {seed}");
            }
        }
        assert!(found.len() > 30, "seed {seed}: {} secrets", found.len());
        for (digest, holder) in found {
            let known = holder_of(&kv, imported(1, digest.0[0], None)).await;
            assert_eq!(known, Some(holder), "seed {seed}");
        }
    }
}
