"""NATS with a user for each process: the house works, and a gateway's user can do no more than it."""

import asyncio
import subprocess

import nats
import nats.js.errors
import pytest
import requests

from house import TARGET, House, nano, wait_until

PASSWORD = "hunter2hunter2"
# The server complains at once; a loaded machine needs longer.
COMPLAINT_SECONDS = 60


@pytest.fixture(scope="module")
def house():
    with House(gateways=2, users=True) as running:
        yield running


def chat(house, number, secret):
    return requests.post(
        f"{house.gateway_url(number)}/v1/chat/completions",
        headers={"Authorization": f"Bearer {secret}"},
        json={"model": "echo-1", "messages": [{"role": "user", "content": "four words come back"}]},
        timeout=30,
    )


def booked(house):
    total = house.usage()["total"]
    return total["requests"], nano(total["cost_usd"])


def test_a_house_with_users_pushes_serves_and_books(house):
    listed = house.of_org("GET", "/gateways")["data"]
    assert {gateway["id"] for gateway in listed} == set(house.gateway_ids)
    made = house.command("POST", "/keys", {"name": "with users"})
    for number in range(2):
        assert chat(house, number, made["secret"]).status_code == 200
    truth = house.served()
    wait_until(lambda: booked(house) == (2, nano(truth["cost_usd"])), "both requests are booked")
    house.command("POST", f"/keys/{made['id']}/revoke", {"reason": "unused"})
    for number in range(2):
        assert chat(house, number, made["secret"]).status_code == 401


def test_a_gateway_finds_its_inbox_again_after_a_crash(house):
    house.gateways[0].kill()
    # Its disk remembers the id that the operator chose.
    del house.gateways[0].environment["TURNPIKE_ID"]
    house.gateways[0].start()
    made = house.command("POST", "/keys", {"name": "after the crash"})
    before = booked(house)[0]
    assert chat(house, 0, made["secret"]).status_code == 200
    wait_until(lambda: booked(house)[0] == before + 1, "the request is booked")


def test_the_user_of_a_gateway_can_act_as_nobody_else(house):
    own, other = house.gateway_ids
    before = booked(house)

    async def steal():
        complaints = asyncio.Queue()

        async def complain(error):
            complaints.put_nowait(str(error).lower())

        thief = await nats.connect(
            house.nats_url,
            user=own,
            password=house.logins[own],
            inbox_prefix=f"_INBOX_{own}".encode(),
            error_cb=complain,
            allow_reconnect=False,
        )
        for subject in (
            f"turnpike.v1.{house.org}.events.KeyRevoked",
            f"turnpike.v1.{house.org}.spend.{other}",
            f"turnpike.v1.{house.org}.receipts.{other}",
            f"turnpike.v1.{house.org}.authority.{other}",
            f"turnpike.v1.{house.org}.booked.{own}",
            f"turnpike.v1.{house.org}.heartbeat",
            f"turnpike.v1.{house.org}.recall",
            f"turnpike.v1.{house.org}.ledger.{own}",
            "$JS.API.STREAM.PURGE.TURNPIKE_SPEND",
            "$JS.API.STREAM.DELETE.TURNPIKE_EVENTS",
        ):
            await refused(complaints, thief.publish(subject, b"x"), "publish", subject)
        for subject in (
            "turnpike.v1.>",
            f"turnpike.v1.{house.org}.spend.*",
            f"turnpike.v1.{house.org}.events.*",
            f"_INBOX_{other}.>",
            "_INBOX.>",
        ):
            await refused(complaints, thief.subscribe(subject), "subscription", subject)
        await thief.close()

    async def refused(complaints, attempt, kind, subject):
        await attempt
        told = await asyncio.wait_for(complaints.get(), COMPLAINT_SECONDS)
        assert f'permissions violation for {kind} to "{subject}"'.lower() in told, told

    asyncio.run(steal())
    made = house.command("POST", "/keys", {"name": "after the theft"})
    assert chat(house, 1, made["secret"]).status_code == 200
    wait_until(lambda: booked(house)[0] == before[0] + 1, "only the honest request is booked")
    assert house.of_org("GET", "/audit/verify")["ok"] is True


def test_nobody_connects_without_a_password(house):
    async def connect():
        await nats.connect(house.nats_url, allow_reconnect=False, max_reconnect_attempts=0)

    with pytest.raises(nats.errors.Error):
        asyncio.run(connect())


@pytest.mark.parametrize("service", ["control-plane", "projector", "gateway"])
def test_passwords_are_not_shown(house, service):
    process = {
        "control-plane": house.control, "projector": house.projector, "gateway": house.gateways[0]
    }[service]
    plain = {name: text for name, text in process.environment.items() if "_NATS_" not in name}

    def configuration(bus, **more):
        done = subprocess.run(
            [TARGET / f"turnpike-{service}", "--check-config"],
            env={**plain, "TURNPIKE_BUS": bus, **more},
            capture_output=True,
            text=True,
            timeout=60,
        )
        told = done.stdout + done.stderr
        assert PASSWORD not in told, told
        return done.returncode, told

    code, told = configuration(f"nats://me:{PASSWORD}@127.0.0.1:4222")
    assert code == 0 and 'bus = "nats://me:(hidden)@127.0.0.1:4222"' in told, told
    login = {"TURNPIKE_NATS_USER": "me", "TURNPIKE_NATS_PASSWORD": PASSWORD}
    code, told = configuration("nats://127.0.0.1:4222", **login)
    assert code == 0 and 'password = "(hidden)"' in told, told
    code, told = configuration(f"nats://me:{PASSWORD}@127.0.0.1:4222", **login)
    assert code == 1 and "bus holds a user or token" in told, told
    for process in (house.control, house.projector, *house.gateways):
        log = process.log.read_text()
        assert not any(password in log for password in house.logins.values()), process.name
