"""A steady load of chat requests over all gateways, streamed and not, from threads."""

import http.client
import json
import random
import threading
import time
from collections import Counter, namedtuple

WORDS = "one two three four five six seven eight nine ten"
# A stream of echo-slow takes half a second for ten words; so much longer means that it hangs.
TIMEOUT_SECONDS = 60

# An answer other than 200: where, what, and when it was asked and answered (the machine's day).
Wrong = namedtuple("Wrong", "gateway status code began ended content")


class Load:
    """Calls at a fixed rate until it is stopped; what came back is counted by kind."""

    def __init__(self, house, secret, per_second, workers=40, seed=1):
        self.house, self.secret = house, secret
        self.pause = workers / per_second
        self.results, self.lock = Counter(), threading.Lock()
        self.answered, self.wrong, self.broken = set(), [], []
        self.stopping = threading.Event()
        workers = range(workers)
        self.threads = [threading.Thread(target=self._work, args=(seed * 1000 + each,)) for each in workers]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _work(self, seed):
        chance = random.Random(seed)
        due = time.monotonic() + chance.random() * self.pause
        connections = {}
        while not self.stopping.wait(max(0, due - time.monotonic())):
            due = max(due + self.pause, time.monotonic() - self.pause)
            number = chance.randrange(len(self.house.gateways))
            kind = chance.choices(["plain", "stream", "slow"], [80, 10, 10])[0]
            began = time.monotonic()
            try:
                told = self._call(connections, number, kind, chance)
            except (OSError, http.client.HTTPException) as error:
                connections.pop(number, None)
                self.broken.append((number, kind, f"{time.monotonic() - began:.1f} s", repr(error)))
                told = "broken"
            with self.lock:
                self.results[told] += 1

    def _call(self, connections, number, kind, chance):
        began = time.time()
        gateway = self.house.gateways[number]
        connection = connections.get(number)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=TIMEOUT_SECONDS)
            connections[number] = connection
        text = " ".join(WORDS.split()[: chance.randint(1, 10)])
        body = {
            "model": "echo-slow" if kind == "slow" else "echo-1",
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 10,
            "stream": kind != "plain",
        }
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            with self.lock:
                code = answer.headers.get("x-turnpike-error-code")
                self.wrong.append(Wrong(number, answer.status, code, began, time.time(), content[:300]))
            return f"status {answer.status}"
        with self.lock:
            self.answered.add(answer.headers["x-turnpike-request-id"])
        return kind
