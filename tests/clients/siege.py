"""Clients that try secrets on gateways without rest, each request with a text that says whose it is."""

import asyncio
import json
import random
import threading
import time
from collections import namedtuple

from spend import Broken, call

# Longer than any answer takes; a process that is stopped answers when it goes on.
ANSWER_SECONDS = 90
# So long a client waits whom nobody answers.
PAUSE_SECONDS = 0.1

# One try: whose secret, when it was begun and answered (the machine's day), where, and the answer.
Try = namedtuple("Try", "label began ended gateway status code")


class Siege:
    """`secrets`: by label; it may be changed at any time. The label is the request's text."""

    def __init__(self, house, clients, seed, gateways=None):
        self.house, self.clients, self.seed = house, clients, seed
        self.gateways = gateways or range(len(house.gateways))
        self.secrets, self.tries, self.stopping = {}, [], threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def of(self, label, gateway=None):
        """The tries of a label, on one gateway or on all."""
        return [
            each
            for each in list(self.tries)
            if each.label == label and gateway in (None, each.gateway)
        ]

    async def _all(self):
        await asyncio.gather(*(self._client(number) for number in range(self.clients)))

    async def _client(self, number):
        chance, connections = random.Random(self.seed * 1000 + number), {}
        while not self.stopping.is_set():
            secrets = list(self.secrets.items())
            if not secrets:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            (label, secret), gateway = chance.choice(secrets), chance.choice(self.gateways)
            began = time.time()
            try:
                if gateway not in connections:
                    port = self.house.gateways[gateway].port
                    connections[gateway] = await asyncio.open_connection("127.0.0.1", port)
                called = call(*connections[gateway], secret, body(label))
                status, headers = await asyncio.wait_for(called, ANSWER_SECONDS)
            except Broken:
                if gateway in connections:
                    connections.pop(gateway)[1].close()
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            code = headers.get("x-turnpike-error-code")
            self.tries.append(Try(label, began, time.time(), gateway, status, code))
            if headers.get("connection") == "close":
                connections.pop(gateway)[1].close()
        for _, writer in connections.values():
            writer.close()


def body(label):
    message = {"role": "user", "content": label}
    return json.dumps({"model": "echo-1", "messages": [message], "max_tokens": 5}).encode()
