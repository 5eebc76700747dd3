"""T23: secrets go through every flow, at trace level, with errors, panics and kills; then all is searched.

Twelve characters in a row of any secret part, on disk, in logs, in metrics, or in any message that
passes NATS, are a hit. Panics are provoked: the operating system has no randomness for a while, and
whoever needs some panics with a request and its credential at hand. Bounds: each of 22 secrets in each
place once; the full form repeats it all three times.
"""

import asyncio
import json
import os
import secrets
import string
import threading

import nats
import pytest
import requests

import figures
from house import House, wait_until
from interposer import Interposer
from spend import form

pytestmark = pytest.mark.soak

# As many characters of a secret in a row are a hit.
HIT_CHARACTERS = 12
# Any twelve characters hold one of these pieces whole: six that begin at every seventh place.
PIECE_CHARACTERS, STRIDE = 6, 7
# `sk-tp-` and the public id stand before the secret part of ours.
PUBLIC_CHARACTERS = 22
MESSAGE = [{"role": "user", "content": "sing"}]
TRACE = {"TURNPIKE_LOG_FILTER": "trace"}
MCP_HEADERS = {"accept": "application/json, text/event-stream"}
ROUNDS = form(1, 3)
# More than a gateway keeps of randomness for the ids of its requests.
PANICKING_CALLS = 40


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

    def token(self, name, text):
        """An ephemeral token: none of it is to be kept, for its claims and its signature are all of it."""
        self.parts[name] = text.removeprefix("ek-tp-").encode()
        return text

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


class Ear:
    """Hears every message of a NATS server, also those that are kept nowhere."""

    def __init__(self, url):
        self.url, self.heard, self.ready, self.over = url, [], threading.Event(), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self.thread.start()
        assert self.ready.wait(30), "nobody could listen"

    async def _listen(self):
        client = await nats.connect(self.url, allow_reconnect=False)

        async def hear(message):
            headers = json.dumps(message.headers or {}).encode()
            self.heard.append(b"\n".join([message.subject.encode(), message.reply.encode(), headers, message.data]))

        await client.subscribe(">", cb=hear)
        await client.flush()
        self.ready.set()
        while not self.over.is_set():
            await asyncio.sleep(0.05)
        await client.drain()

    def close(self):
        self.over.set()
        self.thread.join(30)
        return self.heard


def found(house, noun, name, body, scope="of_org"):
    """What is called so, made if it is not there yet."""
    call = getattr(house, scope)
    known = [one for one in call("GET", f"/{noun}")["data"] if one["name"] == name]
    return known[0] if known else call("POST", f"/{noun}", {"name": name, **body})


def people(house, cage, number):
    """Invitations, passwords and sessions; the answers that nobody is meant to keep a secret of."""
    address = {"email": f"canary-{number}@example.com", "name": "Canary", "role": "admin"}
    invitation = cage.ours(f"invitation {number}", house.of_org("POST", "/members", address)["secret"])
    password = cage.theirs(f"password {number}")
    accepted = {"invitation": invitation, "password": password}
    told = [house.of_org("POST", "/members/accept", {**accepted, "password": password[:5]}, expect=None)]
    told.append(house.of_org("POST", "/members/accept", accepted, expect=None))
    assert told[-1].status_code == 200, told[-1].text
    told.append(house.of_org("POST", "/members/accept", accepted, expect=None))
    login = {"email": address["email"], "password": password}
    session = requests.post(f"{house.control_url}/api/v1/session", json=login, timeout=60)
    assert session.status_code == 200, session.text
    cookie = cage.theirs(f"session {number}", session.cookies["tp_session"])
    told.append(house.call("POST", "/session", {**login, "password": password + "x"}, expect=None))
    for path in ("/me", f"/orgs/{house.org}/keys", f"/orgs/{house.org}/tokens"):
        for method in ("GET", "POST"):
            url = f"{house.control_url}/api/v1{path}"
            told.append(requests.request(method, url, cookies={"tp_session": cookie}, json={}, timeout=60))
    return told


def tools(house, cage, number, key):
    """MCP servers with credentials: one that refuses, one that is not there; the answers."""
    told = []
    for name, url in [("caged", f"{house.echo_url}/mcp"), ("broken", "http://127.0.0.1:9/mcp")]:
        server = found(house, "mcp-servers", name, {"url": url})
        credential = {"credential": cage.theirs(f"credential of the MCP server {name} {number}")}
        credential["credential_header"] = "x-canary"
        house.command("PATCH", f"/mcp-servers/{server['id']}", credential)
        told.append(house.of_org("POST", f"/mcp-servers/{server['id']}/refresh", {}, expect=None))
        told.append(house.of_org("GET", f"/mcp-servers/{server['id']}", expect=None))
        told += call_tools(house, name, key)
    return told


