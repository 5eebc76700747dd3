"""What the tests of outages share: how fast known keys are served, and what a process takes."""

import http.client
import json
import os
import statistics
import time
import uuid

import requests

from books import events
from house import wait_until
from spend import ask, form

# What is asked one after the other for one 99th percentile.
ASKED = form(150, 2_000)
# A known key may take a tenth longer, and what a machine that does other things makes of it.
MOST_MORE, NOISE_MS = 1.1, 2.0
# After healing: everybody finds everybody, roles of the dead run out.
HEALED_SECONDS = 60
# What an outage may take of a gateway's memory, and how many files it may open.
MORE_MEMORY_KB, MORE_FILES = form(48, 256) * 1024, 60


def fresh(house):
    """Whether each gateway has heard of the control plane since a moment ago."""
    return all(age_ms(gateway) < 3_000 for gateway in house.gateways)


def age_ms(gateway):
    text = requests.get(f"http://127.0.0.1:{gateway.admin_port}/metrics", timeout=10).text
    found = [line.split() for line in text.splitlines() if line.startswith("turnpike_mirror_age_ms ")]
    return float(found[0][1]) if found else float("inf")


def holds_the_store(process):
    """Whether it is the one that has the file open; the others ask it."""
    return any(name.endswith(".redb") for name in open_files(process))


def open_files(process):
    """The names of the files that a process has open."""
    folder, names = f"/proc/{process.child.pid}/fd", []
    for each in os.listdir(folder):
        try:
            names.append(os.readlink(f"{folder}/{each}"))
        except FileNotFoundError:
            pass  # Closed meanwhile.
    return names


def let_hold_the_store(house, process, other):
    """Whoever comes second asks the first."""
    if not holds_the_store(process):
        other.kill()
        wait_until(lambda: holds_the_store(process), "the other one holds the store")
        other.start()
        wait_until(lambda: fresh(house), "the gateways are fresh again")


def p99_ms(house, number, secret):
    """The 99th percentile of calls one after the other, each of which is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", house.gateways[number].port, timeout=30)
    body = {"model": "echo-1", "messages": [{"role": "user", "content": "a b c"}], "max_tokens": 5}
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    took = []
    for _ in range(ASKED):
        began = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        took.append((time.monotonic() - began) * 1000)
        assert answer.status == 200, content
    connection.close()
    return statistics.quantiles(took, n=100)[98]


def at_peace_ms(house, secret):
    """The calmest 99th percentile of three looks: what this machine takes."""
    return min(p99_ms(house, 0, secret) for _ in range(3))


def during_ms(house, secret, before_ms, until):
    """The calmest 99th percentile of an outage until then, which may not be above that before."""
    found, most = [], before_ms * MOST_MORE + NOISE_MS
    while time.monotonic() < until or len(found) < 3:
        found.append(p99_ms(house, 0, secret))
    if min(found) > most:
        # A neighbour on this machine, or we? What we do wrong is there each time.
        found += [p99_ms(house, 0, secret) for _ in range(8)]
    assert min(found) <= most, (before_ms, found)
    return min(found)


def used(gateway):
    """Resident memory in kilobytes, and open files."""
    with open(f"/proc/{gateway.child.pid}/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    return memory, len(open_files(gateway))


def not_exhausted(before, gateway):
    """What it takes more than before, in kilobytes."""
    (memory, files), (memory_now, files_now) = before, used(gateway)
    assert memory_now - memory < MORE_MEMORY_KB, (memory, memory_now)
    assert files_now - files < MORE_FILES, (files, files_now)
    return memory_now - memory


def make_key(house, name):
    """Tries once to make a key of that name; the same key, however often it is tried."""
    headers = {"Idempotency-Key": name}
    return house.of_org("POST", "/keys", {"name": name}, expect=None, headers=headers)


def is_made_once(house, name):
    """What could not be made is tried again with the same Idempotency-Key."""
    wait_until(lambda: make_key(house, name).status_code == 201, "the store is back", HEALED_SECONDS)
    assert len(house.of_org("GET", "/keys", params={"search": name})["data"]) == 1


def a_fresh_key_works(house):
    """Made, used on all gateways, capped, revoked, audited."""
    wait_until(lambda: fresh(house), "the gateways are fresh", HEALED_SECONDS)

    def made():
        name = {"name": f"after {uuid.uuid4()}", "limits": {"cost_usd": "0.01"}}
        answer = house.of_org("POST", "/keys", name, expect=None, params={"wait": "applied"})
        if answer.status_code != 201 or answer.json()["propagation"]["missing"]:
            return None
        return answer.json()

    key = wait_until(made, "a key is made and known everywhere", HEALED_SECONDS)
    for number in range(len(house.gateways)):
        served = lambda: ask(house, number, key["secret"], "echo-1") == (200, None)  # noqa: E731
        wait_until(served, f"gateway {number} serves it", HEALED_SECONDS)
        assert ask(house, number, key["secret"], "echo-1", words=3000)[0] == 402
    house.command("POST", f"/keys/{key['id']}/revoke", {"reason": "unused"})
    for number in range(len(house.gateways)):
        assert ask(house, number, key["secret"], "echo-1") == (401, "key_revoked")
    assert [each["type"] for each in events(house, "KeyRevoked", key=key["id"])] == ["KeyRevoked"]
