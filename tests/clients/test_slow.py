"""T30: slow heads and bodies, resets and bombs harm nobody else.

Bounds: 300 connections that trickle heads, 100 that trickle bodies, 2,000 streams reset, bombs of
gzip and of JSON, 16 MB together; one gateway. The full form has ten times as many.
"""

import gzip
import json
import socket
import statistics
import threading
import time

import pytest
import requests

import figures
import frames
import raw
from house import House
from spend import form

pytestmark = pytest.mark.soak

HEAD_TIMEOUT_MS, BODY_TIMEOUT_MS, MOST_BODY_BYTES = 3_000, 3_000, 1 << 20
HEADS, BODIES, RESETS = form(300, 3_000), form(100, 1_000), form(2_000, 20_000)
# A gateway at rest has some 30 MB; what the attackers hold open may add this much.
MORE_MEMORY_KB = form(64, 256) * 1024
# Good requests that are timed, one after the other.
GOOD = form(200, 2_000)


@pytest.fixture(scope="module")
def place():
    options = {
        "TURNPIKE_SERVE_HEAD_TIMEOUT_MS": str(HEAD_TIMEOUT_MS),
        "TURNPIKE_SERVE_BODY_TIMEOUT_MS": str(BODY_TIMEOUT_MS),
        "TURNPIKE_SERVE_MAX_BODY_BYTES": str(MOST_BODY_BYTES),
    }
    with House(gateways=1, gateway_options=options) as house:
        made = house.command("POST", "/keys", {"name": "patient"})
        yield house, house.gateways[0], made["secret"]


def memory_kb(gateway):
    """Resident memory of the gateway's process."""
    with open(f"/proc/{gateway.child.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1])


def good_traffic(gateway, key, until=None):
    """Milliseconds of requests one after the other; all must be answered."""
    took = []
    with requests.Session() as session:
        while len(took) < GOOD or (until and not until()):
            began = time.monotonic()
            answer = session.post(
                f"http://127.0.0.1:{gateway.port}/v1/chat/completions",
                data=raw.body(),
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
                timeout=30,
            )
            took.append((time.monotonic() - began) * 1000)
            assert answer.status_code == 200, answer.text
    return took


def p99(took):
    return statistics.quantiles(took, n=100)[98]


class Trickle:
    """Connections that send a byte every now and then, until they are closed."""

    def __init__(self, port, count, begin, seconds):
        self.begin, self.ended, self.lasted = begin, [], []
        self.end = time.monotonic() + seconds
        self.open = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        began = time.monotonic()
        for connection in self.open:
            connection.setblocking(False)
            connection.send(self.begin)
        while self.open and time.monotonic() < self.end:
            for connection in list(self.open):
                if (status := self._poke(connection)) is not None:
                    self.open.remove(connection)
                    self.ended.append(status)
                    self.lasted.append(time.monotonic() - began)
                    connection.close()
            threading.Event().wait(0.1)

    def _poke(self, connection):
        """The answer's status once there is one, 0 if the connection was closed without one."""
        try:
            came = connection.recv(4096)
            return int(came.split(b" ")[1]) if came.startswith(b"HTTP/1.1 ") else 0
        except BlockingIOError:
            pass
        except ConnectionError:
            return 0
        try:
            connection.send(b"x")
        except (ConnectionError, BlockingIOError):
            pass
        return None

    def join(self):
        self.thread.join()
        return self


def test_t30_slow_heads_and_bodies(place):
    house, gateway, key = place
    before_ms = p99(good_traffic(gateway, key))
    rest_kb = memory_kb(gateway)
    head = raw.head(key) + b"\r\nX-Slow: "
    body = raw.head(key, "POST /v1/chat/completions HTTP/1.1", "Content-Length: 100000") + b"\r\n\r\n"
    heads = Trickle(gateway.port, HEADS, head, 60)
    bodies = Trickle(gateway.port, BODIES, body, 60)
    done = lambda: not (heads.thread.is_alive() or bodies.thread.is_alive())  # noqa: E731
    during_ms = p99(good_traffic(gateway, key, done))
    more_kb = memory_kb(gateway) - rest_kb
    assert set(heads.join().ended) == {408} and len(heads.ended) == HEADS
    assert set(bodies.join().ended) == {408} and len(bodies.ended) == BODIES
    assert more_kb < MORE_MEMORY_KB, more_kb
    figures.tell(
        "T30 slow",
        heads=HEADS,
        bodies=BODIES,
        longest_s=f"{max(heads.lasted + bodies.lasted):.1f}",
        good_p99_ms=f"{before_ms:.1f} -> {during_ms:.1f}",
        more_memory_kb=more_kb,
    )


def test_t30_streams_that_are_reset_at_once(place):
    house, gateway, key = place
    rest_kb, sent, closed = memory_kb(gateway), 0, 0
    content = raw.body()
    while sent < RESETS:
        with frames.Connection(gateway.port) as connection:
            try:
                for stream in range(1, 2 * RESETS, 2):
                    connection.open(stream, frames.headers_of(key, content), content)
                    connection.reset(stream)
                    sent += 1
                    if sent >= RESETS:
                        break
            except OSError:
                closed += 1  # The gateway had enough of it.
    assert len(good_traffic(gateway, key)) >= GOOD
    assert memory_kb(gateway) - rest_kb < MORE_MEMORY_KB
    assert frames.ask(gateway.port, key, content) == 200
    figures.tell("T30 reset", streams=sent, connections_closed=closed)


def post(gateway, key, content, **headers):
    return requests.post(
        f"http://127.0.0.1:{gateway.port}/v1/chat/completions",
        data=content,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers},
        timeout=60,
    )


