"""T6, T20: processes end and begin again under load, gateways join, and nobody notices."""

import http.client
import json
import threading
import time
import uuid
from types import SimpleNamespace

import pytest
import requests

from balancer import Balancer
from books import capped_key, served_by_request, settled, usage
from figures import tell
from house import House, nano, wait_until
from load import Load, Wrong
from spend import form
from withheld import of_requests

pytestmark = pytest.mark.soak
SEED = 20261121
GATEWAYS = 3
# A balancer looks twice in the notice that it is given.
LOOK_SECONDS = 0.5
NOTICE_MS = 1_500
DRAIN_MS = 30_000
# Streams of echo-slow: 20 words a second, so 3 s each, well below the drain also on a slow machine.
STREAM_WORDS = 60
STREAMS = form(6, 30)
ROUNDS = form(1, 10)
PER_SECOND = form(60, 100)
# An orderly end: notice, drain, outbox.
END_SECONDS = 90
# Gateways that join while keys come, so many in one commit.
JOINS, IMPORTED_AT_ONCE = form(3, 30), 200


@pytest.fixture(scope="module")
def place():
    """A house whose callers and gateways reach everything through balancers."""
    front, control = (Balancer(LOOK_SECONDS, NOTICE_MS / 1000) for _ in range(2))
    options = {
        "TURNPIKE_CONTROL_URL": control.url,
        "TURNPIKE_SERVE_NOTICE_MS": str(NOTICE_MS),
        "TURNPIKE_SERVE_DRAIN_MS": str(DRAIN_MS),
    }
    with House(gateways=0, scripted=True, gateway_options=options) as house:
        control.add(house.control)
        wait_until(lambda: control.up, "the control plane is seen")
        for number in range(GATEWAYS):
            house.gateways.append(house._gateway(number).start())
            front.add(house.gateways[-1])
        wait_until(lambda: len(front.up) == GATEWAYS, "all gateways are seen")
        house.control_url = control.url
        yield house, front, control
    front.close()
    control.close()


