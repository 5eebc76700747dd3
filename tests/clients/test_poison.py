"""Bytes on the bus that nobody should read: each process says so, goes on, and believes none of it."""

import threading
import time

import cbor2
import pytest
import requests

from books import capped_key
from figures import tell
from forgery import DATA, POSITION, PREV_HASH, SEQ, events_of, follows, heard, kept, say, seal
from house import House, counted, nano, wait_until
from spend import ask, price_dear_models

GATEWAYS = 3
# The design's bound for an alarm, and what a machine with more to do than it has cores may add.
ALARM_SECONDS, GRACE_SECONDS = 5, 30
HUGE_BYTES = 900_000
# A 64-bit integer's largest, and half of it.
MOST, HALF = 2**64 - 1, 2**63 - 1


@pytest.fixture(scope="module")
def house():
    with House(gateways=GATEWAYS, scripted=True) as running:
        price_dear_models(running)
        yield running


class Bystander:
    """Somebody who uses every gateway all the time and must not notice anything."""

    def __init__(self, house):
        self.house = house
        self.secret = house.command("POST", "/keys", {"name": f"bystander {time.time()}"})["secret"]
        self.wrong, self.served, self.stopping = [], 0, threading.Event()
        self.thread = threading.Thread(target=self._work)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        assert not self.wrong, self.wrong[:3]

    def _work(self):
        while not self.stopping.wait(0.05):
            number = self.served % GATEWAYS
            try:
                told = ask(self.house, number, self.secret)
            except requests.RequestException as error:
                told = (repr(error),)
            self.served += 1
            if told[0] != 200:
                self.wrong.append((number, told))


def processes(house):
    return [house.control, house.projector, *house.gateways]


def nobody_died(house):
    for process in processes(house):
        assert process.child.poll() is None, process.tail()
        log = process.log.read_text(errors="replace")
        assert "panicked" not in log, log[log.index("panicked") - 300 :][:1500]


def serves(house, number, secret):
    """Waits until a gateway serves a key: a loaded machine may not grant at once."""
    wait_until(lambda: ask(house, number, secret)[0] == 200, "it serves")


def works(house, name):
    """A fresh key can be made, used on all gateways, capped, revoked and audited."""
    key = capped_key(house, name, "1.00")
    for number in range(len(house.gateways)):
        serves(house, number, key["secret"])
    house.command("POST", f"/keys/{key['id']}/revoke", {"reason": "unused"})
    for number in range(len(house.gateways)):
        assert ask(house, number, key["secret"]) == (401, "key_revoked")
    told = [entry["type"] for entry in house.of_org("GET", "/audit", params={"key": key["id"]})["data"]]
    assert told[0] == "KeyRevoked" and told[-1] == "KeyCreated", told
    assert house.of_org("GET", "/audit/verify")["ok"] is True


def alarmed(house, before):
    """Waits until each gateway has counted an alarm and told of it; how many seconds that took."""
    start = time.monotonic()

    def told():
        counts = [counted(gateway, "mirror_alarms") for gateway in house.gateways]
        return all(now > then for now, then in zip(counts, before, strict=True))

    wait_until(told, "every gateway has counted an alarm", ALARM_SECONDS + GRACE_SECONDS)

    def noticed():
        notices = house.of_org("GET", "/notices")["data"]
        return sum(one["kind"] == "gateway_quarantined" for one in notices) == GATEWAYS

    wait_until(noticed, "people are told", ALARM_SECONDS + GRACE_SECONDS)
    return time.monotonic() - start


def alarms(house):
    return [counted(gateway, "mirror_alarms") for gateway in house.gateways]


