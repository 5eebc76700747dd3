"""T18, T19: store, NATS, projector and control plane are dead, or alive and slow, each and all."""

import time
import uuid

import pytest

import absent
from absent import HEALED_SECONDS
from books import all_requests, capped_key, comes_to_rest, served_by_request, settled
from figures import tell
from house import House, nano, wait_until
from load import Load
from spend import ask, cost_of, form, judged, price_dear_models

pytestmark = pytest.mark.soak
SEED = 20261121
# How long they are dead; in full as long as no person sleeps through an alarm.
DEAD_SECONDS = form(8, 1_800)
# How long every answer takes where they are slow, and how often they get as far as to give one.
SLOW_SECONDS, SLOW_TIMES = 20, form(1, 90)
# The least bound of a gateway that is cut off that can be waited for.
BOUND_SECONDS = 8
# A call of the management API that cannot be carried out is told so within this time.
TOLD_SECONDS = 20
CAP = "1.00"
PARTS = ["NATS", "control plane", "projector", "store", "all"]


@pytest.fixture(scope="module")
def house():
    with House(gateways=2, scripted=True, wires=True) as running:
        price_dear_models(running)
        running.call("PATCH", f"/orgs/{running.org}", {"max_staleness_seconds": "unbounded"})
        yield running


def parts(house, gone):
    """The processes without which this part is gone."""
    return {
        "NATS": [house.nats],
        "control plane": [house.control],
        "projector": [house.projector],
        "store": [house.projector],
        "all": [house.control, house.projector, house.nats],
    }[gone]


def take_away(house, gone):
    for process in parts(house, gone):
        # The store is a file: it is gone for others while the one that holds it stands still.
        process.pause() if gone == "store" else process.kill()


def give_back(house, gone):
    for process in parts(house, gone):
        process.go_on() if gone == "store" else process.start(wait=False)
    for process in parts(house, gone):
        process.wait_ready()


def is_dry(house, number, capped):
    return ask(house, number, capped["secret"], words=20) == (503, "limit_authority_unavailable")


def ends_and_begins(gateway):
    """What it knows is on its disk at its end; while it lives, every 10 s."""
    gateway.stop()
    gateway.start()


def restarts_from_its_disk(house, known, capped, authority_is_away):
    """A gateway that begins now serves what it knew, and lends nothing."""
    gateway = house.gateways[1]
    gateway.kill()
    since = time.monotonic()
    gateway.start()
    took = time.monotonic() - since
    assert ask(house, 1, known["secret"], model="echo-1") == (200, None)
    if authority_is_away:
        assert is_dry(house, 1, capped)
    return took


def waits_for_the_store(house):
    """A command without a store: it is told soon that nothing can be said; its name for later."""
    name, began = str(uuid.uuid4()), time.monotonic()
    answer = absent.make_key(house, name)
    assert time.monotonic() - began < TOLD_SECONDS
    assert answer.status_code == 503 and answer.json()["code"] == "store_unavailable", answer.text
    assert int(answer.headers["retry-after"]) >= 1
    return name


def books_of(house, capped):
    """Everything that the capped key was served is booked at its cost, and nothing is held."""
    rows, served = all_requests(house, key=capped["id"]), served_by_request(house)
    costs = {name: nano(row["cost_usd"]) for name, row in rows.items()}
    assert costs == {name: cost_of(served[name]) for name in rows}
    spent = sum(costs.values())
    assert 0 < spent <= nano(CAP)
    comes_to_rest(house, capped, spent, HEALED_SECONDS)


@pytest.mark.parametrize("gone", form(["NATS", "store", "all"], PARTS))
def test_t18_known_keys_are_served_while_parts_are_gone(house, gone):
    """Bounds: NATS, the store and all gone for 8 s, 2 gateways, cap USD 1; in full, each part and all
    for 30 min."""
    known = house.command("POST", "/keys", {"name": f"t18 known, {gone}"})
    capped = capped_key(house, f"t18 capped, {gone}", CAP)
    for number in range(2):
        assert judged(house, number, capped["secret"], words=20) == (200, None)
    ends_and_begins(house.gateways[1])
    if gone == "store":
        absent.let_hold_the_store(house, house.projector, house.control)
    before_ms, before = absent.at_peace_ms(house, known["secret"]), absent.used(house.gateways[0])
    authority_is_away, name, dry = gone != "control plane", None, None
    take_away(house, gone)
    since = time.monotonic()
    try:
        if authority_is_away:
            wait_until(lambda: is_dry(house, 0, capped), "its lease is dry", 60)
            dry = time.monotonic() - since
        during_ms = absent.during_ms(house, known["secret"], before_ms, since + DEAD_SECONDS)
        if gone == "store":
            name = waits_for_the_store(house)
        began = restarts_from_its_disk(house, known, capped, authority_is_away)
        absent.not_exhausted(before, house.gateways[0])
    finally:
        give_back(house, gone)
    absent.a_fresh_key_works(house)
    if name:
        absent.is_made_once(house, name)
    lent = lambda: ask(house, 0, capped["secret"]) == (200, None)  # noqa: E731
    wait_until(lent, "it is lent again", HEALED_SECONDS)
    settled(house)
    books_of(house, capped)
    tell(
        f"T18 ({gone})",
        p99_ms=f"{before_ms:.1f} -> {during_ms:.1f}",
        dry_after=f"{dry:.1f} s" if dry else "never",
        restarted_in=f"{began:.1f} s",
    )