class Streams:
    """Slow streams, each over a connection of its own, one after the other; all must end whole."""

    def __init__(self, port, secret):
        self.port, self.secret = port, secret
        self.whole, self.cut, self.wrong, self.stopping = 0, [], [], threading.Event()
        self.threads = [threading.Thread(target=self._work) for _ in range(STREAMS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _work(self):
        while not self.stopping.is_set():
            try:
                words = self._stream()
            except (OSError, http.client.HTTPException) as error:
                words = repr(error)
            if isinstance(words, Wrong):
                self.wrong.append(words)
            elif words == STREAM_WORDS:
                self.whole += 1
            else:
                self.cut.append(words)

    def _stream(self):
        """How many words came before the end, or what came instead of them."""
        began = time.time()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = " ".join(["w"] * STREAM_WORDS)
        body = {"model": "echo-slow", "messages": [{"role": "user", "content": text}], "stream": True}
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        if answer.status != 200:
            code = answer.headers.get("x-turnpike-error-code")
            return Wrong(None, answer.status, code, began, time.time(), content[:300])
        if "data: [DONE]" not in content:
            return f"cut: {content[-200:]}"
        chunks = [json.loads(line[6:]) for line in content.splitlines() if line.startswith("data: {")]
        told = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        return len(told.split())


def end(process):
    """SIGTERM, and the process has ended by itself, well."""
    since = time.monotonic()
    process.child.terminate()
    assert process.child.wait(END_SECONDS) == 0, process.tail()
    return time.monotonic() - since


def one_after_the_other(balancer, processes):
    """Each ends and starts again; the next one follows once the balancer sends to it again."""
    took = []
    for process in processes:
        took.append(end(process))
        process.start()
        wait_until(lambda: balancer.sends_to(process), f"{process.name} is seen again")
    return took


def before_the_balancer(house, front):
    """The house as callers see it: one address for all gateways."""
    return SimpleNamespace(gateways=[front])


def all_well(load, streams, front, withheld):
    """Nobody was cut, and nobody refused but with the 503 that is tried again, and who for most of the
    time waited for the machine: a permit that gets no turn for a second is over. How many those were."""
    told = [*load.wrong, *streams.wrong]
    refused = [one for one in told if one.status != 503 or not withheld.mostly(one.began, one.ended)]
    assert refused == [], refused[:5]
    assert load.broken == [], load.broken[:5]
    assert streams.cut == [], streams.cut[:5]
    assert front.refused == [], front.refused[:5]
    return len(told)


def books_are_exact(house):
    """Each request that was served is booked once, at its cost: nothing lost, nothing estimated."""
    rows, served = settled(house), served_by_request(house)
    total, truth = house.usage()["total"], house.served()
    late = [row for row in rows.values() if row["status"] == 503]
    assert all(nano(row["cost_usd"]) == 0 for row in late), late[:3]
    assert set(rows) - {row["id"] for row in late} == set(served)
    assert total["requests"] == len(rows) == truth["requests"] + len(late)
    assert total["estimated_requests"] == 0
    assert nano(total["cost_usd"]) == nano(truth["cost_usd"])
    return len(served)


def test_t6_gateways_are_restarted_and_nobody_is_refused_or_cut(place):
    """Bounds: 3 gateways once each under 60 requests a second and 6 streams; in full, 10 times."""
    house, front, _ = place
    key = house.command("POST", "/keys", {"name": "t6 gateways"})
    load = Load(before_the_balancer(house, front), key["secret"], PER_SECOND, workers=20, seed=SEED)
    took = []
    withheld = of_requests(house)
    with withheld, load, Streams(front.port, key["secret"]) as streams:
        for _ in range(ROUNDS):
            took += one_after_the_other(front, house.gateways)
    refused = all_well(load, streams, front, withheld)
    assert streams.whole > 0 and sum(load.results.values()) > 100
    booked = books_are_exact(house)
    tell(
        "T6 (gateways)",
        restarts=len(took),
        longest=f"{max(took):.1f} s",
        requests=booked,
        streams=streams.whole,
        refused=refused,
        cut=0,
        lost=0,
    )


def test_t6_projectors_are_restarted_and_capped_keys_go_on(place):
    """Bounds: 2 projectors once each, a capped and a rate-limited key at 60 a second; in full, 10
    times."""
    house, front, _ = place
    first = house.projector
    second = house._projector()
    second.name = "projector-2"
    limits = {"requests_per_minute": 600_000}
    key = capped_key(house, "t6 projectors", "1000.00", **limits)
    load = Load(before_the_balancer(house, front), key["secret"], PER_SECOND, workers=20, seed=SEED)
    took, withheld = [], of_requests(house)
    try:
        with withheld, load, Streams(front.port, key["secret"]) as streams:
            second.start()
            for _ in range(ROUNDS):
                for process in (first, second):
                    took.append(end(process))
                    process.start()
        refused = all_well(load, streams, front, withheld)
        booked = books_are_exact(house)
        spent = sum(nano(row["cost_usd"]) for row in settled(house).values() if row["key_id"] == key["id"])
        wait_until(lambda: nano(usage(house, key)["held_cost_usd"]) == 0, "nothing is held", 30)
        assert nano(usage(house, key)["cost_usd"]) == spent
    finally:
        second.kill()
    tell(
        "T6 (projectors)",
        restarts=len(took),
        longest=f"{max(took):.1f} s",
        requests=booked,
        refused=refused,
        lost=0,
    )


class Work(threading.Thread):
    """Goes on beside the test until it is left."""

    def __init__(self, house):
        super().__init__()
        self.house, self.stopping = house, threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


class Commands(Work):
    """Makes keys as fast as it is let, each once; all must be answered with 201."""

    def __init__(self, url, house):
        super().__init__(house)
        self.url, self.made, self.wrong = url, [], []

    def run(self):
        session = requests.Session()
        headers = {"Authorization": f"Bearer {self.house.token}"}
        while not self.stopping.is_set():
            name = f"t6 {uuid.uuid4()}"
            try:
                url = f"{self.url}/api/v1/orgs/{self.house.org}/keys"
                answer = session.post(url, json={"name": name}, headers=headers, timeout=30)
                told = answer.status_code if answer.status_code != 201 else None
            except requests.RequestException as error:
                told = repr(error)
            if told:
                self.wrong.append(told)
            else:
                self.made.append(name)


def test_t6_control_planes_are_restarted_and_commands_go_on(place):
    """Bounds: 2 control planes once each, commands without a pause and 60 requests a second; in full,
    10 times."""
    house, front, control = place
    first = house.control
    second = house._control()
    house.control_url = control.url
    second.name = "control-plane-2"
    for process in (first, second):
        process.environment["TURNPIKE_NOTICE_MS"] = str(NOTICE_MS)
    key = house.command("POST", "/keys", {"name": "t6 control planes"})
    load = Load(before_the_balancer(house, front), key["secret"], PER_SECOND, workers=20, seed=SEED)
    took, withheld = [], of_requests(house)
    try:
        # The first one began without a notice: another takes its place before it ends.
        second.start()
        control.add(second)
        wait_until(lambda: control.sends_to(second), "the second control plane is seen")
        control.behind = [second]
        wait_until(lambda: not control.sends_to(first), "the first one is left alone")
        end(first)
        first.start()
        control.add(first)
        wait_until(lambda: control.sends_to(first), "the first one is seen again")
        streams = Streams(front.port, key["secret"])
        with withheld, load, Commands(control.url, house) as commands, streams:
            for _ in range(ROUNDS):
                took += one_after_the_other(control, [first, second])
        refused = all_well(load, streams, front, withheld)
        assert commands.wrong == [] and control.refused == [], (commands.wrong[:5], control.refused[:5])
        last = house.command("POST", "/keys", {"name": f"t6 last {uuid.uuid4()}"})
        listed = house.of_org("GET", "/keys", params={"search": "t6 ", "limit": "1"})
        assert listed["data"] and last["secret"]
        assert house.of_org("GET", "/audit/verify")["ok"] is True
        booked = books_are_exact(house)
    finally:
        control.behind = [first]
        wait_until(lambda: not control.sends_to(second), "nobody is sent to the second one")
        second.kill()
    tell(
        "T6 (control planes)",
        restarts=len(took),
        longest=f"{max(took):.1f} s",
        commands=len(commands.made),
        requests=booked,
        refused=refused,
        lost=0,
    )


class Imports(Work):
    """Imports keys, many in one commit, until it is stopped; the secrets that were taken."""

    def __init__(self, house):
        super().__init__(house)
        self.secrets, self.failure = [], None

    def run(self):
        try:
            while not self.stopping.is_set():
                names = [uuid.uuid4().hex for _ in range(IMPORTED_AT_ONCE)]
                rows = [{"name": name, "secret": f"old-{name}"} for name in names]
                url = f"{self.house.control_url}/api/v1/orgs/{self.house.org}/keys/import"
                content = "".join(json.dumps(row) + "\n" for row in rows)
                headers = {
                    "Authorization": f"Bearer {self.house.token}",
                    "Content-Type": "application/x-ndjson",
                }
                answer = requests.post(url, data=content, headers=headers, timeout=60)
                assert answer.status_code in (200, 201), answer.text
                self.secrets += [row["secret"] for row in rows]
        except BaseException as failure:
            self.failure = failure
            raise


def test_t20_gateways_join_while_keys_are_imported(place):
    """Bounds: 3 gateways join one after the other while keys are imported, 200 in one commit; in full,
    30. Each knows every key."""
    house, _, _ = place
    joined = []
    try:
        with Imports(house) as imports:
            wait_until(lambda: imports.secrets, "keys are imported")
            for number in range(GATEWAYS, GATEWAYS + JOINS):
                before = len(imports.secrets)
                joined.append(house._gateway(number).start())
                more = lambda: imports.failure or len(imports.secrets) > before  # noqa: E731
                wait_until(more, "keys are imported meanwhile")
        assert imports.failure is None
        tried = imports.secrets[:: max(1, len(imports.secrets) // 100)] + imports.secrets[-20:]
        last = house.of_org("POST", "/keys", {"name": "t20 last"})
        known = lambda: house.of_org("GET", f"/keys/{last['id']}/propagation")["missing"] == []  # noqa: E731
        wait_until(known, "all gateways have caught up")
        for gateway in joined:
            with requests.Session() as session:
                for secret in tried:
                    url = f"http://127.0.0.1:{gateway.port}/v1/models"
                    told = session.get(url, headers={"Authorization": f"Bearer {secret}"}, timeout=10)
                    assert told.status_code == 200, (gateway.name, told.text)
    finally:
        for gateway in joined:
            gateway.kill()
    tell("T20 (processes)", joined=len(joined), imported=len(imports.secrets), lacking=0)
