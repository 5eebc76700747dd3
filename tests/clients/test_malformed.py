"""T24: malformed requests to every endpoint are refused with a sentence, and harm nothing.

Bounds: 100 requests to each endpoint of a gateway, as many spoilt heads, and 40 requests to each call
of the management API; the full form has 10,000, 10,000 and 1,000.
"""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import figures
import raw
from document import operations
from house import House
from spend import form

pytestmark = pytest.mark.soak

SEED = 24
OF_GATEWAY, OF_MANAGEMENT = form(100, 10_000), form(40, 1_000)
# Calls that hash passwords take long by design.
OF_PASSWORDS = form(10, 100)
CALLERS = 4
SENDERS_OF_HEADS = 32
# What the processes may keep of it all.
MORE_MEMORY_KB = 96 * 1024
TEXT = {"role": "user", "content": "hello"}
ENDPOINTS = {
    "/v1/chat/completions": {"model": "echo-1", "messages": [TEXT], "max_tokens": 3, "stream": True},
    "/v1/completions": {"model": "echo-1", "prompt": ["hello"], "max_tokens": 3},
    "/v1/responses": {"model": "echo-1", "input": "hello", "max_output_tokens": 3},
    "/v1/embeddings": {"model": "echo-1", "input": ["hello"], "encoding_format": "base64"},
    "/v1/images/generations": {"model": "echo-1", "prompt": "hello", "n": 1},
    "/v1/audio/speech": {"model": "echo-1", "input": "hello", "voice": "alloy"},
    "/v1/audio/transcriptions": {"model": "echo-1", "file": "x"},
    "/v1/moderations": {"model": "echo-1", "input": "hello"},
    "/v1/messages": {"model": "echo-1", "messages": [TEXT], "max_tokens": 3},
    "/anthropic/v1/messages": {"model": "echo-1", "messages": [TEXT], "max_tokens": 3},
    "/v1/messages/count_tokens": {"model": "echo-1", "messages": [TEXT]},
    "/v1beta/models/echo-1:generateContent": {"contents": [{"parts": [{"text": "hello"}]}]},
    "/v1beta/models/echo-1:streamGenerateContent?alt=sse": {"contents": [{"parts": [{"text": "a"}]}]},
    "/v1beta/models/echo-1:countTokens": {"contents": [{"parts": [{"text": "hello"}]}]},
    "/v1beta/models/echo-1:embedContent": {"content": {"parts": [{"text": "hello"}]}},
    "/v1/models": {},
    "/v1/key": {},
    "/mcp/nobody": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
}
WRONG = (
    *(None, -1, 0, 1.5, 1e308, 2**63, 10**30, True, "", "x" * 2_000, [], {}, [[]], [None], {"a": {}}),
    *("\ud800", "\0", "\u202e", "key_x", "../..", "null", {"$ref": "#"}, [{}] * 50, "9" * 400),
)


@pytest.fixture(scope="module")
def place():
    with House(gateways=1) as house:
        made = house.command("POST", "/keys", {"name": "clumsy"})
        yield house, made["secret"]


