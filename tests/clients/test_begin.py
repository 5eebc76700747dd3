"""Processes that begin in any order, end when they are told to, and whose disks are full."""

import asyncio
import resource
import signal
import time
import uuid

import nats
import pytest
import requests

import absent
from absent import HEALED_SECONDS
from books import settled
from house import House, counted, nano, wait_until
from spend import ask

# An end in order where nothing is at work.
END_SECONDS = 20


def health(process, which):
    """Status and words of a probe; none while the admin port is not open yet."""
    try:
        answer = requests.get(f"http://127.0.0.1:{process.admin_port}/healthz/{which}", timeout=5)
    except requests.RequestException:
        return None, ""
    return answer.status_code, answer.text


def waits_for(process, what):
    """Whether it lives, has not started, and says what it waits for."""
    status, told = health(process, "startup")
    return health(process, "live")[0] == 200 and status == 503 and what in told


def ends(process, number=signal.SIGTERM):
    """It ends by itself when it is told to, however far it has come."""
    process.child.send_signal(number)
    return process.child.wait(END_SECONDS)


def without_jetstream(house):
    """The NATS server as it is without JetStream, or while a cluster has chosen no leader of it."""
    whole = house.nats.command
    house.nats.command = [word for word in whole if word not in ("-js", "-sd", house.jetstream)]
    return whole


def test_processes_begin_in_the_worst_order_and_say_what_they_wait_for():
    """Bounds: a gateway before everything, a projector, a control plane without NATS, NATS without
    JetStream; each ended once before it had what it waits for."""
    with House(gateways=0) as house:
        house.nats.kill()
        assert ends(house.projector) == 0
        assert ends(house.control) == 0
        gateway = house._gateway(0)
        for last in (False, True):
            gateway.start(wait=False)
            wait_until(lambda: waits_for(gateway, "waiting for the control plane"), "it says so")
            if not last:
                ends(gateway)
        for last in (False, True):
            house.projector.start(wait=False)
            wait_until(lambda: waits_for(house.projector, "waiting for NATS"), "it says so")
            if not last:
                assert ends(house.projector, signal.SIGINT) == 0
        house.control.start()
        made = house.of_org("POST", "/keys", {"name": "before NATS"})
        wait_until(lambda: waits_for(gateway, "waiting for keys"), "it has joined and waits further")
        whole = without_jetstream(house)
        house.nats.start()
        # Whoever begins now finds a bus that keeps nothing.
        assert ends(house.control) == 0
        house.control.start()
        assert gateway.child.poll() is None and house.projector.child.poll() is None
        house.nats.kill()
        house.nats.command = whole
        house.nats.start()
        house.gateways = [gateway]
        gateway.wait_ready()
        house.projector.wait_ready()
        assert ask(house, 0, made["secret"], "echo-1") == (200, None)
        # It joined once, however often it tried.
        assert len(house.of_org("GET", "/gateways")["data"]) == 1
        absent.a_fresh_key_works(house)
        settled(house)


def test_a_second_signal_ends_a_gateway_that_drains():
    """Bounds: one gateway, a stream of 30 s, SIGTERM twice."""
    options = {"TURNPIKE_SERVE_NOTICE_MS": "60000"}
    with House(gateways=1, gateway_options=options) as house:
        gateway = house.gateways[0]
        gateway.child.terminate()
        wait_until(lambda: not gateway.ready(), "it is not ready any more")
        assert health(gateway, "live")[0] == 200 and gateway.child.poll() is None
        gateway.child.terminate()
        assert gateway.child.wait(END_SECONDS) == 128 + signal.SIGTERM


@pytest.fixture(scope="module")
def full():
    """A house whose processes hear of a full disk as an error, and whose logs go to a full one."""
    with House(gateways=1) as house:
        for process in (house.control, house.projector, house.gateways[0]):
            process.stop()
        with open("/dev/full", "wb") as nowhere:
            for process in (house.control, house.projector, house.gateways[0]):
                # Python ignores SIGXFSZ; what it starts here does too.
                process.start(stdout=nowhere, stderr=nowhere, restore_signals=False)
        wait_until(lambda: absent.fresh(house), "the gateway is fresh")
        yield house


def test_a_full_disk_of_logs_harms_nobody(full):
    """Bounds: 3 processes whose standard error is full, NATS killed so that all have much to say."""
    full.nats.kill()
    wait_until(lambda: absent.age_ms(full.gateways[0]) > 6_000, "the gateway has said that it is stale")
    full.nats.start()
    absent.a_fresh_key_works(full)
    for process in (full.control, full.projector, full.gateways[0]):
        assert process.child.poll() is None
        assert counted(process, "task_panics") == 0


