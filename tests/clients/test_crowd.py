"""Many gateways that come back at once: not all in the same moment, and all fresh within a minute."""

import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import requests

from figures import tell
from house import House, wait_until
from spend import ask, form

pytestmark = pytest.mark.soak
# As many processes as a small machine holds: they stand for the thousand.
GATEWAYS = form(12, 200)
DOWN_SECONDS = 8
FRESH_SECONDS = 60
# A mirror that has heard the heartbeats of the last two seconds.
FRESH_MS = 2_500
STARTERS = 8
# No moment of this length sees more than this part of all connections.
MOMENT_SECONDS, PART = 0.05, 0.6
CONNECTED = re.compile(r"^(\S+Z)\s.*connected to NATS|\"timestamp\":\"([^\"]+)\".*connected to NATS")


@pytest.fixture(scope="module")
def house():
    with House(gateways=0) as running:
        running.gateways += [running._gateway(number) for number in range(GATEWAYS)]
        with ThreadPoolExecutor(STARTERS) as starters:
            list(starters.map(lambda gateway: gateway.start(), running.gateways))
        yield running


def age_ms(gateway):
    """How long ago a gateway's mirror was completely known; `None` if it does not answer."""
    text = requests.get(f"http://127.0.0.1:{gateway.admin_port}/metrics", timeout=10).text
    return int(re.search(r"^turnpike_mirror_age_ms (\d+)", text, re.MULTILINE)[1])


def all_fresh(house):
    """How many seconds it takes until every mirror is fresh."""
    began, waiting = time.monotonic(), list(house.gateways)

    def holds():
        waiting[:] = [gateway for gateway in waiting if age_ms(gateway) > FRESH_MS]
        return not waiting

    wait_until(holds, "every gateway is fresh", FRESH_SECONDS)
    return time.monotonic() - began


def connections(house, since):
    """When gateways connected to NATS, as their logs say."""
    times = []
    for gateway in house.gateways:
        found = [CONNECTED.search(line) for line in gateway.log.read_text().splitlines()]
        stamps = [match[1] or match[2] for match in found if match]
        times += [datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() for stamp in stamps]
    return sorted(at for at in times if at > since)


@pytest.mark.parametrize("what", ["nats", "nats without its files", "control-plane"])
def test_t22_gateways_that_come_back_at_once_are_fresh_within_a_minute(house, what):
    """Bounds: 12 gateways (in full 200), NATS or the control plane killed for 8 s, once per way."""
    keys = [house.command("POST", "/keys", {"name": f"{what} {name}"}) for name in ["dead", "alive"]]
    process = house.control if what == "control-plane" else house.nats
    process.kill()
    down = time.time()
    if what == "nats without its files":
        shutil.rmtree(house.jetstream)
    if process is house.nats:
        house.of_org("POST", f"/keys/{keys[0]['id']}/revoke", {"reason": "unused"})
    wait_until(lambda: time.time() > down + DOWN_SECONDS, "it is down", DOWN_SECONDS + 5)
    process.start()
    back = time.time()
    took = all_fresh(house)
    if process is house.control:
        house.command("POST", f"/keys/{keys[0]['id']}/revoke", {"reason": "unused"})
    for number in range(GATEWAYS):
        assert ask(house, number, keys[0]["secret"], "echo-1") == (401, "key_revoked")
        assert ask(house, number, keys[1]["secret"], "echo-1") == (200, None)
    house.command("PATCH", f"/keys/{keys[1]['id']}", {"metadata": {"again": "yes"}})
    figures = {"gateways": GATEWAYS, "all_fresh_after": f"{took:.1f} s"}
    if process is house.nats:
        times = connections(house, back - 1)
        assert len(times) >= GATEWAYS, times
        moment = max(sum(1 for at in times if since <= at < since + MOMENT_SECONDS) for since in times)
        assert moment <= max(PART * GATEWAYS, 4), f"{moment} of {GATEWAYS} in one moment: {times}"
        figures |= {"connected_over": f"{times[-1] - times[0]:.2f} s", "most_in_50_ms": moment}
    tell(f"T22 ({what})", **figures)
