"""T27: no process of the house connects to where its operator does not let it.

Bounds: 220 URLs that lead inside, or nowhere, by each of four routes; six statuses of redirects; names
that lead elsewhere the second time; every call of the management API with URLs in all its fields. In
full all notations of 13 addresses. Webhooks are no part of the product yet: they are to go by the same
connector, and to be added here.

The operator lets 127.0.0.9 alone be called. What counts connections: sockets inside, and the C library
of each process, which keeps what would leave this machine from doing so.
"""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

import figures
import raw
from document import operations
from house import House, wait_until
from interposer import Interposer
from places import NAMES, urls
from ports import free_port
from spend import SOAK

pytestmark = pytest.mark.soak

OUTSIDE, INSIDES = "127.0.0.9", ["127.0.0.1", "127.0.0.2", "::1"]
REDIRECTS = [300, 301, 302, 303, 307, 308]
CHAT = {"model": "own", "messages": [{"role": "user", "content": "well?"}], "max_tokens": 5}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
PRICES = {"input": "1.00", "output": "2.00"}
WALLED = "a private, loopback or otherwise reserved"
UNREACHED = "could not be reached"


class Handler(BaseHTTPRequestHandler):
    """`/redirect/STATUS/PORT…`: a redirect to inside; anything else is answered as it is asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.lock:
            self.server.got.append(content)
        parts = self.path.split("/")
        target = f"http://127.0.0.1:{self.server.server_address[1]}/"
        headers = {"Alt-Svc": f'h2="127.0.0.1:{self.server.server_address[1]}"', "Link": f"<{target}>; rel=preload"}
        status = 200
        if parts[1] == "redirect":
            status, headers["Location"] = int(parts[2]), target
        elif parts[1] == "refresh":
            headers["Refresh"] = f"0; url={target}"
        text = raw.ANSWER
        if b'"jsonrpc"' in content:
            result = {"protocolVersion": "2025-11-25", "tools": []}
            text = json.dumps({"jsonrpc": "2.0", "id": json.loads(content).get("id"), "result": result}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_DELETE = do_POST

    def log_message(self, *_):
        pass


class Walls:
    """A provider outside, and sockets inside at the same port that count who comes."""

    def __init__(self):
        self.outside = ThreadingHTTPServer((OUTSIDE, free_port()), Handler)
        self.outside.got, self.outside.lock = [], threading.Lock()
        self.port = self.outside.server_address[1]
        self.came = []
        threading.Thread(target=self.outside.serve_forever, daemon=True).start()
        self.insides = [self._listen(address) for address in INSIDES]

    def _listen(self, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, self.port))
        listening.listen()
        threading.Thread(target=self._count, args=(listening,), daemon=True).start()
        return listening

    def _count(self, listening):
        while True:
            connection, peer = listening.accept()
            self.came.append((listening.getsockname(), peer))
            connection.close()

    def got(self):
        with self.outside.lock:
            return list(self.outside.got)


class Town:
    """A house whose control plane and gateway may call 127.0.0.9 and nobody else inside."""

    def __init__(self):
        self.walls, self.between = Walls(), Interposer()
        self.between.names({**NAMES, **REBOUND})
        proxy = f"http://127.0.0.1:{self.walls.port}"
        # A proxy of the environment would be a way around the walls.
        around = {name: proxy for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")}
        around |= self.between.environment
        walled = {"TURNPIKE_SERVE_ALLOW_PRIVATE": "false", "TURNPIKE_SERVE_ALLOWED_NETWORKS": f'["{OUTSIDE}/32"]'}
        self.house = house = House(gateways=1, gateway_options={**walled, **around})
        house.control.stop()
        own = {"TURNPIKE_ALLOW_PRIVATE": "false", "TURNPIKE_ALLOWED_NETWORKS": f'["{OUTSIDE}/32"]'}
        house.control.environment |= {**own, **around}
        house.control.start()
        self.good = f"http://{OUTSIDE}:{self.walls.port}"
        patient = {"kind": "openai", "base_url": self.good, "max_failures": 0, "connect_timeout_ms": 5000}
        own = house.of_org("POST", "/providers", {"name": "mine", "serves": ["own"], **patient})
        ours = house.call("POST", "/providers", {"name": "shared", **patient})
        house.call("POST", "/providers", {"name": "off", "disabled": True, **patient})
        self.paths = {"own": f"/orgs/{house.org}/providers/{own['id']}", "ours": f"/providers/{ours['id']}"}
        for name, provider in [("own", "off"), ("ours", "shared")]:
            made = {"name": name, "context_window": 100000, "max_output": 1000, "prices": PRICES}
            house.call("POST", "/models", {**made, "routes": [{"provider": provider}]})
        server = house.of_org("POST", "/mcp-servers", {"name": "tools", "url": f"{self.good}/mcp"})
        self.paths["mcp"] = f"/orgs/{house.org}/mcp-servers/{server['id']}"
        online = lambda: house.of_org("GET", "/gateways")["data"][0]["online"]
        wait_until(online, "the control plane hears the gateway again")
        key = house.command("POST", "/keys", {"name": "k", "scopes": {"mcp": {"enabled": True}}})
        self.key = {"Authorization": f"Bearer {key['secret']}"}

    def close(self):
        self.house.close()
        self.between.close()

    def lead(self, what, url):
        """Gives a provider or server another URL, known to the gateway; or the refusal."""
        field = "url" if what == "mcp" else "base_url"
        applied = {"wait": "applied", "timeout_ms": "20000"}
        told = self.house.call("PATCH", self.paths[what], {field: url}, expect=None, params=applied)
        if told.status_code == 200:
            assert told.json()["propagation"]["missing"] == [], told.text
            return None
        assert told.status_code == 422, (url, told.text)
        [error] = told.json()["errors"]
        assert error["pointer"] == f"/{field}" and error["message"].startswith("must "), (url, told.text)
        return error["message"]

    def ask(self, what, path="/v1/chat/completions", **body):
        url = self.house.gateway_url(0)
        if what == "mcp":
            accepted = {"accept": "application/json, text/event-stream"}
            return requests.post(f"{url}/mcp/tools", json=LIST, headers={**self.key, **accepted}, timeout=60)
        return requests.post(url + path, json={**CHAT, "model": what, **body}, headers=self.key, timeout=60)

    def refresh(self):
        return self.house.call("POST", f"{self.paths['mcp']}/refresh", {}, expect=None)

    def targets(self):
        """Where processes wanted to connect, but for NATS, the control plane and outside."""
        ours = [int(url.rsplit(":", 1)[1]) for url in (self.house.nats_url, self.house.control_url)]
        home = [("127.0.0.1", port) for port in ours] + [(OUTSIDE, self.walls.port)]
        return [target for target in self.between.connections() if target not in home]

    def check(self):
        assert self.walls.came == [] and self.targets() == [], (self.walls.came, self.targets())


# Names whose answers change: the operator's own provider first, then inside; or both at once.
REBOUND = {
    "rebinds.test": [OUTSIDE, "127.0.0.1"],
    "rebinds-back.test": ["127.0.0.1", OUTSIDE],
    "both.test": [f"{OUTSIDE},127.0.0.1"],
    "both-inside-first.test": [f"127.0.0.1,{OUTSIDE}"],
}


@pytest.fixture(scope="module")
def town():
    opened = Town()
    yield opened
    opened.close()


def test_what_is_outside_is_reached(town):
    """Otherwise no connections would be no wonder."""
    before = len(town.walls.got())
    for what in ("own", "ours", "mcp"):
        assert town.ask(what).status_code == 200, what
    assert town.refresh().status_code == 200
    assert len(town.walls.got()) >= before + 4
    assert (OUTSIDE, town.walls.port) in town.between.connections()
    town.check()


def test_t27_nothing_inside_is_reached_whatever_it_is_called(town):
    corpus = urls(town.walls.port, SOAK)
    refused, walled, unreached = 0, 0, 0
    for url in corpus:
        for what in ("own", "ours", "mcp"):
            if town.lead(what, url):
                refused += 1
                continue
            answer = town.ask(what)
            assert answer.status_code == 502, (url, answer.text)
            assert answer.headers["x-turnpike-error-code"] == "provider_error"
            is_walled = WALLED in answer.text
            assert is_walled or UNREACHED in answer.text, (url, answer.text)
            walled, unreached = walled + is_walled, unreached + (not is_walled)
            if what == "mcp":
                told = town.refresh()
                assert told.status_code == 409 and (WALLED in told.text) == is_walled, (url, told.text)
        town.check()
    for what, path in [("own", ""), ("ours", ""), ("mcp", "/mcp")]:
        assert town.lead(what, town.good + path) is None
        assert town.ask(what).status_code == 200
    # A resolver may not know `localhost.`; all else is named for what it is.
    assert unreached <= 3, unreached
    told = {"refused_422": refused, "refused_502": walled + unreached}
    figures.tell("T27", urls=len(corpus), routes=4, **told, connections=0)


def test_t27_names_that_lead_elsewhere_the_second_time(town):
    asked = 0
    for host in REBOUND:
        before = len(town.walls.got())
        assert town.lead("own", f"http://{host}:{town.walls.port}") is None
        statuses = []
        for _ in range(4):
            answer = town.ask("own")
            statuses.append(answer.status_code)
            assert answer.status_code == 200 or WALLED in answer.text, answer.text
            asked += 1
        # Each answer came from outside, on a connection that was kept or made anew.
        assert len(town.walls.got()) - before == statuses.count(200), (host, statuses)
        town.check()
    # Where both stand, what is outside is called.
    assert town.lead("mcp", f"http://both-inside-first.test:{town.walls.port}/mcp") is None
    assert (town.ask("mcp").status_code, town.refresh().status_code) == (200, 200)
    assert town.lead("mcp", f"http://rebinds.test:{town.walls.port}/mcp") is None
    for _ in range(3):
        assert town.refresh().status_code in (200, 409)
    town.check()
    figures.tell("T27 rebinding", names=len(REBOUND), calls=asked + 5, connections=0)


def test_t27_redirects_are_not_followed(town):
    for status in REDIRECTS:
        base = f"{town.good}/redirect/{status}"
        for what in ("own", "ours", "mcp"):
            assert town.lead(what, base) is None
            answer = town.ask(what)
            assert answer.status_code == 502 and f"status {status}" in answer.text, answer.text
        told = town.refresh()
        assert told.status_code == 409 and f"status {status}" in told.text, told.text
        town.check()
    for what in ("own", "ours", "mcp"):
        assert town.lead(what, f"{town.good}/refresh") is None
        assert town.ask(what).status_code == 200
    assert town.refresh().status_code == 200
    town.check()
    figures.tell("T27 redirects", statuses=len(REDIRECTS), routes=4, connections=0)


def bodies(target):
    """Requests of every dialect that name what a provider is to fetch."""
    image = {"type": "image_url", "image_url": {"url": target}}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": [image]}]}
    file = {"type": "file", "file": {"file_id": target, "file_data": target}}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": [file]}]}
    parts = [{"type": "input_image", "image_url": target}, {"type": "input_file", "file_url": target}]
    asked = {"input": [{"role": "user", "content": parts}], "messages": None, "max_tokens": None}
    yield "/v1/responses", {**asked, "tools": [{"type": "mcp", "server_label": "x", "server_url": target}]}
    yield "/v1/embeddings", {"input": target, "messages": None, "max_tokens": None}
    yield "/v1/images/generations", {"prompt": target, "image": target, "messages": None, "max_tokens": None}
    for name in ("callback_url", "webhook", "webhook_url", "base_url", "api_base", "endpoint", "url", "proxy"):
        yield "/v1/chat/completions", {name: target}


def test_t27_what_bodies_and_headers_name_is_not_fetched(town):
    for what in ("own", "ours"):
        assert town.lead(what, town.good) is None
    target = f"http://127.0.0.1:{town.walls.port}/secret.png"
    sent = 0
    for path, body in bodies(target):
        got = len(town.walls.got())
        fields = {name: value for name, value in {**CHAT, **body}.items() if value is not None}
        names = ("x-callback-url", "referer", "origin", "forwarded", "x-forwarded-host", "x-original-url")
        headers = {**town.key, **{name: target for name in names}}
        url = town.house.gateway_url(0) + path
        answer = requests.post(url, json={**fields, "model": "ours"}, headers=headers, timeout=60)
        assert answer.status_code == 200, (path, body, answer.text)
        # The provider got it as it was, and is the only one who did.
        assert target.encode() in b"".join(town.walls.got()[got:])
        sent += 1
    absolute = raw.head(
        town.key["Authorization"].split()[1],
        f"POST http://127.0.0.1:{town.walls.port}/v1/chat/completions HTTP/1.1",
        f"Content-Length: {len(json.dumps(CHAT))}",
    )
    raw.exchange(town.house.gateways[0].port, absolute + b"\r\n\r\n" + json.dumps(CHAT).encode(), 1)
    town.check()
    figures.tell("T27 bodies", requests=sent + 1, connections=0)


def test_t27_no_call_of_the_management_api_fetches_what_it_is_given(town):
    house, calls = town.house, 0
    target = f"http://127.0.0.1:{town.walls.port}/x"
    for method, path, properties in operations(house):
        if "session" in path and method == "delete":
            continue
        path = path.replace("{org}", house.org)
        parts = ["x" if part.startswith("{") else part for part in path.split("/")]
        for body in ({name: target for name in properties}, {name: [target] for name in properties}):
            headers = {"Authorization": f"Bearer {house.token}", "Referer": target, "Origin": target}
            options = {"params": {"url": target, "cursor": target}, "headers": headers, "timeout": 60}
            answer = requests.request(method, house.control_url + "/".join(parts), json=body or None, **options, stream=True)
            answer.close()
            assert answer.status_code < 500, (method, path, answer.status_code)
            calls += 1
    wait_until(lambda: house.call("GET", "/me"), "the control plane answers")
    town.check()
    figures.tell("T27 management", calls=calls, connections=0)