def test_t18_with_a_bound_gateways_stop_at_it(house):
    """Bounds: a bound of 8 s, everything gone for some 12 s, 2 gateways; in full, the same."""
    key = house.command("POST", "/keys", {"name": "t18 bounded"})
    bound = {"max_staleness_seconds": BOUND_SECONDS}
    house.call("PATCH", f"/orgs/{house.org}", bound, params={"wait": "applied"})
    told = lambda number: ask(house, number, key["secret"], "echo-1")  # noqa: E731
    first, second = house.gateways
    ends_and_begins(second)
    take_away(house, "all")
    try:
        assert told(0) == (200, None)
        stale = lambda: told(0) == (503, "control_plane_stale")  # noqa: E731
        wait_until(stale, "the bound is reached", BOUND_SECONDS + 20)
        wait_until(lambda: not first.ready(), "balancers are told", 2)
        # One that begins now knows how old its disk is.
        second.kill()
        second.start(wait=False)
        wait_until(lambda: told(1) == (503, "control_plane_stale"), "it says so, and nothing else")
        assert not second.ready()
    finally:
        give_back(house, "all")
    for number, gateway in enumerate(house.gateways):
        wait_until(lambda: told(number) == (200, None), f"gateway {number} serves again", HEALED_SECONDS)
        wait_until(gateway.ready, "it is ready", HEALED_SECONDS)
    house.call("PATCH", f"/orgs/{house.org}", {"max_staleness_seconds": "unbounded"})
    absent.a_fresh_key_works(house)


@pytest.mark.parametrize("slow", form(["all"], PARTS))
def test_t19_known_keys_are_served_while_everything_stands_still(house, slow):
    """Bounds: all stand still for 20 s under 60 requests a second; in full, each part and all of them,
    90 times with a moment between."""
    known = house.command("POST", "/keys", {"name": f"t19 known, {slow}"})
    before_ms, before = absent.at_peace_ms(house, known["secret"]), absent.used(house.gateways[0])
    with Load(house, known["secret"], 60, workers=20, seed=SEED) as load:
        for _ in range(SLOW_TIMES):
            for process in parts(house, slow):
                process.pause()
            try:
                until = time.monotonic() + SLOW_SECONDS
                during_ms = absent.during_ms(house, known["secret"], before_ms, until)
            finally:
                for process in parts(house, slow):
                    process.go_on()
        more_kb = absent.not_exhausted(before, house.gateways[0])
    assert load.wrong == [] and load.broken == [], (load.wrong[:5], load.broken[:5])
    absent.a_fresh_key_works(house)
    rows = settled(house)
    assert load.answered <= set(rows), "what was answered is booked"
    tell(
        f"T19 ({slow} stood still)",
        p99_ms=f"{before_ms:.1f} -> {during_ms:.1f}",
        more_memory_kb=more_kb,
    )


def test_t19_known_keys_are_served_while_every_answer_takes_20_seconds(house):
    """Bounds: what NATS and the control plane say to one of 2 gateways takes 20 s, for 20 s; in full,
    for 30 min."""
    known = house.command("POST", "/keys", {"name": "t19 slow"})
    before_ms, before = absent.at_peace_ms(house, known["secret"]), absent.used(house.gateways[0])
    for wire in house.gateways[0].wires:
        wire.delay_seconds = SLOW_SECONDS
    try:
        until = time.monotonic() + SLOW_SECONDS * SLOW_TIMES
        during_ms = absent.during_ms(house, known["secret"], before_ms, until)
        more_kb = absent.not_exhausted(before, house.gateways[0])
    finally:
        for wire in house.gateways[0].wires:
            wire.delay_seconds = 0
    absent.a_fresh_key_works(house)
    settled(house)
    tell("T19 (slow)", p99_ms=f"{before_ms:.1f} -> {during_ms:.1f}", more_memory_kb=more_kb)
