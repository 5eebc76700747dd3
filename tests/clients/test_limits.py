"""Caps on five gateways: hard, usable to their end, changed while they are used, of one wallet."""

import time

import pytest
import requests

from books import capped_key, comes_to_rest, events, hit
from figures import tell
from house import House, counted, nano, wait_until
from spend import Crowd, Truth, add_model, answers_everywhere, ask, form, price_dear_models

pytestmark = pytest.mark.soak
SEED = 20261121
CAP = "10.00"
# What an answer on a gateway may lag behind a commit.
SOON_SECONDS = 1


@pytest.fixture(scope="module")
def house():
    with House(gateways=5, scripted=True) as running:
        price_dear_models(running)
        yield running


def test_t3_a_cap_is_hard_and_can_be_used_to_its_end(house):
    """Bounds: 5 gateways, a cap of USD 10, 500 clients at once; in full, 20 such caps."""
    cap, rounds = nano(CAP), form(1, 20)
    used, began = [], time.monotonic()
    for number in range(rounds):
        key = capped_key(house, f"t3 {number}", CAP)
        truth = Truth(house)
        with Crowd(house, [key["secret"]], 500, SEED + number) as crowd:
            crowd.wait(120)
        assert crowd.largest() <= cap // 100, "the largest reservation is at most 1 % of the cap"
        spent = truth.spent()
        assert spent <= cap, f"seed {SEED + number}: {spent}"
        assert spent * 100 >= cap * 99, f"seed {SEED + number}: {spent}, {crowd.kinds()}"
        used.append(spent)
        comes_to_rest(house, key, spent)
        hit(house, key, 1)
    tell(
        "T3",
        caps=rounds,
        least_used=f"{min(used) / cap:.2%}",
        most_used=f"{max(used) / cap:.2%}",
        answers=crowd.kinds(),
        seconds=f"{time.monotonic() - began:.1f}",
    )


def test_t9_caps_change_while_they_are_used(house):
    """Bounds: one key on 5 gateways, 30 clients; its cap lowered, raised and removed, 1 time each."""
    key = capped_key(house, "t9", CAP)
    path, secret, truth = f"/keys/{key['id']}", key["secret"], Truth(house)
    expected = (402, "api_key_quota_exceeded")
    with Crowd(house, [secret], 30, SEED) as crowd:
        wait_until(lambda: truth.spent() > nano("2.00"), "USD 2 are spent", 60)
        house.command("PATCH", path, {"limits": {"cost_usd": "1.00"}})
        wait_until(lambda: answers_everywhere(house, [secret], expected), "it is refused", 10)
        crowd.wait(30)
    lowered = truth.spent()
    assert lowered < nano("9.00"), "it ended long before the old cap"
    comes_to_rest(house, key, lowered)
    assert house.of_org("GET", path)["status"] == "exhausted"
    house.command("PATCH", path, {"limits": {"cost_usd": "11.00"}})
    raised_at = time.monotonic()
    wait_until(lambda: answers_everywhere(house, [secret], (200, None)), "it is open", SOON_SECONDS)
    reopened = time.monotonic() - raised_at
    with Crowd(house, [secret], 30, SEED + 1) as crowd:
        crowd.wait(60)
    used = truth.spent()
    assert nano("11.00") * 99 <= used * 100 <= nano("11.00") * 100, crowd.kinds()
    comes_to_rest(house, key, used)
    hit(house, key, 2)
    house.command("PATCH", path, {"limits": {"cost_usd": None}})
    assert answers_everywhere(house, [secret], (200, None)), "no cap stands any more"
    comes_to_rest(house, key, truth.spent())
    assert len(events(house, "QuotaHit", key=key["id"])) == 2, "once for each cap"
    tell(
        "T9",
        spent_until_the_lowered_cap_held=f"USD {lowered / 10**9:.2f} of 10",
        reopened=f"{reopened:.2f} s after the raise, by 5 calls",
        used_of_the_raised=f"{used / nano('11.00'):.2%}",
        hits=2,
    )


