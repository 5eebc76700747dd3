"""The audit log as somebody changes it: flipped, dropped, reordered, cut, rolled back."""

import io
import json
import random
import shutil
import subprocess

import cbor2
import pytest

from figures import tell
from house import TARGET, House

SEED = 20261121
CHANGES = 40
# Of each kind of change, at places by lot.
TRIES = 25


@pytest.fixture(scope="module")
def house():
    with House(gateways=0) as running:
        for number in range(CHANGES):
            running.of_org("POST", "/keys", {"name": f"key {number}"})
        yield running


def verify(path, *options):
    """What the client says of a copy, alone: whether it is sound, and the first bad event."""
    # No control plane, no token: a copy is checked by its bytes.
    done = subprocess.run(
        [TARGET / "turnpike", "audit", "verify", "--json", "--file", path, *options],
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert (done.returncode == 0) == found["ok"], done
    return found["ok"], found["first_bad"], found["checked"]


def split(copy):
    """The events of a copy, each as its bytes."""
    source, events, start = io.BytesIO(copy), [], 0
    while start < len(copy):
        cbor2.load(source)
        events.append(copy[start : source.tell()])
        start = source.tell()
    return events


def test_t32_every_change_of_a_copy_is_named_where_it_is(house, tmp_path):
    """Bounds: 4 kinds of change, 25 of each at places by lot, in a log of some 60 events."""
    copy = house.of_org("GET", "/audit/chain", expect=None).content
    online = house.of_org("GET", "/audit/verify")
    events, chance = split(copy), random.Random(SEED)
    path, last = tmp_path / "copy.cbor", f"{online['checked']}:{online['head_hash']}"
    assert len(events) == online["checked"] and online["ok"] is True

    def found(changed, *options):
        path.write_bytes(b"".join(changed))
        return verify(path, *options)

    assert found(events) == (True, None, len(events))
    assert found(events, "--checkpoint", last)[0] is True
    for _ in range(TRIES):
        # Two events behind it tell which one was changed.
        place = chance.randrange(len(events) - 2)
        flipped = list(events)
        bit = chance.randrange(len(events[place]) * 8)
        whole = bytearray(events[place])
        whole[bit // 8] ^= 1 << bit % 8
        flipped[place] = bytes(whole)
        assert found(flipped) == (False, place + 1, place), f"seed {SEED}: bit {bit} of {place + 1}"
        dropped = events[:place] + events[place + 1 :]
        assert found(dropped) == (False, place + 1, place), f"seed {SEED}: {place + 1} dropped"
        other = chance.choice([one for one in range(len(events)) if one != place])
        swapped = list(events)
        swapped[place], swapped[other] = swapped[other], swapped[place]
        first = min(place, other) + 1
        assert found(swapped)[:2] == (False, first), f"seed {SEED}: {place + 1} and {other + 1}"
        # Cut between two events it is sound in itself: a checkpoint tells that it was longer.
        assert found(events[: place + 1]) == (True, None, place + 1)
        assert found(events[: place + 1], "--checkpoint", last)[:2] == (False, place + 2)
        torn = events[:place] + [events[place][: chance.randrange(1, len(events[place]))]]
        assert found(torn)[:2] == (False, place + 1), f"seed {SEED}: torn in {place + 1}"
    # The last event is known by its checkpoint alone.
    whole = bytearray(events[-1])
    whole[len(whole) // 2] ^= 1
    assert found([*events[:-1], bytes(whole)], "--checkpoint", last)[:2] == (False, len(events))
    tell("T32", events=len(events), changes=4 * TRIES)


def test_t32_a_log_that_was_rolled_back_is_not_the_one_that_was_noted(house):
    """Bounds: a store set back by 5 changes and gone on by 7, checked by the server and the client."""
    house.control.stop()
    house.projector.stop()
    shutil.copytree(house.folder / "store", house.folder / "older", ignore=shutil.ignore_patterns("*.sock"))
    house.control.start()
    for number in range(5):
        house.of_org("POST", "/keys", {"name": f"lost {number}"})
    noted = house.of_org("GET", "/audit/verify")
    checkpoint = f"{noted['checked']}:{noted['head_hash']}"
    house.control.stop()
    shutil.rmtree(house.folder / "store")
    shutil.copytree(house.folder / "older", house.folder / "store")
    house.control.start()
    rolled = house.of_org("GET", "/audit/verify", params={"checkpoint": checkpoint})
    assert (rolled["ok"], rolled["first_bad"]) == (False, noted["checked"] - 4), rolled
    assert house.of_org("GET", "/audit/verify")["ok"] is True, "it is sound in itself"
    for number in range(7):
        house.of_org("POST", "/keys", {"name": f"since {number}"})
    rewritten = house.of_org("GET", "/audit/verify", params={"checkpoint": checkpoint})
    assert (rewritten["ok"], rewritten["first_bad"]) == (False, noted["checked"]), rewritten
    told = house.cli("audit", "verify", "--checkpoint", checkpoint, check=False)
    assert told.returncode == 1 and f"event {noted['checked']}" in told.stderr, told
    assert house.cli("audit", "verify").returncode == 0