def poisons(last, model, key):
    """Names and bytes of events that are none, beside one that could be the next."""
    sound = follows(last, model, name="KeyDisabled", data=cbor2.dumps({1: key}))
    fields = cbor2.loads(sound)
    yield "an unknown type", follows(last, model, name="KeyFrobnicated", data=cbor2.dumps({1: key}))
    yield "an unknown type of nothing", follows(last, model, name="X", data=b"\xa0")
    yield "a wrong version", follows(last, model, name="KeyRevoked", version=99)
    yield "data that are none", follows(last, model, data=b"\xff" * 100)
    yield "data of another type", follows(last, model, name="OrgSettingsChanged")
    yield "blank", b""
    yield "zeros", bytes(1_000)
    yield "huge and nothing", bytes(HUGE_BYTES)
    yield "huge and deep", b"\x81" * HUGE_BYTES
    yield "huge and sound", follows(last, model, data=cbor2.dumps({1: key, 99: bytes(HUGE_BYTES - 500)}))
    yield "a length that is a lie", b"\xbb" + b"\xff" * 8
    yield "flipped", sound[:-1] + bytes([sound[-1] ^ 1])
    yield "cut", sound[: len(sound) // 2]
    yield "with a tail", sound + b"\x00"
    yield "far ahead", seal({**fields, SEQ: MOST}, fields[POSITION])
    yield "before the first", seal({**fields, SEQ: 0}, fields[POSITION])
    yield "of another chain", seal({**fields, PREV_HASH: b"\x07" * 32}, fields[POSITION])
    yield "forged", sound


def test_t21_poisonous_events_stop_nobody(house):
    """Bounds: 18 kinds of bytes on the events of an organisation with 3 gateways, each in turn."""
    slowest = 0
    with Bystander(house):
        key = house.command("POST", "/keys", {"name": "aimed at"})
        model = events_of(house)[-1]
        about = cbor2.loads(cbor2.loads(model)[DATA])[1]
        kinds = [what for what, _ in poisons(model, model, about)]
        for number, what in enumerate(kinds):
            # The next of the chain is another one each time.
            poison = dict(poisons(events_of(house)[-1], model, about))[what]
            before = alarms(house)
            say(house, [(f"turnpike.v1.{house.org}.events.KeyDisabled", poison)])
            # A gap is filled, and what lies behind is known: neither is an alarm.
            if what not in ("far ahead", "of another chain", "before the first"):
                slowest = max(slowest, alarmed(house, before))
            nobody_died(house)
            house.call("DELETE", f"/orgs/{house.org}/keys/{works_on(house, number)}")
        works(house, "after the poison")
    for number in range(GATEWAYS):
        serves(house, number, key["secret"])
    tell("T21", kinds=len(kinds), slowest_alarm=f"{slowest:.1f} s")


def works_on(house, number):
    """A change that every gateway applies, whatever came before it; the key that it made."""
    return house.command("POST", "/keys", {"name": f"poison {number}"})["id"]


def test_t21_a_forged_chain_is_found_out_and_undone(house):
    """Bounds: a revoked key, activated by 4 forged events in a row, on 3 gateways."""
    with Bystander(house):
        key = house.command("POST", "/keys", {"name": "forged"})
        house.command("POST", f"/keys/{key['id']}/revoke", {"reason": "compromised"})
        last = events_of(house)[-1]
        data = cbor2.dumps({1: cbor2.loads(cbor2.loads(last)[DATA])[1]})
        forged = []
        for _ in range(4):
            forged.append(follows((forged or [last])[-1], last, name="KeyActivated", data=data))
        before, start = alarms(house), time.monotonic()
        say(house, [(f"turnpike.v1.{house.org}.events.KeyActivated", event) for event in forged])
        alarm = alarmed(house, before)

        def refused():
            return all(
                ask(house, number, key["secret"]) == (401, "key_revoked") for number in range(GATEWAYS)
            )

        wait_until(refused, "the lie is undone", ALARM_SECONDS + GRACE_SECONDS)
        undone = time.monotonic() - start
        works(house, "after the forgery")
    assert refused()
    tell("T21 (forged)", alarm=f"{alarm:.1f} s", undone=f"{undone:.1f} s")


def test_t21_replays_and_two_relays_change_nothing(house):
    """Bounds: the whole stream again, 2 times, backwards too, while a second control plane runs."""
    key = house.command("POST", "/keys", {"name": "replayed"})
    house.command("POST", f"/keys/{key['id']}/disable")
    second = house.second_control()
    try:
        second.start()
        with Bystander(house):
            beats = heard(house, "turnpike.v1.platform.heartbeat", 2)
            for subject in (f"turnpike.v1.{house.org}.events.*", "turnpike.v1.platform.events.*"):
                stream = kept(house, subject)
                say(house, stream + stream[::-1])
            say(house, [("turnpike.v1.platform.heartbeat", beat) for beat in beats + beats[::-1]])
            for number in range(GATEWAYS):
                assert ask(house, number, key["secret"]) == (401, "key_disabled")
            works(house, "with two relays")
            # The other takes over in the middle, and publishes what was published.
            house.control.kill()
            house.control.start()
            wait_until(lambda: works(house, f"after {time.time()}") is None, "it takes over")
    finally:
        second.kill()
    nobody_died(house)


def heartbeats(beat):
    """Bytes that mean to be heartbeats."""
    body, signature = cbor2.loads(beat)
    fields = cbor2.loads(body)
    yield cbor2.dumps([cbor2.dumps({**fields, 2: fields[2] + 1000}), signature])
    yield cbor2.dumps([cbor2.dumps({**fields, 4: 0}), signature])
    yield cbor2.dumps([cbor2.dumps({**fields, 1: b"\x01" * 16}), signature])
    yield cbor2.dumps([body, bytes(64)])
    yield beat[:-1]
    yield b""
    yield b"\x81" * HUGE_BYTES


def test_t21_forged_heartbeats_and_noise_on_every_subject_change_nothing(house):
    """Bounds: 7 heartbeats, and 6 kinds of noise on each of 8 subjects of each gateway."""
    gateways = [gateway["id"] for gateway in house.of_org("GET", "/gateways")["data"]]
    with Bystander(house):
        before = alarms(house)
        (beat,) = heard(house, "turnpike.v1.platform.heartbeat", 1)
        say(house, [("turnpike.v1.platform.heartbeat", forged) for forged in heartbeats(beat)])
        alarmed(house, before)
        noise = [b"", b"\xff", b"\xa0", b"\x81" * HUGE_BYTES, bytes(HUGE_BYTES), b"\x82\x01\xbf"]
        subjects = [f"turnpike.v1.{house.org}.{family}" for family in ("recall", "rates", "heartbeat")]
        for gateway in gateways:
            for family in ("spend", "receipts", "authority", "booked", "ledger"):
                subjects.append(f"turnpike.v1.{house.org}.{family}.{gateway}")
        say(house, [(subject, each) for subject in subjects for each in noise])
        nobody_died(house)
        works(house, "after the noise")
    wait_until(lambda: counted(house.projector, "booking_unreadable") > 0, "it is counted")
    assert "a spend message cannot be read" in house.projector.log.read_text()


def test_t21_poisonous_records_are_put_aside_and_their_neighbours_booked(house):
    """Bounds: 1 message of 12 records, 8 of them poison, in the name of a gateway of 3."""
    key = capped_key(house, "beside poison", "10.00")
    serves(house, 0, key["secret"])
    wait_until(lambda: nano(house.of_org("GET", f"/keys/{key['id']}")["usage"]["cost_usd"]) > 0, "booked")
    (subject, message), *_ = [
        (subject, payload)
        for subject, payload in kept(house, f"turnpike.v1.{house.org}.spend.*")
        if is_of_key(payload, key)
    ]
    record = last_record(message)
    fields = cbor2.loads(record)
    poison = [
        b"",
        b"\xff" * 50,
        b"\x81" * 500,
        cbor2.dumps({**fields, 14: -1}),
        cbor2.dumps({**fields, 6: "m" * 5_000}),
        cbor2.dumps({number: value for number, value in fields.items() if number != 3}),
        cbor2.dumps({**fields, 10: 77}),
        cbor2.dumps({**fields, 14: MOST}),
    ]
    good = [cbor2.dumps({**fields, 1: bytes([number]) * 16}) for number in range(1, 5)]
    mixed = [each for pair in zip(poison[::2], good, poison[1::2], strict=True) for each in pair]
    batch = cbor2.dumps({1: b"\x09" * 16, 2: 1, 3: mixed, 4: True})
    before = counted(house.projector, "booking_aside")
    usage = house.of_org("GET", f"/keys/{key['id']}")["usage"]
    with Bystander(house):
        start = time.monotonic()
        say(house, [(subject, batch)])

        def aside():
            kinds = [one["kind"] for one in house.of_org("GET", "/notices")["data"]]
            return "record_put_aside" in kinds

        wait_until(aside, "people are told of it", ALARM_SECONDS + GRACE_SECONDS)
        took = time.monotonic() - start
    assert counted(house.projector, "booking_aside") == before + len(poison)
    assert "spend records were put aside" in house.projector.log.read_text()
    now = house.of_org("GET", f"/keys/{key['id']}")["usage"]
    assert nano(now["cost_usd"]) == nano(usage["cost_usd"]) + len(good) * fields[14], (usage, now)
    nobody_died(house)
    works(house, "after poisonous records")
    tell("T21 (spend)", aside=len(poison), booked=len(good), alarm=f"{took:.1f} s")


def test_t21_what_a_gateway_may_say_of_itself_breaks_no_figure(house):
    """Bounds: 1 message of 5 records whose figures are as large as they can be, and calls like it."""
    key = house.command("POST", "/keys", {"name": "large figures"})
    serves(house, 1, key["secret"])

    def sent():
        spend = kept(house, f"turnpike.v1.{house.org}.spend.*")
        return [(subject, payload) for subject, payload in spend if is_of_key(payload, key)]

    (subject, message), *_ = wait_until(sent, "it is sent")
    fields = cbor2.loads(last_record(message))
    large = [
        {14: HALF, 15: HALF},
        {2: MOST},
        {2: 0},
        {8: 65_535, 18: 2**32 - 1, 21: 2**32 - 1},
        {9: {number: MOST for number in range(1, 4)}},
    ]
    records = [
        cbor2.dumps({**fields, 1: bytes([0x20 + number]) * 16, **change})
        for number, change in enumerate(large)
    ]
    numbers = [0, 1, HALF, MOST]
    batches = [cbor2.dumps({1: b"\x0a" * 16, 2: first, 3: records}) for first in numbers]
    batches.append(cbor2.dumps({1: b"\x0b" * 16, 2: MOST, 4: True}))
    calls = subject.replace(".spend.", ".authority.")
    receipts = subject.replace(".spend.", ".receipts.")
    with Bystander(house):
        say(house, [(subject, batch) for batch in batches])
        say(house, [(receipts, cbor2.dumps({1: b"\x0a" * 16, 2: fields[1], 3: MOST}))])
        say(house, [(calls, cbor2.dumps([kind, {1: b"\x0a" * 16}])) for kind in range(9)])
        for path in ("/usage", f"/keys/{key['id']}", f"/keys/{key['id']}/usage", "/requests", "/wallet"):
            answer = house.of_org("GET", path, expect=None)
            assert answer.status_code == 200, f"{path}: {answer.text}"
        works(house, "after large figures")
    nobody_died(house)


def is_of_key(message, key):
    """Whether a spend message holds a record of a key and nothing that is none."""
    try:
        records = [cbor2.loads(record) for record in cbor2.loads(message)[3]]
    except (cbor2.CBORError, LookupError, TypeError):
        return False
    return all(type_id("key", record[3]) == key["id"] for record in records)


def type_id(prefix, number):
    """The text of an id: a prefix and 26 digits of Crockford's base32."""
    digits, number = "0123456789abcdefghjkmnpqrstvwxyz", int.from_bytes(number, "big")
    return f"{prefix}_" + "".join(digits[number >> 5 * place & 31] for place in reversed(range(26)))


def last_record(message):
    return cbor2.loads(message)[3][-1]
