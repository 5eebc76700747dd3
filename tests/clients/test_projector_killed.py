"""kill -9 of the projector while records flow that are repeated and out of order: each counts once."""

import asyncio
import os
import random
import threading
import time

import cbor2
import pytest
import requests

from books import usage
from figures import tell
from forgery import connect, kept, run
from house import House, nano, wait_until
from spend import form, price_dear_models
from test_poison import is_of_key, last_record, nobody_died, serves

pytestmark = pytest.mark.soak
SEED = 20261123
RECORDS = form(4_000, 1_000_000)
KILLS = form(2, 200)
MESSAGE_RECORDS = 100
# Messages on their way at a time, in any order.
WINDOW = 20
REPEATED = 0.2
# Without progress for so long, all that is not booked is sent again; a dead owner is waited for longer.
PATIENCE_SECONDS = 1
# The longest life of a projector after it has booked something.
LIFE_SECONDS = 0.3
MOST_SECONDS = form(240, 7_200)
# Fields of a record and of a batch (schemas/turnpike.cddl).
REQUEST, COST, LEASE = 1, 14, 17


@pytest.fixture(scope="module")
def house():
    with House(gateways=1, scripted=True) as running:
        price_dear_models(running)
        yield running


def joined(house):
    """A gateway that is ours to speak for."""
    token = (house.folder / "first/join-token").read_text()
    told = requests.post(
        f"{house.control_url}/internal/v1/join",
        headers={"Authorization": f"Bearer {token}"},
        json={"name": "by hand", "gateway": None},
        timeout=30,
    )
    return told.json()["gateway"]


class Sender:
    """A gateway's outbox: sends again whatever is not said to be booked."""

    def __init__(self, house, gateway, model, key):
        self.house, self.gateway = house, gateway
        self.fields = {number: value for number, value in cbor2.loads(model).items() if number != LEASE}
        self.chance, self.epoch = random.Random(SEED), os.urandom(16)
        self.costs = [self.chance.randint(0, 10**6) for _ in range(RECORDS)]
        self.booked, self.sent, self.last = 0, 0, time.monotonic()
        self.key = key

    def message(self, first):
        """The records from `first` on; the same ones each time."""
        numbers = range(first, min(first + MESSAGE_RECORDS, RECORDS + 1))
        records = [
            cbor2.dumps({**self.fields, REQUEST: number.to_bytes(16, "big"), COST: self.costs[number - 1]})
            for number in numbers
        ]
        return cbor2.dumps({1: self.epoch, 2: first, 3: records})

    async def run(self):
        client = await connect(self.house)
        base = f"turnpike.v1.{self.house.org}"

        async def mark(message):
            told = cbor2.loads(message.data)
            if told[1] == self.epoch and told[2] > self.booked:
                self.booked, self.last = told[2], time.monotonic()

        await client.subscribe(f"{base}.booked.{self.gateway}", cb=mark)
        until = time.monotonic() + MOST_SECONDS
        while self.booked < RECORDS:
            assert time.monotonic() < until, f"seed {SEED}: {self.booked} of {RECORDS} are booked"
            before = self.booked
            firsts = range(before + 1, RECORDS + 1, MESSAGE_RECORDS)[:WINDOW]
            window = [first for first in firsts for _ in range(1 + (self.chance.random() < REPEATED))]
            if before and self.chance.random() < REPEATED:
                # What was booked long ago comes again too.
                window.append(self.chance.randint(1, before))
            self.chance.shuffle(window)
            for first in window:
                await client.publish(f"{base}.spend.{self.gateway}", self.message(first))
                self.sent += 1
            await client.flush()
            end = min(firsts[-1] + MESSAGE_RECORDS - 1, RECORDS)
            waited = time.monotonic()
            while self.booked < end and time.monotonic() - max(waited, self.last) < PATIENCE_SECONDS:
                await asyncio.sleep(0.01)
        await client.close()


def test_t1_a_projector_killed_at_any_moment_books_each_record_once(house):
    """Bounds: 4,000 records, a fifth of the messages twice, shuffled, 2 kills; in full, 1 M and 200."""
    key = house.command("POST", "/keys", {"name": "t1"})
    serves(house, 0, key["secret"])

    def sent():
        spend = kept(house, f"turnpike.v1.{house.org}.spend.*")
        return [message for _, message in spend if is_of_key(message, key)]

    model = last_record(wait_until(sent, "a record is sent")[0])
    wait_until(lambda: nano(usage(house, key)["cost_usd"]) > 0, "it is booked")
    before = house.usage()["total"]
    sender = Sender(house, joined(house), model, key)
    thread = threading.Thread(target=lambda: run(sender.run()))
    thread.start()
    chance, kills = random.Random(SEED), 0
    while kills < KILLS and thread.is_alive():
        progress = sender.booked
        while sender.booked == progress and thread.is_alive():
            time.sleep(0.01)
        time.sleep(chance.random() * LIFE_SECONDS)
        house.projector.kill()
        house.projector.start()
        kills += 1
    thread.join()
    assert sender.booked == RECORDS, f"seed {SEED}: {sender.booked}"
    total = sum(sender.costs)

    def exact():
        now = house.usage()["total"]
        return now["requests"] == before["requests"] + RECORDS and now

    now = wait_until(exact, "the books are read")
    assert nano(now["cost_usd"]) - nano(before["cost_usd"]) == total, f"seed {SEED}"
    first = cbor2.loads(model)[COST]
    assert nano(usage(house, key)["cost_usd"]) - first == total, f"seed {SEED}: the ledger"
    nobody_died(house)
    tell(
        "T1",
        records=RECORDS,
        kills=kills,
        messages=sender.sent,
        ledger_minus_sum=nano(usage(house, key)["cost_usd"]) - first - total,
    )