def test_t30_bombs(place):
    house, gateway, key = place
    rest_kb, served = memory_kb(gateway), house.served()["requests"]
    zip_of = {"Content-Encoding": "gzip"}
    once = gzip.compress(b"0" * (256 << 20))
    deep = b'{"model":"echo-1","messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    deeper = b'{"model":"echo-1","messages":' + b'{"a":' * 100_000
    wide = b'{"model":"echo-1","messages":[],"x":[' + b"{}," * 300_000 + b"{}]}"
    cases = [
        ("gzip of 256 MB", once, zip_of, 413, "request_too_large"),
        ("gzip of gzip", gzip.compress(once), zip_of, 400, "invalid_request"),
        ("no gzip", b"x" * 1000, zip_of, 400, "invalid_request"),
        ("half a gzip", gzip.compress(raw.body())[:-10], zip_of, 400, "invalid_request"),
        ("other encodings", raw.body(), {"Content-Encoding": "br"}, 400, "invalid_request"),
        ("deep arrays", deep, {}, 400, "invalid_request"),
        ("deep objects without an end", deeper, {}, 400, "invalid_request"),
        ("2 MB", b"x" * (2 << 20), {}, 413, "request_too_large"),
        ("a number of a million digits", b'{"model":"echo-1","n":' + b"9" * 900_000 + b"}", {}, 400, None),
    ]
    for name, content, headers, status, code in cases:
        answer = post(gateway, key, content, **headers)
        assert answer.status_code == status, (name, answer.status_code, answer.text[:300])
        assert code in (None, answer.headers["x-turnpike-error-code"]), (name, answer.headers)
    # Wide is no bomb: the provider says what it thinks of it.
    assert post(gateway, key, wide).status_code < 500
    assert house.served()["requests"] - served <= 1
    assert memory_kb(gateway) - rest_kb < MORE_MEMORY_KB
    assert post(gateway, key, gzip.compress(raw.body()), **zip_of).json()["choices"]
    figures.tell("T30 bombs", kinds=len(cases), more_memory_kb=memory_kb(gateway) - rest_kb)


def test_refusals_are_read_by_clients_that_are_still_writing(place):
    """A client that writes all before it reads gets its answer, not a broken connection."""
    house, gateway, key = place
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    cases = [(key, "POST /v1/chat/completions HTTP/1.1", 413), (wrong, "POST /v1/messages HTTP/1.1", 401)]
    for secret, line, status in cases:
        content = b"x" * (24 << 20)
        sent = raw.head(secret, line, f"Content-Length: {len(content)}") + b"\r\n\r\n" + content
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
            connection.sendall(sent)
            assert raw.statuses(connection.recv(65536)) == [status]
            connection.sendall(raw.whole(key, raw.body()))
            assert raw.statuses(connection.recv(65536)) == [200]


def test_t30_many_heads(place):
    """A head with too many or too long lines is refused before it is kept."""
    house, gateway, key = place
    for lines in (["X: y"] * 500, ["X: " + "y" * 100_000], ["X" * 70_000 + ": y"]):
        found = raw.statuses(raw.exchange(gateway.port, raw.whole(key, raw.body(), *lines), 1))
        assert found and found[0] in (400, 431), (lines[0][:20], found)
    assert json.loads(post(gateway, key, raw.body()).content)["usage"]
