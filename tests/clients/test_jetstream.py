"""JetStream loses, or gives back spoilt, what it has acknowledged: nothing of record was on it."""

import random
import shutil
import time

import pytest

from books import all_requests, capped_key, comes_to_rest, served_by_request
from figures import tell
from forgery import connect, run
from house import House, nano, wait_until
from spend import Crowd, ask, cost_of, form, price_dear_models
from test_poison import nobody_died, works

pytestmark = pytest.mark.soak
SEED = 20261122
GATEWAYS = 2
CLIENTS = 4
# How often JetStream is hurt in each way.
ROUNDS = form(1, 20)
# The tables are the fold again after so long (targets.md), and what a loaded machine may add.
TABLE_SECONDS, GRACE_SECONDS = 10, 20
STREAMS = ("TURNPIKE_EVENTS", "TURNPIKE_SPEND", "TURNPIKE_LEDGER")
REST_SECONDS = 60


@pytest.fixture
def house():
    with House(gateways=GATEWAYS, scripted=True) as running:
        price_dear_models(running)
        yield running


def files(house):
    """What JetStream has on its disk of our streams."""
    return [path for path in house.jetstream.rglob("*") if path.is_file() and path.stat().st_size]


def truncated(house, chance):
    for path in files(house):
        with open(path, "r+b") as file:
            file.truncate(chance.randrange(path.stat().st_size))


def flipped(house, chance):
    for path in files(house):
        whole = bytearray(path.read_bytes())
        for _ in range(8):
            bit = chance.randrange(len(whole) * 8)
            whole[bit // 8] ^= 1 << bit % 8
        path.write_bytes(whole)


def messages_gone(house, _):
    """The messages, but not what is known of them."""
    for path in files(house):
        if path.suffix == ".blk":
            path.unlink()


def index_gone(house, _):
    """What is known of the messages, but not they."""
    for path in files(house):
        if path.suffix != ".blk":
            path.unlink()


def all_gone(house, _):
    shutil.rmtree(house.jetstream)


WAYS = [truncated, flipped, messages_gone, index_gone, all_gone]


def deleted(house, verb):
    """The streams are deleted or purged in a server that runs."""

    async def work():
        client = await connect(house)
        stream = client.jetstream()
        for name in STREAMS:
            await (stream.delete_stream(name) if verb == "delete" else stream.purge_stream(name))
        await client.close()

    run(work())


def catches_up(house, stopped, made):
    """Waits until every gateway refuses what was stopped and knows what was made; how long it took."""
    start = time.monotonic()

    def holds():
        return all(
            ask(house, number, stopped["secret"]) == (401, "key_revoked")
            and ask(house, number, made["secret"])[0] == 200
            for number in range(GATEWAYS)
        )

    wait_until(holds, "every table is the fold", TABLE_SECONDS + GRACE_SECONDS)
    return time.monotonic() - start


def change(house, name):
    """A key that is stopped and one that is made, while nobody can hear of it."""
    stopped = house.command("POST", "/keys", {"name": f"stopped {name}"})
    return stopped, lambda: (
        house.of_org("POST", f"/keys/{stopped['id']}/revoke", {"reason": "unused"}),
        house.of_org("POST", "/keys", {"name": f"made {name}"}),
    )[1]


def test_t11_spoilt_jetstream_loses_no_spend_and_no_change(house):
    """Bounds: 5 ways to spoil JetStream's files and 2 to empty it, once each under 4 clients; in full, 20."""
    chance, slowest = random.Random(SEED), 0
    key = capped_key(house, "spender", "500.00")
    with Crowd(house, [key["secret"]], CLIENTS, SEED, pause=0.1, until_stopped=True) as crowd:
        for number in range(ROUNDS):
            for spoil in WAYS:
                stopped, alter = change(house, f"{spoil.__name__} {number}")
                house.nats.kill()
                spoil(house, chance)
                made = alter()
                house.nats.start()
                slowest = max(slowest, catches_up(house, stopped, made))
            for verb in ("purge", "delete"):
                stopped, alter = change(house, f"{verb} {number}")
                deleted(house, verb)
                slowest = max(slowest, catches_up(house, stopped, alter()))
                deleted(house, verb)
    rows = all_in_books(house, key, crowd)
    nobody_died(house)
    works(house, "after JetStream")
    assert slowest < TABLE_SECONDS + GRACE_SECONDS
    tell(
        "T11",
        hurt=ROUNDS * (len(WAYS) + 4),
        tables_after=f"{slowest:.1f} s at most",
        requests=len(rows),
        spend_lost=0,
    )


def all_in_books(house, key, crowd):
    """Waits until all that the provider served is booked, each request once and at what it cost."""

    def booked():
        time.sleep(0.5)
        rows = all_requests(house, key=key["id"])
        return rows if {told.request for told in crowd.served()} <= set(rows) else None

    rows = wait_until(booked, "all that was served is booked", REST_SECONDS)
    served = {name: cost_of(of) for name, of in served_by_request(house).items()}
    assert all(nano(row["cost_usd"]) == served[name] for name, row in rows.items())
    comes_to_rest(house, key, sum(served[name] for name in rows), seconds=REST_SECONDS)
    return rows


def goes_on(crowd):
    """Waits until every client has been served again."""
    before = len(crowd.served())
    wait_until(lambda: len(crowd.served()) >= before + CLIENTS, "the crowd is served", REST_SECONDS)


def test_t11_a_power_cut_of_all_at_once_loses_no_answer(house):
    """Bounds: every process killed at one moment and started again, 1 time under 4 clients; in full, 20."""
    key = capped_key(house, "cut", "500.00")
    crowd = Crowd(house, [key["secret"]], CLIENTS, SEED, pause=0.1, until_stopped=True)
    with crowd:
        for number in range(ROUNDS):
            stopped, alter = change(house, f"cut {number}")
            goes_on(crowd)
            made = alter()
            everything = [house.nats, house.control, house.projector, *house.gateways]
            for process in everything:
                process.child.kill()
            for process in everything:
                process.child.wait()
            for process in everything:
                process.start()
            catches_up(house, stopped, made)
            goes_on(crowd)
            assert house.of_org("GET", "/audit/verify")["ok"] is True
    rows = all_requests(house, key=key["id"])

    def booked():
        time.sleep(0.5)
        nonlocal rows
        rows = all_requests(house, key=key["id"])
        return {told.request for told in crowd.served()} <= set(rows)

    wait_until(booked, "all that was answered is booked", REST_SECONDS)
    served = {name: cost_of(of) for name, of in served_by_request(house).items()}
    for name, row in rows.items():
        # What was cut off is booked at what it may have cost.
        least = nano(row["cost_usd"]) if row["source"] == "provider" else served.get(name, 0)
        assert served.get(name, 0) <= nano(row["cost_usd"]) and least >= served.get(name, 0), row
    works(house, "after the cut")
    tell("T11 (power)", cuts=ROUNDS, requests=len(rows), broken=crowd.broken)