def test_t10_a_price_binds_what_was_admitted_under_it(house):
    """Bounds: a capped key and 3 models: without a price, with one that changes, with price zero."""
    key = capped_key(house, "t10", CAP)
    secret = key["secret"]
    add_model(house, "gift", "echo-1", {"input": "0", "output": "0"})
    add_model(house, "changing", "echo-slow", {"input": "100.00", "output": "100.00"})
    add_model(house, "nameless", "echo-1", None)
    for number in range(5):
        known = lambda: ask(house, number, secret, "gift") == (200, None)
        wait_until(known, "the models are known", 10)
        assert ask(house, number, secret, "nameless") == (403, "model_not_allowed")
    comes_to_rest(house, key, 0)
    running = requests.post(
        f"{house.gateway_url(0)}/v1/chat/completions",
        headers={"Authorization": f"Bearer {secret}"},
        json={
            "model": "changing",
            "messages": [{"role": "user", "content": "w " * 40}],
            "max_tokens": 40,
            "stream": True,
        },
        stream=True,
        timeout=30,
    )
    assert running.status_code == 200
    prices = {"input": "900.00", "output": "900.00"}
    answer = house.call("PATCH", "/models/changing", {"prices": prices}, params={"wait": "applied"})
    assert answer["propagation"]["missing"] == []
    text = running.text
    assert text.rstrip().splitlines()[-1].startswith(":"), "the cost comes last"
    # 40 words in and 40 out, at USD 100 a million.
    comes_to_rest(house, key, nano("0.008"))
    assert ask(house, 0, secret, "changing", words=40) == (200, None)
    comes_to_rest(house, key, nano("0.08"))
    tell("T10", unpriced="refused", changed_in_flight="at the reserved price", zero="held 0, cost 0")


def test_t12_one_wallet_for_many_keys(house):
    """Bounds: 60 keys and 120 clients on 5 gateways spend USD 10; in full, 1,000 keys and clients."""
    keys, wallet = form(60, 1_000), nano(CAP)
    made = [house.of_org("POST", "/keys", {"name": f"t12 {each}"}) for each in range(keys)]
    secrets = [key["secret"] for key in made]
    before = house.of_org("GET", "/wallet")
    spent_before = nano(before["settled_usd"])
    house.of_org("POST", "/wallet/topups", {"amount_usd": usd(spent_before + wallet)})
    house.call("PATCH", f"/orgs/{house.org}", {"wallet": "prepaid"})
    house.command("PATCH", f"/keys/{made[0]['id']}", {"metadata": {"all": "is known"}})
    truth, commits_before = Truth(house), commits(house)
    with Crowd(house, secrets, form(120, 1_000), SEED, until_stopped=True) as crowd:
        closed = wait_until(lambda: events(house, "WalletExhausted"), "the wallet is empty", 240)
        seen_at = time.monotonic()
        probes = secrets[:: max(1, keys // 20)]
        expected = (402, "billing_shortfall")
        wait_until(lambda: answers_everywhere(house, probes, expected), "all refuse", 10)
        refused_after = time.monotonic() - seen_at
    spent = truth.spent()
    assert wallet * 99 <= spent * 100 <= wallet * 100, (spent, crowd.kinds())
    late = [told for told in crowd.served() if told.at - told.took > seen_at + SOON_SECONDS]
    assert not late, f"served {len(late)} calls that came a second after the wallet was empty"
    booked = lambda: nano(house.of_org("GET", "/wallet")["settled_usd"]) == spent_before + spent
    wait_until(booked, "the wallet's books are exact", 15)
    held = lambda: nano(house.of_org("GET", "/wallet")["held_usd"]) == 0
    wait_until(held, "nothing is held", 15)
    house.of_org("POST", "/wallet/topups", {"amount_usd": "1.00"})
    topped_up = time.monotonic()
    wait_until(lambda: answers_everywhere(house, probes[:1], (200, None)), "open again", SOON_SECONDS)
    reopened = time.monotonic() - topped_up
    house.call("PATCH", f"/orgs/{house.org}", {"wallet": "off"})
    assert len(closed) == 1
    tried, conflicts = (now - then for now, then in zip(commits(house), commits_before))
    assert conflicts * 100 < tried * 5, f"{conflicts} of {tried} commits conflicted"
    tell(
        "T12",
        keys=keys,
        used=f"{spent / wallet:.2%}",
        all_refuse_after=f"{refused_after:.2f} s, by {5 * len(probes)} calls",
        conflicts=f"{conflicts} of {tried} commits",
        reopened=f"{reopened:.2f} s after the top-up, by 5 calls",
    )


def commits(house):
    """Commits of ledgers that were tried, and those of them that conflicted."""
    names = ("booking_commits", "booking_conflicts")
    return [counted(house.projector, name) for name in names]


def usd(nano_usd):
    return f"{nano_usd // 10**9}.{nano_usd % 10**9:09}"
