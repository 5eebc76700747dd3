"""Clients that spend money as fast as they are let, over all gateways, each call of a random size."""

import asyncio
import json
import os
import random
import threading
import time
from collections import Counter, namedtuple

import requests

from house import nano, wait_until

# Whether the full form of a test is asked for (`make soak`).
SOAK = bool(os.environ.get("TURNPIKE_SOAK"))
# USD per million tokens of the model "dear": few requests use up USD 10.
DEAR_PRICES = {"input": "200.00", "output": "400.00"}
INPUT_NANO, OUTPUT_NANO = (nano(DEAR_PRICES[kind]) // 10**6 for kind in ("input", "output"))
# Longer than any answer of these tests takes.
ANSWER_SECONDS = 30
# What a client waits at most where the answer names no time.
PAUSE_SECONDS = 0.5
# A client waits no longer than this, whatever it is told.
MOST_PAUSE_SECONDS = 1
# After these the client has nothing left to spend.
USED_UP = ("api_key_quota_exceeded", "billing_shortfall")

Told = namedtuple("Told", "at took gateway secret status code request bound")
Broken = (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, asyncio.LimitOverrunError)


def form(short, full):
    """A bound of the short form of a test, or of its full one."""
    return full if SOAK else short


def price_dear_models(house):
    """Models `dear` and `dear-slow` (20 tokens/s), served by echo."""
    for name, upstream in [("dear", "echo-1"), ("dear-slow", "echo-slow")]:
        add_model(house, name, upstream, DEAR_PRICES)


def add_model(house, name, upstream, prices, provider="echo"):
    model = {"name": name, "context_window": 100000, "max_output": 10000, "prices": prices}
    route = {"provider": provider, "upstream_model": upstream}
    return house.call("POST", "/models", {**model, "routes": [route]})


def cost_of(tokens):
    """What so many tokens of `/served` cost at the prices of the dear models, in nano-USD."""
    return tokens["input_tokens"] * INPUT_NANO + tokens["output_tokens"] * OUTPUT_NANO


def ask(house, number, secret, model="dear", words=1):
    """One small call; status and code."""
    told = requests.post(
        f"{house.gateway_url(number)}/v1/chat/completions",
        headers={"Authorization": f"Bearer {secret}"},
        json={
            "model": model,
            "messages": [{"role": "user", "content": "w " * words}],
            "max_tokens": words,
        },
        timeout=30,
    )
    return told.status_code, told.headers.get("x-turnpike-error-code")


def judged(house, number, secret, **how):
    """What a gateway says of a secret once it can say: with 503 it says that it cannot yet."""
    able = lambda: (told := ask(house, number, secret, **how))[0] != 503 and told  # noqa: E731
    return wait_until(able, "the gateway can say")


def answers_everywhere(house, secrets, expected):
    """Whether each secret gets this answer on each gateway."""
    return all(
        ask(house, number, secret) == expected
        for secret in secrets
        for number in range(len(house.gateways))
    )


class Truth:
    """What echo has served since this was made, at the prices of the dear models."""

    def __init__(self, house):
        self.house, self.before = house, cost_of(house.served())

    def spent(self):
        return cost_of(self.house.served()) - self.before


class Crowd:
    """Clients that call until they are told that nothing is left, or until they are stopped."""

    def __init__(
        self, house, secrets, clients, seed, words=(1, 40), slow=0, pause=0, until_stopped=False
    ):
        """`slow`: the part of the calls that are slow streams; `pause`: seconds after each answer."""
        self.house, self.secrets, self.clients, self.seed = house, secrets, clients, seed
        self.words, self.slow, self.pause, self.until_stopped = words, slow, pause, until_stopped
        self.gateways = range(len(house.gateways))
        self.told, self.broken = [], 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def wait(self, seconds):
        """Waits until every client has heard that nothing is left."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"not used up within {seconds} s: {self.kinds()}"

    def kinds(self):
        return dict(Counter(told.code or told.status for told in list(self.told)))

    def largest(self):
        return max((told.bound for told in list(self.told)), default=0)

    def served(self):
        return [told for told in list(self.told) if told.status == 200]

    async def _all(self):
        await asyncio.gather(*(self._client(number) for number in range(self.clients)))

    async def _client(self, number):
        chance = random.Random(self.seed * 100_000 + number)
        connections = {}
        while not self.stopping.is_set():
            gateway, secret = chance.choice(self.gateways), chance.randrange(len(self.secrets))
            content, bound = self._request(chance)
            before = time.monotonic()
            try:
                if gateway not in connections:
                    port = self.house.gateways[gateway].port
                    connections[gateway] = await asyncio.open_connection("127.0.0.1", port)
                called = call(*connections[gateway], self.secrets[secret], content)
                status, headers = await asyncio.wait_for(called, ANSWER_SECONDS)
            except Broken:
                self.broken += 1
                if gateway in connections:
                    connections.pop(gateway)[1].close()
                await asyncio.sleep(PAUSE_SECONDS * chance.random())
                continue
            code, after = headers.get("x-turnpike-error-code"), time.monotonic()
            name = headers.get("x-turnpike-request-id")
            self.told.append(Told(after, after - before, gateway, secret, status, code, name, bound))
            if code in USED_UP and not self.until_stopped:
                break
            if status == 200:
                await asyncio.sleep(self.pause)
            else:
                # Not all at the same moment, as official SDKs do it, but less patient.
                advice = float(headers.get("retry-after", PAUSE_SECONDS))
                await asyncio.sleep(min(advice, MOST_PAUSE_SECONDS) * chance.random())
        for _, writer in connections.values():
            writer.close()

    def _request(self, chance):
        """A body, and the most that it can cost."""
        words = chance.randint(*self.words)
        most = words + chance.randint(0, 5)
        slow = chance.random() < self.slow
        body = {
            "model": "dear-slow" if slow else "dear",
            "messages": [{"role": "user", "content": "w " * words}],
            "max_tokens": most,
            "stream": slow or chance.random() < 0.3,
        }
        content = json.dumps(body).encode()
        return content, len(content) * INPUT_NANO + most * OUTPUT_NANO


async def call(reader, writer, secret, content, path="/v1/chat/completions"):
    """One call on a connection that stays open; status and headers once all of it was read."""
    writer.write(head(secret, content, path) + content)
    raw = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *rest = raw.split("\r\n")
    headers = {}
    for line in filter(None, rest):
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    else:
        await reader.readexactly(int(headers.get("content-length", 0)))
    return int(first.split()[1]), headers


def head(secret, content, path="/v1/chat/completions"):
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {secret}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
