"""Windows that end: at the midnight after a leap day, on gateways whose clocks disagree by minutes."""

import time
from datetime import datetime, timedelta, timezone

import pytest
import requests

from books import all_requests, capped_key, events, hit, usage
from figures import tell
from house import House, nano, wait_until
from spend import Crowd, Truth, answers_everywhere, ask, form, price_dear_models

pytestmark = pytest.mark.soak
SEED = 20261121
CAP = "10.00"
CLIENTS = 60
# The midnights that are lived through: the end of a leap day and of its month, and its beginning.
MIDNIGHTS = form(["2028-03-01"], ["2028-03-01", "2028-02-29"])
# From the start of the processes: enough for them to stand and for budgets to be used up. On a
# machine that needs longer, another house begins its day earlier.
UNTIL_MIDNIGHT_SECONDS = [45, 120, 300]
# One gateway is ahead, another one behind.
APART_MS = 5 * 60_000
# What a gateway may take to hear of a window from the authority, once it was refused in the last:
# moments, and here many seconds more for a machine that does other things too.
SOON_SECONDS = 60
# The stream across midnight: 20 tokens a second, begun some seconds before.
STREAM_WORDS, BEFORE_SECONDS = 200, 4
EXHAUSTED = (402, "api_key_quota_exceeded")


class TooLate(Exception):
    """The machine was not ready by midnight."""


def house_before(midnight, seconds):
    """A house whose day ends in so many seconds."""
    end = datetime.fromisoformat(midnight).replace(tzinfo=timezone.utc)
    begins = end - timedelta(seconds=seconds)
    ahead_ms = int((begins.timestamp() - time.time()) * 1000)
    days = {"house": ahead_ms, "gateway-0": ahead_ms + APART_MS, "gateway-1": ahead_ms - APART_MS}
    house = House(gateways=5, scripted=True, days=days)
    house.midnight = end.timestamp() - ahead_ms / 1000
    return house


def used_up(house, key, seed):
    """Uses a budget to its end, at the latest by midnight; what was served."""
    truth = Truth(house)
    with Crowd(house, [key["secret"]], CLIENTS, seed) as crowd:
        crowd.wait(max(0, house.midnight - time.time()))
    spent = truth.spent()
    assert nano(CAP) * 99 <= spent * 100 <= nano(CAP) * 100, (f"seed {seed}", spent, crowd.kinds())
    return spent


def stream(house, key):
    """A slow stream, begun; `None` if the authority has no time for it yet."""
    body = {
        "model": "dear-slow",
        "messages": [{"role": "user", "content": "w " * STREAM_WORDS}],
        "max_tokens": STREAM_WORDS,
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {key['secret']}"}
    url = f"{house.gateway_url(2)}/v1/chat/completions"
    answer = requests.post(url, headers=headers, json=body, stream=True, timeout=60)
    if answer.status_code == 503:
        return None
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("midnight", MIDNIGHTS)
def test_t9_a_window_ends_with_requests_in_flight(midnight):
    """Bounds: a cap of USD 10 a day used up before and after 1 midnight of 2028, a stream across it, 5
    gateways of which one is 5 min ahead and one behind; in full, 2 midnights."""
    for seconds in UNTIL_MIDNIGHT_SECONDS:
        try:
            with house_before(midnight, seconds) as house:
                return live_through(house, midnight)
        except TooLate as late:
            print(late)
    raise AssertionError("the machine is too slow")


def live_through(house, midnight):
    price_dear_models(house)
    daily = capped_key(house, "daily", CAP, reset="daily")
    monthly = capped_key(house, "monthly", CAP, reset="monthly")
    across = capped_key(house, "across", CAP, reset="daily")
    last = house.midnight - BEFORE_SECONDS
    try:
        before = used_up(house, daily, SEED)
        hit(house, daily, 1)
        spent = used_up(house, monthly, SEED + 1)
        hit(house, monthly, 1)
        told = lambda: answers_everywhere(house, [daily["secret"]], EXHAUSTED)
        wait_until(told, "it is used up, also where it is tomorrow", max(0, last - time.time()))
    finally:
        left = last - time.time()
        if left <= 0:
            raise TooLate(f"midnight was {-left:.1f} s too soon") from None
    wait_until(lambda: time.time() > last, "it is nearly midnight", left + 5)
    running = None
    while running is None and time.time() < house.midnight:
        running = stream(house, across)
    if time.time() > house.midnight:
        raise TooLate("the stream may have begun after midnight")
    wait_until(lambda: time.time() > house.midnight, "it is midnight", BEFORE_SECONDS + 5)
    is_open = lambda: answers_everywhere(house, [daily["secret"]], (200, None))
    wait_until(is_open, "the day's budget is whole again", SOON_SECONDS)
    opened = time.time() - house.midnight
    assert running.text.rstrip().splitlines()[-1].startswith(":"), "it was not cut"
    rows = wait_until(lambda: all_requests(house, key=across["id"]), "the stream is booked")
    (row,) = rows.values()
    assert nano(row["cost_usd"]) > 0 and row["source"] == "provider", row
    found = usage(house, across)
    spent_now = [nano(found[name]) for name in ("cost_usd", "held_cost_usd", "lost_cost_usd")]
    assert spent_now == [0, 0, 0], "it was admitted in the window before"
    is_new_month = midnight.endswith("-01")
    expected = (200, None) if is_new_month else EXHAUSTED
    told = lambda: answers_everywhere(house, [monthly["secret"]], expected)
    wait_until(told, f"the month's budget answers {expected}", SOON_SECONDS)
    if not is_new_month:
        assert nano(usage(house, monthly)["cost_usd"]) == spent
    with Crowd(house, [daily["secret"]], CLIENTS, SEED + 2) as crowd:
        crowd.wait(120)
    hit(house, daily, 2)
    hits = events(house, "QuotaHit", key=daily["id"])
    windows = [event["data"]["window"] for event in hits]
    assert len(set(windows)) == 2, windows
    tell(
        f"T9 (midnight of {midnight})",
        used_before=f"USD {before / 10**9:.4f} of {CAP}",
        open_everywhere_after=f"{opened:.2f} s, by 5 calls",
        stream_across="booked in the window before",
        hits=len(hits),
    )