def call_tools(house, server, secret):
    """Messages to an MCP server with a secret as credential, as tool, as argument."""
    told = []
    call = {"name": secret, "arguments": {"secret": "none"}}
    messages = [{"method": "tools/list"}, {"method": "tools/call", "params": call}, {"method": "x"}]
    for number in range(len(house.gateways)):
        headers = {"Authorization": f"Bearer {secret}", **MCP_HEADERS}
        for name in (server, secret):
            for message in messages:
                url = f"{house.gateway_url(number)}/mcp/{name}"
                body = {"jsonrpc": "2.0", "id": 1, **message}
                told.append(requests.post(url, json=body, headers=headers, timeout=30))
        session = {**headers, "mcp-session-id": secret, "mcp-protocol-version": "2025-11-25"}
        told.append(requests.get(f"{house.gateway_url(number)}/mcp/{server}", headers=session, timeout=30))
    return told


def panic(house, between, secret):
    """Calls that meet a panic with their credential at hand; how many of them were cut off."""
    between.withhold_randomness(True)
    cut_off = 0

    def try_to(method, url, **options):
        nonlocal cut_off
        try:
            answer = requests.request(method, url, timeout=30, **options)
            cut_off += answer.status_code >= 500
        except requests.RequestException:
            cut_off += 1

    try:
        bearer = {"Authorization": f"Bearer {secret}"}
        owner = {"Authorization": f"Bearer {house.token}"}
        for place in range(PANICKING_CALLS):
            # A refusal is sealed with a fresh nonce, a key is made of randomness.
            for number in range(len(house.gateways)):
                url = f"{house.gateway_url(number)}/v1/chat/completions"
                try_to("POST", url, headers=bearer, json={"model": f"none-{place}", "messages": MESSAGE})
            keys = f"{house.control_url}/api/v1/orgs/{house.org}/keys"
            try_to("POST", keys, headers=owner, json={"name": f"panic {place}", "metadata": {"of": "canary"}})
            try_to("POST", f"{house.control_url}/api/v1/session", json={"email": "x@y.example", "password": secret})
    finally:
        between.withhold_randomness(False)
    return cut_off


def fly(house, cage, number):
    """Each secret in each place where callers put it, rightly and wrongly."""
    recoverable = {"secret_reveal": "recoverable"}
    house.of_org("PATCH", "", recoverable)
    told = people(house, cage, number)
    for name, url in [("caged", house.echo_url), ("broken", "http://127.0.0.1:9")]:
        provider = found(house, "providers", name, {"kind": "openai", "base_url": url}, "call")
        credential = cage.theirs(f"credential of the provider {name} {number}")
        house.call("PATCH", f"/providers/{provider['id']}", {"credential": credential, "max_failures": 0})
        model = {"context_window": 100000, "max_output": 10000, "prices": {"input": "1.00", "output": "2.00"}}
        found(house, "models", name, {**model, "routes": [{"provider": name, "upstream_model": "echo-1"}]}, "call")
    scopes = {"mcp": {"enabled": True}}
    made = house.command("POST", "/keys", {"name": "canary", "limits": {"cost_usd": "1.00"}, "scopes": scopes})
    first = cage.ours(f"model key {number}", made["secret"])
    told += sing(house, first) + tools(house, cage, number, first)
    delegated = house.of_org("POST", f"/keys/{made['id']}/ephemeral", {"cost_usd": "0.10"})
    delegate = cage.token(f"ephemeral token {number}", delegated["secret"])
    told += sing(house, delegate) + misplace(house, delegate) + call_tools(house, "caged", delegate)
    house.command("DELETE", f"/keys/{made['id']}/ephemeral/{delegated['id']}")
    told += sing(house, delegate) + sing(house, delegate[:-1])
    rotated = house.command("POST", f"/keys/{made['id']}/rotate", {"overlap_seconds": 600})
    second = cage.ours(f"rotated model key {number}", rotated["secret"])
    told += sing(house, first) + sing(house, second)
    revealed = house.of_org("POST", f"/keys/{made['id']}/reveal")
    assert revealed["secret"] == second
    third = cage.ours(f"again rotated {number}", house.command("POST", f"/keys/{made['id']}/rotate")["secret"])
    token = house.of_org("POST", "/tokens", {"name": f"canary {number}", "role": "admin"})["secret"]
    cage.ours(f"management token {number}", token)
    join = house.of_org("POST", "/gateways/tokens", {"name": f"canary {number}"})["secret"]
    cage.ours(f"another join token {number}", join)
    for secret in [first, second, third, token, join, house.token]:
        told += sing(house, secret)
        told += misplace(house, secret)
    legacy = f"legacy secret {number}"
    imported = house.of_org(
        "POST", "/keys/import", expect=None, data=f"name,secret\nold {number},{cage.theirs(legacy)}\n",
        headers={"content-type": "text/csv"}, params={"wait": "applied"},
    )
    assert imported.json()["accepted"] == 1, imported.text
    # What a caller writes as a model's name is kept: a legacy secret there looks like any name.
    told += sing(house, cage.parts[legacy].decode(), names=[])
    told += misplace(house, cage.parts[legacy].decode())
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