def fill_disk(*processes):
    """From now on no file of theirs may be written; answers what heals it."""
    before = [resource.prlimit(each.child.pid, resource.RLIMIT_FSIZE) for each in processes]
    for process, (_, most) in zip(processes, before):
        resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, (0, most))

    def heal():
        for process, limits in zip(processes, before):
            resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, limits)

    return heal


def test_a_full_disk_of_the_store_heals_by_itself(full):
    """Bounds: no process can write the store for some 10 s; gateways serve, commands are told."""
    known = full.command("POST", "/keys", {"name": "on a full disk"})
    name = str(uuid.uuid4())
    heal = fill_disk(full.control, full.projector)
    try:
        for _ in range(2):
            began = time.monotonic()
            answer = absent.make_key(full, name)
            assert time.monotonic() - began < 20
            assert answer.status_code == 503 and answer.json()["code"] == "store_unavailable", answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert ask(full, 0, known["secret"], "echo-1") == (200, None)
    finally:
        heal()
    absent.is_made_once(full, name)
    absent.a_fresh_key_works(full)
    settled(full)
    for process in (full.control, full.projector):
        assert counted(process, "task_panics") == 0


def test_when_one_process_cannot_write_the_store_another_takes_it(full):
    """Bounds: the holder of the store cannot write; the other process can."""
    processes = [full.control, full.projector]
    holder = next(each for each in processes if absent.holds_the_store(each))
    other = next(each for each in processes if each is not holder)
    heal = fill_disk(holder)
    try:
        absent.is_made_once(full, str(uuid.uuid4()))
        wait_until(lambda: absent.holds_the_store(other), "the other one holds the store", HEALED_SECONDS)
        absent.a_fresh_key_works(full)
    finally:
        heal()


def test_a_full_disk_of_a_gateway_refuses_and_heals_by_itself(full):
    """Bounds: one gateway gets no more room for its spool; at most 2,000 requests are served in what
    it has, none unmetered, and then all is again."""
    known = full.command("POST", "/keys", {"name": "on a full spool"})
    gateway = full.gateways[0]
    assert ask(full, 0, known["secret"], "echo-1") == (200, None)
    heal = fill_disk(gateway)
    try:
        message = {"model": "echo-1", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {known['secret']}"
            url = f"{full.gateway_url(0)}/v1/chat/completions"
            answers = (session.post(url, json=message, timeout=30) for _ in range(2_000))
            answer = next(each for each in answers if each.status_code != 200)
        assert answer.status_code == 503, answer.text
        assert answer.headers["x-turnpike-error-code"] == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1
        wait_until(lambda: counted(gateway, "spool_failures") > 0, "it is counted", 10)
    finally:
        heal()
    served = lambda: ask(full, 0, known["secret"], "echo-1") == (200, None)  # noqa: E731
    wait_until(served, "it serves again", 10)
    rows = settled(full)
    # One that was refused while its opening line was written may be told of, at no cost.
    assert len(rows) >= full.served()["requests"]
    assert nano(full.usage()["total"]["cost_usd"]) == nano(full.served()["cost_usd"])
    assert counted(gateway, "task_panics") == 0


def delete_stream(house, name):
    async def delete():
        client = await nats.connect(house.nats_url)
        await client.jetstream().delete_stream(name)
        await client.close()

    asyncio.run(delete())


def streams(house):
    async def ask_for():
        client = await nats.connect(house.nats_url)
        found = {info.config.name for info in await client.jetstream().streams_info()}
        await client.close()
        return found

    return asyncio.run(ask_for())


def test_streams_that_were_deleted_are_made_again_where_nothing_happens():
    """Bounds: each of the three streams deleted in a house at rest, with a bound of 30 s; one gateway."""
    with House(gateways=1) as house:
        key = house.command("POST", "/keys", {"name": "at rest"})
        for name in ("TURNPIKE_EVENTS", "TURNPIKE_SPEND"):
            delete_stream(house, name)
            wait_until(lambda: name in streams(house), f"{name} is made again", 30)
            wait_until(lambda: absent.fresh(house), "the gateway is fresh", 30)
            assert ask(house, 0, key["secret"], "echo-1") == (200, None)
        # What only the projector writes to is made again when it does.
        delete_stream(house, "TURNPIKE_LEDGER")
        assert ask(house, 0, key["secret"], "echo-1") == (200, None)
        wait_until(lambda: "TURNPIKE_LEDGER" in streams(house), "the ledger is made again", 30)
        settled(house)
        absent.a_fresh_key_works(house)
