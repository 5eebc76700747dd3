"""T23: secrets go through every flow, at trace level, with errors and kills; then all is searched.

Twelve characters in a row of any secret part, anywhere on disk, in logs or in metrics, are a hit.
"""

import json
import os
import secrets
import string

import requests

import figures
from house import House, wait_until

# As many characters of a secret in a row are a hit.
HIT_CHARACTERS = 12
# Any twelve characters hold one of these pieces whole: six that begin at every seventh place.
PIECE_CHARACTERS, STRIDE = 6, 7
# `sk-tp-` and the public id stand before the secret part of ours.
PUBLIC_CHARACTERS = 22
MESSAGE = [{"role": "user", "content": "sing"}]
TRACE = {"TURNPIKE_LOG_FILTER": "trace"}


def canary():
    """A secret of somebody else's making."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(43))


class Cage:
    """The canaries: what to look for, and what was told to whom."""

    def __init__(self):
        self.parts = {}

    def ours(self, name, secret):
        self.parts[name] = secret[PUBLIC_CHARACTERS:].encode()
        return secret

    def theirs(self, name, secret=None):
        secret = secret or canary()
        self.parts[name] = secret.encode()
        return secret

    def hits(self, text):
        return [name for name, part in self.parts.items() if holds(text, part)]


def holds(text, part):
    """Whether any twelve characters in a row of `part` are in `text`."""
    for start in range(0, len(part) - PIECE_CHARACTERS + 1, STRIDE):
        piece, at = part[start : start + PIECE_CHARACTERS], text.find(part[start : start + PIECE_CHARACTERS])
        while at >= 0:
            if common(text, at, part, start, len(piece)) >= HIT_CHARACTERS:
                return True
            at = text.find(piece, at + 1)
    return False


def common(text, at, part, start, length):
    """How many characters both have in a row around a piece that both have."""
    before = 0
    while before < min(at, start) and text[at - before - 1] == part[start - before - 1]:
        before += 1
    end = length
    while at + end < len(text) and start + end < len(part) and text[at + end] == part[start + end]:
        end += 1
    return before + end


def test_the_search_finds_what_it_looks_for():
    part = canary().encode()
    for start in range(len(part) - HIT_CHARACTERS + 1):
        hit = part[start : start + HIT_CHARACTERS]
        assert holds(b"\x00" * 99 + hit + b"\xff", part), start
        assert not holds(hit[:-1] + b"\x00" + hit[-1:], part), start


def fly(house, cage):
    """Each secret in each place where callers put it, rightly and wrongly."""
    told = []
    recoverable = {"secret_reveal": "recoverable"}
    house.of_org("PATCH", "", recoverable)
    provider = {"name": "caged", "kind": "openai", "base_url": house.echo_url}
    house.call("POST", "/providers", {**provider, "credential": cage.theirs("provider credential")})
    failing = {"name": "broken", "kind": "openai", "base_url": "http://127.0.0.1:9"}
    house.call("POST", "/providers", {**failing, "credential": cage.theirs("unreachable provider's credential")})
    model = {"context_window": 100000, "max_output": 10000, "prices": {"input": "1.00", "output": "2.00"}}
    for name, served in [("caged", "caged"), ("broken", "broken")]:
        route = {"provider": served, "upstream_model": "echo-1"}
        house.call("POST", "/models", {"name": name, **model, "routes": [route]})
    made = house.command("POST", "/keys", {"name": "canary", "limits": {"cost_usd": "1.00"}})
    first = cage.ours("model key", made["secret"])
    told += sing(house, first)
    rotated = house.command("POST", f"/keys/{made['id']}/rotate", {"overlap_seconds": 600})
    second = cage.ours("rotated model key", rotated["secret"])
    told += sing(house, first) + sing(house, second)
    revealed = house.of_org("POST", f"/keys/{made['id']}/reveal")
    assert revealed["secret"] == second
    third = cage.ours("again rotated", house.command("POST", f"/keys/{made['id']}/rotate")["secret"])
    token = house.of_org("POST", "/tokens", {"name": "canary", "role": "admin"})["secret"]
    cage.ours("management token", token)
    join = house.of_org("POST", "/gateways/tokens", {"name": "canary"}, expect=None)
    if join.status_code == 201:
        cage.ours("another join token", join.json()["secret"])
    for secret in [first, second, third, token, house.token]:
        told += sing(house, secret)
        told += misplace(house, secret)
    imported = house.of_org(
        "POST", "/keys/import", expect=None, data=f"name,secret\nold,{cage.theirs('legacy secret')}\n",
        headers={"content-type": "text/csv"}, params={"wait": "applied"},
    )
    assert imported.json()["accepted"] == 1, imported.text
    # What a caller writes as a model's name is kept: a legacy secret there looks like any name.
    told += sing(house, cage.parts["legacy secret"].decode(), names=[])
    told += misplace(house, cage.parts["legacy secret"].decode())
    house.command("POST", f"/keys/{made['id']}/revoke", {"reason": "compromised"})
    told += sing(house, third)
    house.command("DELETE", f"/keys/{made['id']}")
    return told + sing(house, third)


def sing(house, secret, names=None):
    """Calls of gateways with a secret wherever a dialect lets it stand; the answers."""
    told = []
    for number in range(len(house.gateways)):
        url = house.gateway_url(number)
        bearer = {"Authorization": f"Bearer {secret}"}
        chat = lambda body, headers=bearer, path="/v1/chat/completions": requests.post(
            url + path, headers={"content-type": "application/json", **headers}, data=body, timeout=30
        )
        for name in ["echo-1", "caged", "broken", "none", *([secret] if names is None else names)]:
            told.append(chat(json.dumps({"model": name, "messages": MESSAGE})))
        told.append(chat(json.dumps({"model": "caged", "messages": MESSAGE, "stream": True})))
        told += [chat("{"), chat(json.dumps({"model": 1})), chat("[" * 500)]
        gemini = f"/v1beta/models/echo-1:generateContent?key={secret}"
        told.append(chat(json.dumps({"contents": [{"parts": [{"text": "sing"}]}]}), {}, gemini))
        told.append(chat("{}", {"x-goog-api-key": secret}, "/v1beta/models/none:generateContent"))
        told.append(chat("{}", {"x-api-key": secret}, "/v1/messages"))
        told.append(chat("{}", {**bearer, "x-api-key": secret + "x"}, "/v1/messages"))
        told.append(chat("{}", {"Authorization": f"Basic {secret}"}))
        told.append(chat("{}", bearer, f"/v1/nothing/{secret}"))
        told.append(requests.get(f"{url}/v1/models", headers=bearer, timeout=30))
        told.append(requests.get(f"{url}/v1/key", headers=bearer, timeout=30))
        told.append(requests.get(f"{url}/v1/models/{secret}", headers=bearer, timeout=30))
    return told


def misplace(house, secret):
    """Calls of the management API with a secret where none or another belongs; the answers."""
    told = []
    for path in ["/me", f"/orgs/{house.org}/keys", f"/orgs/{house.org}/keys/{secret}", f"/orgs/{secret}"]:
        told.append(house.call("GET", path, expect=None, token=secret))
        told.append(house.call("GET", path, expect=None, params={"cursor": secret, "search": secret}))
    body = {"email": "owner@example.com", "password": secret}
    told.append(house.call("POST", "/session", body, expect=None, token=secret))
    told.append(house.of_org("POST", "/keys", {"name": "x", "limits": {secret: secret}}, expect=None))
    # A secret cut by one character is one that somebody mistyped.
    told.append(house.of_org("GET", "/keys", expect=None, token=secret[:-1]))
    return told


def files(house):
    """Every file that the house has written, but what the first start hands to its operator."""
    for folder, _, names in os.walk(house.folder):
        if os.path.relpath(folder, house.folder).split(os.sep)[0] != "first":
            paths = (os.path.join(folder, name) for name in names)
            yield from (path for path in paths if os.path.isfile(path))


def metrics(house):
    ports = [gateway.admin_port for gateway in house.gateways]
    ports += [int(process.environment["TURNPIKE_ADMIN_LISTEN"].rsplit(":", 1)[1])
              for process in (house.control, house.projector)]
    return [requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).content for port in ports]


def test_t23_no_twelve_characters_of_a_secret_are_left_anywhere():
    with House(gateways=2, gateway_options=TRACE) as house:
        cage = Cage()
        for process in (house.control, house.projector):
            process.stop()
            process.environment |= TRACE
            process.start()
        cage.ours("first management token", house.token)
        cage.ours("join token", house._first("join-token"))
        for name, value in {**house.shared_keys, **house.own_keys}.items():
            cage.theirs(name, value.removeprefix("1:"))
        told = fly(house, cage)
        searched, hits = 0, []
        for answer in told:
            text = answer.content + str(answer.headers).encode()
            searched += len(text)
            # The provider echo says back what it was asked, a model's name is told in a refusal:
            # those who sent a secret there see it again, nobody else does.
            asked = (answer.request.body or b"")
            asked = asked.encode() if isinstance(asked, str) else asked
            asked += answer.request.url.encode()
            hits += [(name, answer.url) for name in cage.hits(text) if not holds(asked, cage.parts[name])]
        for text in metrics(house):
            searched += len(text)
            hits += [(name, "metrics") for name in cage.hits(text)]
        wait_until(lambda: house.usage()["total"]["refused_requests"] > 0, "refusals are booked")
        # Nobody books what comes now: it is still in the spools when everything dies.
        house.projector.kill()
        last = house.command("POST", "/keys", {"name": "last"})["secret"]
        sing(house, cage.ours("last model key", last))
        house.gateways[0].kill()
        for process in [house.gateways[1], house.control, house.nats]:
            process.stop()
        folders, left_out = set(), 0
        for path in files(house):
            with open(path, "rb") as file:
                text = file.read()
            searched += len(text)
            folders |= set(os.path.relpath(path, house.folder).split(os.sep))
            left_out += text.count(b"(secret)")
            hits += [(name, os.path.relpath(path, house.folder)) for name in cage.hits(text)]
        assert not hits, sorted(set(hits))
        assert {"store", "jetstream", "spool", "control-plane.log"} <= folders, folders
        assert left_out, "no secret was left out of what is kept: did they come that far?"
        traced = sum("TRACE" in process.tail() or process.log.stat().st_size > 100_000
                     for process in [*house.gateways, house.control, house.projector])
        assert traced == 4, "not every process has logged at trace level"
        figures.LINES.append(
            f"T23: 0 hits of {len(cage.parts)} secrets in {searched:,} bytes and {len(told)} answers"
        )