def metrics(house, but=None):
    ports = [gateway.admin_port for gateway in house.gateways]
    ports += [int(process.environment["TURNPIKE_ADMIN_LISTEN"].rsplit(":", 1)[1])
              for process in (house.control, house.projector) if process is not but]
    return [requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).content for port in ports]


class Search:
    """What was searched, and what was found."""

    def __init__(self, cage):
        self.cage, self.bytes, self.places, self.hits = cage, 0, 0, []

    def look(self, text, where, given=b""):
        """A text of one place; what those who see it `given` themselves is no hit."""
        self.bytes, self.places = self.bytes + len(text), self.places + 1
        hits = [name for name in self.cage.hits(text) if not holds(given, self.cage.parts[name])]
        self.hits += [(name, where) for name in hits]

    def look_at_answers(self, answers):
        for answer in answers:
            # The provider echo says back what it was asked, a model's name is told in a refusal:
            # those who sent a secret there see it again, nobody else does.
            asked = answer.request.body or b""
            asked = asked.encode() if isinstance(asked, str) else asked
            self.look(answer.content + str(answer.headers).encode(), answer.url, asked + answer.request.url.encode())


def test_t23_no_twelve_characters_of_a_secret_are_left_anywhere():
    between = Interposer()
    with House(gateways=2, gateway_options={**TRACE, **between.environment}) as house:
        cage, ear = Cage(), Ear(house.nats_url)
        for process in (house.control, house.projector):
            process.stop()
            process.environment |= {**TRACE, **between.environment}
            process.start()
        cage.ours("first management token", house.token)
        cage.ours("join token", house._first("join-token"))
        cage.theirs("owner's password", house._first("owner-password"))
        for name, value in {**house.shared_keys, **house.own_keys}.items():
            cage.theirs(name, value.removeprefix("1:"))
        search, answers = Search(cage), 0
        for number in range(ROUNDS):
            told = fly(house, cage, number)
            search.look_at_answers(told)
            answers += len(told)
        for text in metrics(house):
            search.look(text, "metrics")
        wait_until(lambda: house.usage()["total"]["refused_requests"] > 0, "refusals are booked")
        # Nobody books what comes now: it is still in the spools when everything dies.
        house.projector.kill()
        last = house.command("POST", "/keys", {"name": "last"})["secret"]
        sing(house, cage.ours("last model key", last))
        cut_off = panic(house, between, last)
        assert house.call("GET", "/me")["org"]["id"] == house.org, "the control plane has outlived it"
        for number in range(len(house.gateways)):
            url, bearer = f"{house.gateway_url(number)}/v1/key", {"Authorization": f"Bearer {last}"}
            assert requests.get(url, headers=bearer, timeout=30).status_code == 200, "and so has each gateway"
        for text in metrics(house, but=house.projector):
            search.look(text, "metrics")
        heard = ear.close()
        house.gateways[0].kill()
        for process in [house.gateways[1], house.control, house.nats]:
            process.stop()
        for text in heard:
            search.look(text, "NATS")
        folders, left_out = set(), 0
        for path in files(house):
            with open(path, "rb") as file:
                text = file.read()
            folders |= set(os.path.relpath(path, house.folder).split(os.sep))
            left_out += text.count(b"(secret)")
            search.look(text, os.path.relpath(path, house.folder))
        assert not search.hits, sorted(set(search.hits))
        assert {"store", "jetstream", "spool", "control-plane.log"} <= folders, folders
        assert left_out, "no secret was left out of what is kept: did they come that far?"
        subjects = {text.split(b".")[3] for text in heard if text.startswith(b"turnpike.v1.")}
        assert {b"events", b"spend", b"receipts"} <= subjects, subjects
        logged = {process.name: process.log.read_text(errors="replace") for process in [*house.gateways, house.control]}
        panics = {name: text.count("a panic") for name, text in logged.items()}
        assert all(panics.values()) and cut_off >= PANICKING_CALLS, (panics, cut_off)
        traced = sum("TRACE" in text for text in logged.values())
        assert traced == 3, "not every process has logged at trace level"
        figures.tell(
            "T23", secrets=len(cage.parts), places=search.places, answers=answers, messages=len(heard),
            panics=sum(panics.values()), bytes=f"{search.bytes:,}", hits=0,
        )
    between.close()
