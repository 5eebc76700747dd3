"""What is booked, beside what the provider says that it served: by key, and request by request."""

import time

import requests

from house import nano, wait_until
from spend import ask

# With nothing running, nothing is held any more after this time (money.md, invariant 5).
REST_SECONDS = 10


def capped_key(house, name, cap_usd, **limits):
    return house.command("POST", "/keys", {"name": name, "limits": {"cost_usd": cap_usd, **limits}})


def usage(house, key):
    return house.of_org("GET", f"/keys/{key['id']}")["usage"]


def comes_to_rest(house, key, spent, seconds=REST_SECONDS):
    """Waits until exactly `spent` is booked and nothing is held; how many seconds that took."""
    start, found = time.monotonic(), None

    def holds():
        nonlocal found
        time.sleep(0.1)
        found = usage(house, key)
        return nano(found["cost_usd"]) == spent and nano(found["held_cost_usd"]) == 0

    try:
        wait_until(holds, "rest", seconds)
    except AssertionError as late:
        raise AssertionError(f"{spent} nano-USD are booked and nothing is held, not {found}") from late
    return time.monotonic() - start


def events(house, kind, **filters):
    """The newest events of a kind, such as those of a key."""
    return house.of_org("GET", "/audit", params={"type": kind, **filters})["data"]


def hit(house, key, times):
    """Waits until the key's cap is said to be used up: so many times since the key was made. It is
    asked again and again, because what a gateway still holds speaks against closing it."""

    def told():
        assert ask(house, 0, key["secret"], words=40)[0] == 402, "nothing more fits"
        time.sleep(0.1)
        return len(events(house, "QuotaHit", key=key["id"])) == times

    wait_until(told, f"{times} hits are told", 60)


def all_requests(house, **filters):
    """The admitted requests of the log, by their ids."""
    rows, cursor = {}, None
    while True:
        parameters = {"limit": "200", **filters, **({"cursor": cursor} if cursor else {})}
        page = house.of_org("GET", "/requests", params=parameters)
        for row in page["data"]:
            assert row["id"] not in rows, f"listed twice: {row}"
            rows[row["id"]] = row
        cursor = page["next_cursor"]
        if not cursor:
            return {name: row for name, row in rows.items() if row["admitted"]}


def served_by_request(house):
    return requests.get(f"{house.served_url}/served/requests", timeout=30).json()


def settled(house):
    """The request log once everything that was served is in it and nothing comes any more."""
    before = None

    def holds():
        nonlocal before
        usage = house.usage()["total"]["requests"]
        still, before = usage == before, usage
        time.sleep(1.5)
        if not still:
            return None
        rows = all_requests(house)
        missing = set(served_by_request(house)) - set(rows)
        return rows if not missing else None

    return wait_until(holds, "everything that was served is booked", seconds=90)