class Chance:
    """One seed's mistakes."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def content(self, good):
        """A body with a mistake in it, seldom none."""
        chance, fields = self.random, dict(good)
        if fields and chance.random() < 0.6:
            fields[chance.choice(list(fields))] = chance.choice(WRONG)
        if chance.random() < 0.2:
            fields[chance.choice(("nobody", "", "model", "__proto__"))] = chance.choice(WRONG)
        content = json.dumps(fields).encode()
        kind = chance.randrange(10)
        if kind == 0:
            content = content[: chance.randrange(len(content) + 1)]
        elif kind == 1:
            place = chance.randrange(len(content))
            content = content[:place] + chance.randbytes(3) + content[place + 1 :]
        elif kind == 2:
            content = content[:-1] + b"," + content[1:]
        elif kind == 3:
            content = chance.choice(
                (b"", b"null", b"[]", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}{}", b"a=b", b"[" * 900)
            )
        return content

    def headers(self):
        """Headers beside the credential, mostly as they should be."""
        if self.random.random() < 0.8:
            return {"Content-Type": "application/json"}
        return self.random.choice(
            (
                *({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=utf-16"}),
                *({"Content-Type": "multipart/form-data"}, {"Content-Type": "application/x-ndjson"}),
                *({"Content-Encoding": "gzip"}, {"Accept": "image/png"}, {"anthropic-version": "\x7f"}),
                *({"Idempotency-Key": "x" * 5_000}, {"If-Match": "x"}, {"Content-Type": "a/b/c;;=,"}),
                {"Content-Type": "multipart/form-data; boundary=x"},
            )
        )

    def head(self, good):
        """A whole request as bytes, with noise in its head."""
        place = self.random.randrange(good.index(b"\r\n\r\n"))
        noise = self.random.randbytes(self.random.randrange(1, 4))
        return good[:place] + noise + good[place + self.random.randrange(3) :]


def memory_kb(process):
    with open(f"/proc/{process.child.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])


def each(work, items, at_a_time=CALLERS):
    """Runs `work(item)` of all, some at a time; the first failure ends it."""
    with ThreadPoolExecutor(at_a_time) as callers:
        list(callers.map(work, items))


def check_unharmed(house, processes, before):
    for process, was in zip(processes, before, strict=True):
        assert process.child.poll() is None, process.tail()
        logged = process.log.read_text(errors="replace")
        assert "panicked" not in logged and "a panic" not in logged, process.tail()
        assert memory_kb(process) - was < MORE_MEMORY_KB, (process.name, was, memory_kb(process))


def test_t24_gateway(place):
    house, key = place
    gateway, counted, lock = house.gateways[0], {}, threading.Lock()
    before = [memory_kb(gateway)]

    def endpoint(numbered):
        number, (path, good) = numbered
        chance = Chance(SEED + number)
        for _ in range(OF_GATEWAY):
            method = chance.random.choice(("POST",) * 8 + ("GET", "PUT"))
            headers = {"Authorization": f"Bearer {key}", **chance.headers()}
            url = f"http://127.0.0.1:{gateway.port}{path}"
            content = chance.content(good)
            # Each on a connection of its own: one that was refused may be closed at any moment.
            answer = requests.request(method, url, data=content, headers=headers, timeout=60)
            note(answer.status_code, (path, method, headers, content, answer.text[:300]))
            # A head that cannot be read has no request.
            assert answer.headers.get("x-turnpike-request-id") or answer.status_code == 400

    def note(status, told):
        assert status < 500, told
        with lock:
            counted[status // 100] = counted.get(status // 100, 0) + 1

    each(endpoint, enumerate(ENDPOINTS.items()))
    check_unharmed(house, [gateway], before)
    figures.tell("T24 gateway", **{f"status_{kind}xx": times for kind, times in sorted(counted.items())})


def test_t24_heads(place):
    house, key = place
    gateway, counted, lock = house.gateways[0], {}, threading.Lock()
    before, good = [memory_kb(gateway)], raw.whole(key, raw.body())

    def head(number):
        sent = Chance(SEED * 1_000_000 + number).head(good)
        for status in raw.statuses(raw.exchange(gateway.port, sent, 1, seconds=1)):
            assert status < 500, sent
            with lock:
                counted[status // 100] = counted.get(status // 100, 0) + 1

    # Most of the time is spent waiting for what does not come.
    each(head, range(OF_GATEWAY), SENDERS_OF_HEADS)
    check_unharmed(house, [gateway], before)
    assert raw.statuses(raw.exchange(gateway.port, good, 1)) == [200]
    figures.tell("T24 heads", **{f"status_{kind}xx": times for kind, times in sorted(counted.items())})


def test_t24_management(place):
    house, _ = place
    processes = [house.control, house.projector]
    before, counted, lock = [memory_kb(process) for process in processes], {}, threading.Lock()
    calls = list(operations(house))
    assert len(calls) > 40

    def call(numbered):
        number, (method, path, properties) = numbered
        chance = Chance(SEED + number)
        times = OF_PASSWORDS if "session" in path or "accept" in path else OF_MANAGEMENT
        for _ in range(times):
            url = house.control_url + fill(path, chance)
            headers = {"Authorization": f"Bearer {house.token}", **chance.headers()}
            good = {name: chance.random.choice(WRONG) for name in properties}
            content = chance.content(good) if method != "get" else None
            answer = requests.request(method, url, data=content, headers=headers, timeout=60)
            assert answer.status_code < 500, (method, url, headers, content, answer.text[:500])
            # A head that cannot be read is refused without words.
            if answer.status_code >= 400 and answer.content:
                told = answer.json()
                assert told["code"] and told["status"] == answer.status_code, (url, told)
            with lock:
                kind = answer.status_code // 100
                counted[kind] = counted.get(kind, 0) + 1

    def fill(path, chance):
        parts = []
        for part in path.split("/"):
            if part.startswith("{"):
                wrong = ("x", "%00", "key_x", "..%2f..", "key_" + "0" * 26, "é", "%ff", "a" * 3_000)
                org = part == "{org}" and chance.random.random() < 0.7
                part = house.org if org else chance.random.choice(wrong)
            parts.append(part)
        query = ("", "", "", "?limit=-1", "?limit=99999", "?cursor=x", "?nobody=1", "?wait=never", "?%zz")
        return "/".join(parts) + chance.random.choice(query)

    each(call, enumerate(calls))
    check_unharmed(house, processes, before)
    assert house.call("GET", "/me")["org"]["id"] == house.org
    kinds = {f"status_{kind}xx": times for kind, times in sorted(counted.items())}
    figures.tell("T24 management", calls=len(calls), **kinds)
