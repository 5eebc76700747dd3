"""kill -9 of gateways with streams in flight: no cap is overdrawn, and nothing stays held."""

import random
import shutil
import time

import pytest

from books import all_requests, capped_key, served_by_request, usage
from figures import tell
from house import House, nano, wait_until
from spend import Crowd, Truth, cost_of, form, price_dear_models

pytestmark = pytest.mark.soak
SEED = 20261121
GATEWAYS = 5
CLIENTS = 50
# Kills of each gateway.
KILLS = form(2, 100)
KILLS_WITHOUT_SPOOL = form(1, 100)
# What the streams that are cut by one kill are booked at is some USD 2: so many kills fit.
CAP_USD_PER_KILL = 5
# Other gateways serve meanwhile.
BETWEEN_SECONDS = 0.3
# The projector hears of the end of a run from the next one, after its records.
REST_SECONDS = 20


@pytest.fixture(scope="module")
def house():
    with House(gateways=GATEWAYS, scripted=True) as running:
        price_dear_models(running)
        yield running


def spend_and_kill(house, name, rounds, seed, without_spool):
    """Key, truth and crowd of a load in which each gateway is killed so many times, to its end."""
    cap = rounds * GATEWAYS * CAP_USD_PER_KILL
    key = capped_key(house, name, f"{cap}.00")
    truth, chance = Truth(house), random.Random(seed)
    with Crowd(house, [key["secret"]], CLIENTS, seed, slow=0.5, pause=0.1) as crowd:
        for _ in range(rounds):
            for gateway in chance.sample(house.gateways, GATEWAYS):
                time.sleep(BETWEEN_SECONDS)
                gateway.kill()
                if without_spool:
                    shutil.rmtree(house.folder / gateway.name / "spool")
                gateway.start()
    assert truth.spent() <= nano(f"{cap}.00"), f"seed {seed}"
    assert crowd.broken > 0, "streams were in flight"
    return key, truth, crowd, nano(f"{cap}.00")


def no_hold(house, key):
    """The key's usage once nothing is held; how many seconds that took."""
    start = time.monotonic()

    def holds():
        time.sleep(0.2)
        return nano(usage(house, key)["held_cost_usd"]) == 0

    try:
        wait_until(holds, "nothing is held", REST_SECONDS)
    except AssertionError as late:
        raise AssertionError(f"nothing is held: {usage(house, key)}") from late
    return usage(house, key), time.monotonic() - start


def test_t5_killed_gateways_report_all_that_was_served(house):
    """Bounds: each of 5 gateways killed 2 times, 50 clients, half of them streaming; in full, 100."""
    before = set(served_by_request(house))
    key, truth, crowd, cap = spend_and_kill(house, "t5", KILLS, SEED, without_spool=False)
    _, rest = no_hold(house, key)

    def all_reported():
        time.sleep(0.5)
        rows = all_requests(house, key=key["id"])
        return rows if set(served_by_request(house)) - before <= set(rows) else None

    rows = wait_until(all_reported, "all that was served is booked", REST_SECONDS)
    served = {name: cost_of(of) for name, of in served_by_request(house).items()}
    estimates = [row for row in rows.values() if row["source"] == "estimated"]
    for name, row in rows.items():
        booked = nano(row["cost_usd"])
        if row["source"] == "provider":
            assert booked == served[name], row
        else:
            assert booked >= served.get(name, 0), row
    booked = sum(nano(row["cost_usd"]) for row in rows.values())
    found = usage(house, key)
    assert nano(found["cost_usd"]) == booked <= cap
    assert nano(found["lost_cost_usd"]) == 0
    assert truth.spent() <= booked
    tell(
        "T5 (with spool)",
        kills=KILLS * GATEWAYS,
        requests=len(rows),
        broken=crowd.broken,
        estimated=len(estimates),
        served=f"USD {truth.spent() / 10**9:.2f}",
        booked=f"USD {booked / 10**9:.2f} of {cap // 10**9}",
        held_0_after=f"{rest:.1f} s",
    )


def test_t5_what_a_lost_spool_may_have_held_stays_counted(house):
    """Bounds: each of 5 gateways killed 1 time and its spool deleted, 50 clients; in full, 100."""
    rounds, seed = KILLS_WITHOUT_SPOOL, SEED + 1
    key, truth, crowd, cap = spend_and_kill(house, "t5 torn", rounds, seed, without_spool=True)
    found, rest = no_hold(house, key)
    settled, lost = nano(found["cost_usd"]), nano(found["lost_cost_usd"])
    assert truth.spent() <= settled + lost <= cap, found
    tell(
        "T5 (without spool)",
        kills=rounds * GATEWAYS,
        broken=crowd.broken,
        served=f"USD {truth.spent() / 10**9:.2f}",
        booked=f"USD {settled / 10**9:.2f}",
        lost=f"USD {lost / 10**9:.2f} of {cap // 10**9}",
        held_0_after=f"{rest:.1f} s",
    )
