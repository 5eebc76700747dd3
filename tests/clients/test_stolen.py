"""A stolen credential of a gateway, for NATS and for the control plane: what a thief can do with it."""

import asyncio
import time

import cbor2
import nats
import pytest
import requests

from books import capped_key, usage
from figures import tell
from forgery import connect, events_of, follows
from house import House, counted, new_gateway_id, nano, wait_until
from spend import ask, judged, price_dear_models
from test_poison import nobody_died, serves, works

# The design's bound, and what a machine with more to do than it has cores may add.
FENCED_SECONDS, GRACE_SECONDS = 5, 30
# Longer than a server takes to complain, or a message to arrive.
QUIET_SECONDS = 1
CAP_USD = "1.00"
APPLIED = {"wait": "applied", "timeout_ms": "20000"}


@pytest.fixture(scope="module")
def house():
    with House(gateways=2, scripted=True, users=True) as running:
        price_dear_models(running)
        yield running


class Thief:
    """Somebody with the NATS user and the join token of the first gateway."""

    def __init__(self, house):
        self.house = house
        self.own, self.other = house.gateway_ids
        self.token = (house.folder / "first/join-token").read_text()

    def control(self, method, path, gateway=None, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        if gateway:
            headers["x-turnpike-gateway"] = gateway
        url = f"{self.house.control_url}/internal/v1{path}"
        return requests.request(method, url, headers=headers, json=body, timeout=30)

    def try_all(self, attempts):
        """Publishes (subject, payload, reply); answers with the subjects that the server took."""

        async def work():
            complaints = []

            async def complain(error):
                complaints.append(str(error).lower())

            client = await nats.connect(
                self.house.nats_url,
                user=self.own,
                password=self.house.logins[self.own],
                inbox_prefix=f"_INBOX_{self.own}".encode(),
                error_cb=complain,
            )
            for subject, payload, reply in attempts:
                await client.publish(subject, payload, reply=reply)
            await client.flush()
            await asyncio.sleep(QUIET_SECONDS)
            await client.close()
            tried = {subject for subject, *_ in attempts}
            return {subject for subject in tried if f'"{subject}"'.lower() not in "".join(complaints)}

        return asyncio.run(work())

    def overhears(self, subjects, while_busy):
        """What arrives on subjects while others work; a subject that is refused brings nothing."""

        async def work():
            found = []

            async def note(message):
                found.append((message.subject, message.data))

            async def ignore(_):
                pass

            client = await nats.connect(
                self.house.nats_url,
                user=self.own,
                password=self.house.logins[self.own],
                inbox_prefix=f"_INBOX_{self.own}".encode(),
                error_cb=ignore,
            )
            for subject in subjects:
                await client.subscribe(subject, cb=note)
            await client.flush()
            await asyncio.get_running_loop().run_in_executor(None, while_busy)
            await asyncio.sleep(QUIET_SECONDS)
            await client.close()
            return found

        return asyncio.run(work())


def test_t33_a_stolen_user_forges_nothing_and_reads_nothing_of_others(house):
    """Bounds: some 60 subjects to write to and 12 to read, with one gateway's user of 2."""
    thief = Thief(house)
    key = capped_key(house, "watched", CAP_USD)
    serves(house, 1, key["secret"])
    booked = wait_until(lambda: nano(usage(house, key)["cost_usd"]), "it is booked")
    last = events_of(house)[-1]
    forged = follows(last, last)
    org, own, other = house.org, thief.own, thief.other
    base = f"turnpike.v1.{org}"
    attempts = [(f"{base}.events.{kind}", forged, "") for kind in ("KeyCreated", "KeyActivated", "X")]
    attempts += [("turnpike.v1.platform.events.ModelPriced", forged, "")]
    for family in ("spend", "receipts", "authority", "booked", "ledger"):
        attempts.append((f"{base}.{family}.{other}", b"\xa0", ""))
    attempts += [(f"{base}.{family}", b"\xa0", "") for family in ("heartbeat", "recall", "rates")]
    attempts += [(f"{base}.booked.{own}", b"\xa0", ""), ("turnpike.v1.platform.heartbeat", b"\xa0", "")]
    attempts += [(f"_INBOX_{other}.x", b"\xa0", ""), ("_INBOX.x", b"\xa0", "")]
    for stream in ("TURNPIKE_EVENTS", "TURNPIKE_SPEND", "TURNPIKE_LEDGER"):
        for verb in ("PURGE", "DELETE", "UPDATE", "CREATE", "INFO", "MSG.GET", "MSG.DELETE", "SNAPSHOT"):
            attempts.append((f"$JS.API.STREAM.{verb}.{stream}", b"{}", f"_INBOX_{own}.a"))
        attempts.append((f"$JS.API.DIRECT.GET.{stream}", b'{"seq":1}', f"_INBOX_{own}.a"))
        attempts.append((f"$JS.API.CONSUMER.NAMES.{stream}", b"", f"_INBOX_{own}.a"))
        attempts.append((f"$JS.API.CONSUMER.CREATE.{stream}", b"{}", f"_INBOX_{own}.a"))
        for subject in ("turnpike.v1.>", f"{base}.spend.{other}", f"{base}.spend.*", ">"):
            attempts.append((f"$JS.API.CONSUMER.CREATE.{stream}.c.{subject}", b"{}", f"_INBOX_{own}.a"))
    attempts += [(f"$JS.API.{what}", b"", "") for what in ("INFO", "STREAM.NAMES", "STREAM.LIST")]
    assert thief.try_all(attempts) == set()

    def busy():
        for _ in range(5):
            serves(house, 1, key["secret"])

    foreign = [
        f"{base}.{family}.{other}" for family in ("spend", "receipts", "authority", "booked", "ledger")
    ]
    foreign += [f"{base}.{family}.*" for family in ("spend", "receipts", "authority")]
    foreign += [f"_INBOX_{other}.>", "_INBOX.>", "turnpike.v1.>", "$JS.API.>", "$SYS.>"]
    assert thief.overhears(foreign, busy) == []
    assert nano(usage(house, key)["cost_usd"]) >= booked
    nobody_died(house)
    works(house, "after the theft of a user")
    tell("T33", subjects_tried=len(attempts) + len(foreign), taken=0)


def test_t33_answers_cannot_be_sent_to_others(house):
    """Bounds: 6 calls of one gateway's user that ask for their answer on somebody else's subject."""
    thief = Thief(house)
    base = f"turnpike.v1.{house.org}"
    before = counted(house.gateways[1], "mirror_alarms")
    targets = [
        f"{base}.events.KeyRevoked",
        f"{base}.heartbeat",
        f"{base}.recall",
        f"{base}.booked.{thief.other}",
        f"{base}.spend.{thief.other}",
        f"_INBOX_{thief.other}.x",
    ]
    # A call for permits that can be read: its answer repeats what it says.
    call = cbor2.dumps([2, {1: bytes(16), 2: [1, bytes(16)], 3: 1, 4: 1, 5: 1}])

    async def listen():
        spy = await connect(house, "control-plane")
        found = []

        async def note(message):
            found.append((message.subject, message.data))

        for target in targets:
            await spy.subscribe(target, cb=note)
        await spy.flush()
        loop = asyncio.get_running_loop()
        attempts = [(f"{base}.authority.{thief.own}", call, target) for target in targets]
        await loop.run_in_executor(None, thief.try_all, attempts)
        await asyncio.sleep(QUIET_SECONDS)
        await spy.close()
        return found

    families = ("heartbeat", "recall", f"booked.{thief.other}", f"spend.{thief.other}")
    honest = {f"{base}.{family}" for family in families}
    strange = [subject for subject, _ in asyncio.run(listen()) if subject not in honest]
    assert strange == []
    assert counted(house.gateways[1], "mirror_alarms") == before
    nobody_died(house)


def test_t33_a_stolen_token_and_user_act_for_nobody_else_and_are_fenced(house):
    """Bounds: 5 calls of the control plane, 8 words on leases; one gateway of 2."""
    thief = Thief(house)
    # Nobody's id but those that joined with it; other credentials are other doors.
    stranger = thief.control("GET", "/snapshot", gateway=new_gateway_id())
    assert stranger.status_code == 403, stranger.text
    assert thief.control("GET", "/heads").status_code == 403
    for path in ("/me", f"/orgs/{house.org}/keys"):
        told = house.call("GET", path, token=thief.token, expect=None)
        assert (told.status_code, told.json()["code"]) == (401, "wrong_credential_kind")
    assert judged(house, 1, thief.token) == (401, "wrong_credential_kind")
    key = capped_key(house, "robbed", CAP_USD)
    serves(house, 0, key["secret"])
    start = time.monotonic()
    fenced = house.of_org("POST", f"/gateways/{thief.own}/fence")
    assert fenced["fenced"] is True

    def out():
        return (
            ask(house, 0, key["secret"])[0] != 200
            and thief.control("GET", "/snapshot", gateway=thief.own).status_code == 403
            and thief.control("GET", "/heads", gateway=thief.own).status_code == 403
        )

    wait_until(out, "the thief is fenced", FENCED_SECONDS + GRACE_SECONDS)
    took = time.monotonic() - start
    listed = {one["id"]: one for one in house.of_org("GET", "/gateways")["data"]}
    assert (listed[thief.own]["online"], listed[thief.other]["online"]) == (False, True)
    # A proof does not wait for it, and the honest one serves on.
    made = house.of_org("POST", "/keys", {"name": "after"}, params=APPLIED)
    assert (made["propagation"]["online"], made["propagation"]["missing"]) == (1, [])
    serves(house, 1, key["secret"])
    # What it spends all the same is counted, and never gives anybody else's away.
    rejoin = thief.control("POST", "/join", body={"name": "again", "gateway": thief.own})
    assert thief.control("GET", "/heads", gateway=thief.own).status_code == 403, rejoin.text
    tell("T33 (fence)", fenced_after=f"{took:.1f} s")


def test_t33_a_token_that_is_deleted_opens_nothing(house):
    """Bounds: one join token that 1 gateway of 3 has joined with."""
    token = house.of_org("POST", "/gateways/tokens", {"name": "stolen"})
    thief = Thief(house)
    thief.token = token["secret"]
    joined = thief.control("POST", "/join", body={"name": "thief", "gateway": None})
    assert joined.status_code == 200, joined.text
    gateway = joined.json()["gateway"]
    assert thief.control("GET", "/heads", gateway=gateway).status_code == 200
    # Not even with the id of a gateway that another token let in.
    for other in house.gateway_ids:
        assert thief.control("GET", "/heads", gateway=other).status_code == 403
        taken = thief.control("POST", "/join", body={"name": "x", "gateway": other})
        assert taken.status_code == 403, taken.text
    house.of_org("DELETE", f"/gateways/tokens/{token['id']}")
    assert thief.control("GET", "/heads", gateway=gateway).status_code == 401
    assert thief.control("POST", "/join", body={"name": "x", "gateway": None}).status_code == 401
    house.of_org("DELETE", f"/gateways/{gateway}")
