"""Gateways that are cut off at full load: they spend what they hold and no more, and come back."""

import time

import pytest

from books import capped_key, comes_to_rest, usage
from figures import tell
from house import House, nano, wait_until
from spend import Crowd, Truth, ask, form, price_dear_models

pytestmark = pytest.mark.soak
SEED = 20261121
CAP = "10.00"
CLIENTS = 60
# How long gateways are away; their leases are for some ten seconds of use.
CUT_SECONDS = form(8, 60)
# After healing: gateways find NATS again, report, and what they hold comes free.
HEALED_SECONDS = 60


@pytest.fixture(scope="module")
def house():
    with House(gateways=5, scripted=True, wires=True) as running:
        price_dear_models(running)
        yield running


def cut(house, numbers):
    for wire in [wire for number in numbers for wire in house.gateways[number].wires]:
        wire.cut()


def heal(house, numbers):
    for wire in [wire for number in numbers for wire in house.gateways[number].wires]:
        wire.heal()


def cut_at_full_load(house, crowd, truth, numbers):
    """Cuts gateways off once a tenth of the cap is spent; when, and when they were all dry."""
    wait_until(lambda: truth.spent() > nano(CAP) // 10, "a tenth is spent", 60)
    cut(house, numbers)
    since = time.monotonic()

    def dry(number):
        told = [each for each in list(crowd.told) if each.gateway == number and each.at > since]
        return [each.code for each in told[-5:]] == ["limit_authority_unavailable"] * 5

    wait_until(lambda: all(dry(number) for number in numbers), "they are dry", 60)
    return since, time.monotonic()


@pytest.mark.parametrize("away", [1, 2, 4])
def test_t4_gateways_that_are_cut_off_stop_at_their_leases(house, away):
    """Bounds: 1, 2, 4 of 5 gateways cut off for 8 s with 60 clients, cap USD 10; in full, for 60 s."""
    numbers, cap = range(away), nano(CAP)
    key = capped_key(house, f"t4 {away}", CAP)
    truth = Truth(house)
    with Crowd(house, [key["secret"]], CLIENTS, SEED + away) as crowd:
        since, dry = cut_at_full_load(house, crowd, truth, numbers)
        wait_until(lambda: time.monotonic() > since + CUT_SECONDS, "the cut has lasted", CUT_SECONDS + 5)
        at_healing = truth.spent()
        assert at_healing <= cap
        heal(house, numbers)
        healed = time.monotonic()
        crowd.wait(HEALED_SECONDS)
    used_up = time.monotonic() - healed
    spent = truth.spent()
    assert spent <= cap, f"seed {SEED + away}"
    assert spent * 100 >= cap * 99, f"seed {SEED + away}: {spent}, {crowd.kinds()}"
    alone = [told for told in crowd.told if told.gateway in numbers and since < told.at < healed]
    codes = {told.code for told in alone if told.status != 200}
    assert codes == {"limit_authority_unavailable"}, codes
    assert {told.status for told in alone if told.status != 200} == {503}
    rest = comes_to_rest(house, key, spent)
    tell(
        f"T4 ({away} of 5)",
        served_alone=sum(told.status == 200 for told in alone),
        dry_after=f"{dry - since:.1f} s",
        used_at_healing=f"{at_healing / cap:.2%}",
        used=f"{spent / cap:.2%}",
        all_used_after_healing=f"{used_up:.1f} s",
        at_rest_after=f"{rest:.1f} s",
    )


def test_t4_a_fenced_gateway_is_granted_nothing_and_its_spend_counts(house):
    """Bounds: 1 of 5 gateways cut off and fenced, healed after 8 s, cap USD 10; in full, after 60 s."""
    cap = nano(CAP)
    key = capped_key(house, "t4 fenced", CAP)
    truth = Truth(house)
    known = house.of_org("GET", "/gateways")["data"]
    gateway = next(each["id"] for each in known if each["name"] == "gateway-0")
    with Crowd(house, [key["secret"]], CLIENTS, SEED) as crowd:
        since, _ = cut_at_full_load(house, crowd, truth, [0])
        house.of_org("POST", f"/gateways/{gateway}/fence")
        wait_until(lambda: time.monotonic() > since + CUT_SECONDS, "the cut has lasted", CUT_SECONDS + 5)
        heal(house, [0])
        crowd.wait(HEALED_SECONDS)
    spent = truth.spent()
    assert cap * 99 <= spent * 100 <= cap * 100, f"seed {SEED}: {spent}, {crowd.kinds()}"
    alone = [told for told in crowd.served() if told.gateway == 0 and told.at > since]
    assert sum(told.bound for told in alone) <= cap, "it had only its lease"
    comes_to_rest(house, key, spent)
    assert nano(usage(house, key)["lost_cost_usd"]) == 0
    house.of_org("PATCH", f"/keys/{key['id']}", {"limits": {"cost_usd": "20.00"}})
    served = lambda: ask(house, 1, key["secret"]) == (200, None)
    wait_until(served, "there is money again", 10)
    for _ in range(5):
        refused = ask(house, 0, key["secret"])
        assert refused in [(503, "limit_authority_unavailable"), (402, "api_key_quota_exceeded")]
    comes_to_rest(house, key, truth.spent())
    tell("T4 (fenced)", served_alone=len(alone), used=f"{spent / cap:.2%}", granted_after_the_fence=0)
