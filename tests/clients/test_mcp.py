"""MCP through gateways: servers and clients of the official SDKs, and the conformance suite."""

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager

import httpx2
import pytest
import requests
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

import figures
import ports
from books import all_requests
from house import ROOT, House, Process, accepts, lines, nano, wait_until
from javascript import NODE, PROGRAMS, Javascript, line_of
from process import START_SECONDS

SUITE = PROGRAMS / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
# How often it runs again where something failed: a machine may have been busy.
SUITE_AGAIN = 2
MODES = ["legacy", "2026-07-28"]
# A server's own credential, which nobody else must see.
CREDENTIAL = "the-servers-own-secret"
FEE = "0.01"
NARROW = {"enabled": True, "mode": "allow_list", "servers": ["files"], "tools": {"files": ["add", "count"]}}


class Node:
    """A program of the folder `node` that says its port."""

    def __init__(self, name, *words):
        command = [NODE, PROGRAMS / name, *words]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            self.port = int(line_of(self.child))
        except BaseException:
            self.close()
            raise
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


class Square:
    """Two gateways before two MCP servers, and a key for each case."""

    def __init__(self):
        self.house = house = House(gateways=2)
        self.everything = self.modern = None
        own = ports.listener()
        port = own.getsockname()[1]
        self.seen = house.folder / "seen"
        command = [sys.executable, ROOT / "tests/clients/mcp_files.py", str(own.fileno()), self.seen]
        self.files = Process("files", command, {}, house.folder, accepts(port))
        try:
            with own:
                self.files.start(pass_fds=[own.fileno()])
            self.everything = Node("everything.mjs")
            self.modern = Node("modern.mjs")
            servers = {
                "files": {"url": f"http://127.0.0.1:{port}/mcp", "credential": CREDENTIAL, "request_fee_usd": FEE},
                "everything": {"url": f"{self.everything.url}/mcp"},
                "modern": {"url": f"{self.modern.url}/mcp"},
            }
            self.servers = {
                name: house.command("POST", "/mcp-servers", {"name": name, **server})["id"]
                for name, server in servers.items()
            }
            self._keys()
        except BaseException:
            self.close()
            raise

    def _keys(self):
        everything = {"mcp": {"enabled": True}}
        keys = {
            "all": {"scopes": everything},
            "other": {"scopes": everything},
            "revoked": {"scopes": everything},
            "listener": {"scopes": everything},
            "narrow": {"scopes": {"mcp": NARROW}},
            "off": {},
            "slow": {"scopes": everything, "limits": {"requests_per_minute": 1}},
            "poor": {"scopes": everything, "limits": {"cost_usd": "0.015"}},
            "broke": {"scopes": everything, "limits": {"cost_usd": "0.005"}},
        }
        made = {name: self.house.command("POST", "/keys", {"name": name, **key}) for name, key in keys.items()}
        self.ids = {name: key["id"] for name, key in made.items()}
        self.secrets = {name: key["secret"] for name, key in made.items()}

    def close(self):
        for server in (self.everything, self.modern):
            if server:
                server.close()
        self.files.kill()
        self.house.close()

    def url(self, server="files", gateway=0):
        return f"{self.house.gateway_url(gateway)}/mcp/{server}"

    @asynccontextmanager
    async def client(self, key="all", mode="legacy", **options):
        headers = {"authorization": f"Bearer {self.secrets[key]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(self.url(**options), http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client

    def post(self, message, key="all", headers=None, **options):
        common = {
            "authorization": f"Bearer {self.secrets[key]}",
            "accept": "application/json, text/event-stream",
        }
        url = self.url(**options)
        return requests.post(url, json=message, headers={**common, **(headers or {})}, timeout=60)

    def able(self, *message, **options):
        """As `post`, once the authority has said what it thinks: until then it is 503."""
        told = lambda: (answer := self.post(*message, **options)).status_code != 503 and [answer]  # noqa: E731
        return wait_until(told, "the limits can be checked")[0]

    def begin(self, key="all", **options):
        """Begins a session by hand; the header that carries it on."""
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        begun = self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, key, **options)
        assert begun.status_code == 200, begun.text
        session = {"mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, key, session, **options)
        return session


@pytest.fixture(scope="module")
def square():
    opened = Square()
    yield opened
    opened.close()


LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def call(tool, **arguments):
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}


def code_of(answer):
    return answer.headers.get("x-turnpike-error-code")


@pytest.mark.parametrize("mode", MODES)
def test_the_python_sdk_does_not_notice(square, mode):
    async def run():
        async with square.client(mode=mode) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert tools == {"add", "remove", "count", "fail"}
            added = await client.call_tool("add", {"a": 2, "b": 3})
            assert added.content[0].text == "5"
            assert (await client.call_tool("fail")).is_error
            seen = []

            async def progress(done, total, _):
                seen.append((done, total))

            counted = await client.call_tool("count", progress_callback=progress)
            assert counted.content[0].text == "three" and seen[-1] == (3, 3)
            assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["greet"]
            greeting = await client.get_prompt("greet", {"name": "Ada"})
            assert greeting.messages[0].content.text == "Greet Ada."
            motto = await client.read_resource("files://motto")
            assert motto.contents[0].text == "one truth"

    asyncio.run(run())


@pytest.mark.parametrize("mode", MODES)
def test_a_scope_hides_tools_and_guards_them(square, mode):
    async def run():
        async with square.client("narrow", mode) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"add", "count"}
            assert (await client.call_tool("add", {"a": 1, "b": 1})).content[0].text == "2"
            with pytest.raises(MCPError) as denied:
                await client.call_tool("remove", {"name": "x"})
            assert denied.value.error.code == -32602
            assert denied.value.error.data["error_code"] == "mcp_not_allowed"

    asyncio.run(run())


def test_the_typescript_sdk_does_not_notice(square):
    with Javascript("mcp.mjs") as client:
        begun = client.value("connect", url=square.url(), secret=square.secrets["all"])
        assert begun["version"] == "2025-11-25" and begun["session"]
        assert set(client.value("tools")) == {"add", "remove", "count", "fail"}
        assert client.value("tool", tool="add", input={"a": 2, "b": 3})[0]["text"] == "5"
        assert client.value("progress", tool="count") == [1, 2, 3]
        assert client.value("prompts") == ["greet"]
        assert client.value("resource", uri="files://motto")[0]["text"] == "one truth"
        client.value("close")
        client.value("connect", url=square.url(), secret=square.secrets["narrow"])
        assert set(client.value("tools")) == {"add", "count"}
        denied = client.call("tool", tool="remove", input={"name": "x"})["thrown"]
        assert (denied["kind"], denied["code"]) == ("McpError", -32602)
        client.value("close")


def test_no_credential_crosses(square):
    square.begin()
    seen = [line["headers"] for line in lines(square.seen)]
    assert all(headers["authorization"] == f"Bearer {CREDENTIAL}" for headers in seen)
    assert not [headers for headers in seen if "sk-tp-" in json.dumps(headers)]


def test_a_session_lives_on_both_gateways_for_its_key_alone(square):
    session = square.begin()
    for gateway in (0, 1):
        assert square.post(LIST, headers=session, gateway=gateway).status_code == 200
    for options in ({"key": "other"}, {"server": "everything"}):
        refused = square.post(LIST, headers=session, **options)
        assert (refused.status_code, code_of(refused)) == (404, "not_found")
    headers = {"authorization": f"Bearer {square.secrets['all']}", **session}
    ended = requests.delete(square.url(gateway=1), headers=headers, timeout=60)
    assert ended.status_code in (200, 204)
    assert square.post(LIST, headers=session).status_code == 404


def test_a_revoked_key_is_stopped_in_its_session(square):
    session = square.begin("revoked")
    headers = {"authorization": f"Bearer {square.secrets['revoked']}", "accept": "text/event-stream", **session}
    stream = requests.get(square.url(), headers=headers, stream=True, timeout=60)
    assert stream.status_code == 200
    square.house.command("POST", f"/keys/{square.ids['revoked']}/revoke", {"reason": "unused"})
    for gateway in (0, 1):
        refused = square.post(call("add", a=1, b=1), "revoked", session, gateway=gateway)
        assert (refused.status_code, code_of(refused)) == (401, "key_revoked")
        assert refused.headers["www-authenticate"] == "Bearer"
    stream.close()


def test_what_is_refused_is_told_as_json_rpc(square):
    modern = {"mcp-protocol-version": "2026-07-28"}
    cases = [
        (LIST, "off", {}, 403, -32602, "mcp_not_allowed"),
        (LIST, "all", {"mcp-protocol-version": "2024-11-05"}, 400, -32022, "invalid_request"),
        (LIST, "all", {**modern, "mcp-method": "ping"}, 400, -32020, "invalid_request"),
        (call("add"), "all", {**modern, "mcp-method": "tools/call", "mcp-name": "x"}, 400, -32020, "invalid_request"),
        (LIST, "all", {"origin": "http://evil.example"}, 403, -32602, "mcp_not_allowed"),
        ([LIST], "all", {}, 400, -32600, "invalid_request"),
    ]
    for message, key, headers, status, number, code in cases:
        answer = square.post(message, key, headers)
        assert (answer.status_code, code_of(answer)) == (status, code), answer.text
        told = answer.json()
        assert (told["jsonrpc"], told["error"]["code"]) == ("2.0", number)
    nowhere = square.post(LIST, server="nowhere")
    assert (nowhere.status_code, code_of(nowhere)) == (404, "not_found")
    denied = square.post(call("remove", name="x"), "narrow")
    decision = denied.json()["error"]["data"]["decision_id"]
    assert square.house.of_org("GET", f"/decisions/{decision}")["code"] == "mcp_not_allowed"


def test_tool_calls_are_counted_and_paid_and_nothing_else_is(square):
    house = square.house
    session = square.begin("slow")
    assert square.post(LIST, "slow", session).status_code == 200
    assert square.able(call("add", a=1, b=1), "slow", session).status_code == 200
    limited = square.able(call("add", a=1, b=1), "slow", session, gateway=1)
    assert (limited.status_code, code_of(limited)) == (429, "rate_limited")
    assert limited.json()["error"]["code"] == -32000 and "retry-after" in limited.headers
    assert square.post(LIST, "slow", session).status_code == 200

    session = square.begin("poor")
    assert square.able(call("add", a=1, b=1), "poor", session).status_code == 200
    spent = square.able(call("add", a=1, b=1), "poor", session)
    assert spent.status_code == 402, spent.text

    def booked():
        rows = all_requests(house, key=square.ids["poor"]).values()
        paid = [row for row in rows if row["status"] == 200 and row["tool"]]
        return paid if paid else None

    [row] = wait_until(booked, "the call is booked")
    assert (row["server"], row["tool"], row["cost_usd"]) == ("files", "add", "0.01")
    usage = lambda: house.of_org("GET", f"/keys/{square.ids['poor']}")["usage"]
    wait_until(lambda: nano(usage()["cost_usd"]) == nano(FEE), "the fee is counted")
    assert usage()["tokens"] == 0


def announce(square):
    """Something happens that the server tells all its sessions, whoever may still hear it."""
    url = f"{square.everything.url}/mcp"
    accept = {"accept": "application/json, text/event-stream"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    begun = requests.post(url, json=begin, headers=accept, timeout=60)
    session = {"mcp-session-id": begun.headers["mcp-session-id"]}
    told = requests.post(url, json=call("announce"), headers={**accept, **session}, timeout=60)
    assert told.status_code == 200, told.text
    assert requests.delete(url, headers=session, timeout=60).status_code == 200


class Listener:
    """The open stream of a session of the server `everything`, read in the background."""

    def __init__(self, square, secret, seconds=START_SECONDS):
        url = square.url("everything")
        headers = {"authorization": f"Bearer {secret}", "accept": "application/json, text/event-stream"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        begun = requests.post(url, json=begin, headers=headers, timeout=60)
        headers |= {"mcp-session-id": begun.headers["mcp-session-id"], "accept": "text/event-stream"}
        stream = requests.get(url, headers=headers, stream=True, timeout=120)
        assert stream.status_code == 200
        self.heard, self.over = 0, False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()
        self.square = square
        announce(square)
        wait_until(lambda: self.heard == 1, "the stream is open", seconds)

    def _read(self, stream):
        try:
            for line in stream.iter_lines():
                self.heard += b"list_changed" in line
        except requests.RequestException:
            pass
        self.over = True

    def ends(self, why):
        announce(self.square)
        wait_until(lambda: self.over, f"the stream ends with {why}")
        assert self.heard == 1, f"nothing came after {why}"


def listener_for_some_seconds(square, path):
    """A token that expires soon, and a stream that it has opened; later on a slow machine."""
    for seconds in (6, 60):
        began = time.monotonic()
        token = square.house.of_org("POST", f"{path}/ephemeral", {"expires_in_seconds": seconds})
        try:
            return token, Listener(square, token["secret"], seconds)
        except (AssertionError, KeyError):
            if time.monotonic() - began < seconds:
                raise
    raise AssertionError("the machine is too slow")


def test_an_open_stream_ends_with_what_it_was_opened_by(square):
    house, path = square.house, f"/keys/{square.ids['listener']}"
    secret = square.secrets["listener"]
    lives = Listener(square, square.secrets["all"])

    token = house.of_org("POST", f"{path}/ephemeral", {})
    listener = Listener(square, token["secret"])
    house.command("DELETE", f"{path}/ephemeral/{token['id']}")
    listener.ends("the token that was revoked")

    token, listener = listener_for_some_seconds(square, path)
    expired = lambda: requests.get(  # noqa: E731
        f"{house.gateway_url(0)}/v1/key", headers={"authorization": f"Bearer {token['secret']}"}, timeout=10
    ).status_code == 401
    wait_until(expired, "the token has expired", 120)
    listener.ends("the token that has expired")

    listener = Listener(square, secret)
    house.command("PATCH", path, {"scopes": {"mcp": {"tools": {"everything": ["announce"]}}}})
    listener.ends("the scope that hides tools of a stream that nobody looks through")
    listener = Listener(square, secret)
    house.command("PATCH", path, {"scopes": {"mcp": {"mode": "deny_list", "servers": ["everything"]}}})
    listener.ends("the scope that has no such server")
    house.command("PATCH", path, {"scopes": {"mcp": {"mode": "allow_all", "servers": None}}})

    heard = lives.heard
    announce(square)
    wait_until(lambda: lives.heard == heard + 1, "the stream of another key goes on")
    server = f"/mcp-servers/{square.servers['everything']}"
    house.command("PATCH", server, {"enabled": False})
    announce(square)
    wait_until(lambda: lives.over, "the stream ends with its server")
    assert lives.heard == heard + 1
    house.command("PATCH", server, {"enabled": True})


def test_a_stream_is_taken_up_again_within_a_session_only(square):
    headers = {"authorization": f"Bearer {square.secrets['all']}", "accept": "text/event-stream"}
    def seen():
        return [line["headers"] for line in lines(square.seen) if "last-event-id" in line["headers"]]

    before = len(seen())
    requests.get(square.url(), headers={**headers, "last-event-id": "1"}, stream=True, timeout=60).close()
    requests.post(square.url(), headers={**headers, "last-event-id": "1"}, json=LIST, timeout=60)
    assert len(seen()) == before, "without a session any key could read on where another has stopped"
    session = square.begin()
    requests.get(square.url(), headers={**headers, **session, "last-event-id": "1"}, stream=True, timeout=60).close()
    assert len(seen()) == before + 1


def test_no_other_spelling_of_a_call_gets_past_the_scope(square):
    session = square.begin("narrow")

    def raw(body):
        headers = {
            "authorization": f"Bearer {square.secrets['narrow']}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            **session,
        }
        return requests.post(square.url(), data=body.encode(), headers=headers, timeout=60)

    def calls(tool):
        """Of a tool that is named so: its JSON as it stands in the body."""
        return '{"jsonrpc":"2.0","id":2,"method":"tools\\/call","params":{"name":%s,"arguments":{"name":"x"}}}' % tool

    served = len(lines(square.seen))
    others = ["remove", "Remove", "REMOVE", "remove ", "remove\u200b", "ｒｅｍｏｖｅ", "add\u0000", "./add", ""]
    for tool in others:
        for ascii in (True, False):
            denied = raw(calls(json.dumps(tool, ensure_ascii=ascii)))
            assert code_of(denied) == "mcp_not_allowed", (tool, denied.text)
            assert denied.json()["error"]["code"] == -32602
    denied = raw(calls('"\\u0072emove"'))
    assert code_of(denied) == "mcp_not_allowed", denied.text
    for body in [
        '{"jsonrpc":"2.0","id":2,"method":"ping","method":"tools/call","params":{"name":"remove"}}',
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"add","name":"remove"}}',
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"add"},"params":{"name":"remove"}}',
        '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"remove"}}',
        '{"jsonrpc":"2.0","id":2,"method":"tools/call"}',
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":["remove"]}}',
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":["remove"]}',
        f"[{calls(json.dumps('add'))}]",
        calls('"add"') + calls('"remove"'),
    ]:
        refused = raw(body)
        assert (refused.status_code, code_of(refused)) == (400, "invalid_request"), (body, refused.text)
    assert len(lines(square.seen)) == served, "nothing of it reached the server"
    fine = raw('{"jsonrpc":"2.0","id":2,"method":"tools\\/call","params":{"name":"\\u0061dd","arguments":{"a":1,"b":2}}}')
    assert fine.status_code == 200 and code_of(fine) is None, fine.text


def test_calls_are_in_the_metrics_by_server_and_by_how_they_ended(square):
    house = square.house
    # A server of this test alone: what others have called may be told late.
    found = house.of_org("GET", f"/mcp-servers/{square.servers['files']}")
    spec = {"url": found["url"], "credential": CREDENTIAL, "request_fee_usd": FEE}
    house.command("POST", "/mcp-servers", {"name": "counted", **spec})
    tools = {"mcp": {"enabled": True, "tools": {"counted": ["add", "fail"]}}}
    some = house.command("POST", "/keys", {"name": "some", "scopes": tools})
    square.secrets["some"] = some["secret"]

    def told(server="counted"):
        found = {"timed": 0}
        for gateway in house.gateways:
            text = requests.get(f"http://127.0.0.1:{gateway.admin_port}/metrics", timeout=10).text
            for name, value in re.findall(r"^turnpike_mcp_calls_total\{(.*)\} (\d+)$", text, re.M):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
                if labels["server"] == server:
                    found[labels["outcome"]] = found.get(labels["outcome"], 0) + int(value)
            times = re.findall(rf'^turnpike_mcp_call_seconds_count\{{server="{server}"\}} (\d+)$', text, re.M)
            found["timed"] += sum(map(int, times))
        return found

    def calls(tool, key, gateway=0, session=None, **arguments):
        return square.post(call(tool, **arguments), key, session, server="counted", gateway=gateway)

    session = square.begin("some", server="counted")
    assert calls("add", "some", 0, session, a=1, b=1).status_code == 200
    assert calls("fail", "some", 1, session).status_code == 200
    # What the server refuses with a status has failed: here, because it is of no session.
    assert calls("add", "some", 1, a=1, b=1).status_code == 400
    assert code_of(calls("remove", "some", 1, session, name="x")) == "mcp_not_allowed"
    assert code_of(calls("add", "narrow", a=1, b=1)) == "mcp_not_allowed"
    assert code_of(calls("add", "off", a=1, b=1)) == "mcp_not_allowed"
    assert [calls("add", "broke", gateway, a=1, b=1).status_code for gateway in (0, 1)] == [402, 402]
    square.post(LIST, "some", session, server="counted")
    square.post(call("add"), server="nowhere")
    wanted = {"answered": 2, "failed": 1, "denied": 3, "refused": 2, "timed": 3}
    wait_until(lambda: told() == wanted, f"the metrics say {wanted}")
    assert told("nowhere") == {"timed": 0}, "what callers make up is in no label"


def test_people_see_and_search_the_tools(square):
    house = square.house
    house.cli("mcp", "add", "spare", "--endpoint", "http://127.0.0.1:9/mcp")
    house.cli("mcp", "remove", "spare", "--yes")
    house.cli("mcp", "refresh", "files")
    shown = json.loads(house.cli("mcp", "tools", "files", "--search", "numbers", "--json").stdout)
    assert [tool["name"] for tool in shown["data"]] == ["add"]
    asked = house.of_org("POST", f"/mcp-servers/{square.servers['everything']}/refresh", {})
    assert asked["tools"] >= 10
    explained = house.cli("key", "explain", "narrow", "--mcp-server", "files", "--tool", "remove", "--json")
    assert json.loads(explained.stdout)["code"] == "mcp_not_allowed"
    house.cli("mcp", "change", "everything", "--enabled", "false", "--wait")
    assert square.post(LIST, server="everything").status_code == 404
    house.cli("mcp", "change", "everything", "--enabled", "true", "--wait")
    assert "files" in house.cli("mcp", "list").stdout


def suite(folder, url, revision):
    """One run of the suite: what passed of each scored scenario, those that failed, and all it said."""
    # The suite's own pages say that they come from localhost, with the port of its URL.
    command = [NODE, SUITE, "server", "--url", f"{url}/mcp", "--requirements", revision]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    summary, _, unscored = done.stdout.partition("=== SUMMARY ===")[2].partition("Not scored for")
    unscored = set(re.findall(r"^  [✓✗] (\S+) \(", unscored, re.M))
    told = re.findall(r"^([✓✗]) (\S+): (\d+) passed, (\d+) failed", summary, re.M)
    scored = [int(passed) for _, name, passed, _ in told if name not in unscored]
    failed = {name for mark, name, *_ in told if mark == "✗" and name not in unscored}
    return scored, failed, done.stdout


@pytest.mark.parametrize("revision, server", [("2025-11-25", "everything"), ("2026-07-28", "modern")])
def test_the_conformance_suite_passes_through_a_gateway(square, revision, server):
    """What each revision requires of a server; extensions, and what is pending there, are not scored."""
    bearer = Node("bearer.mjs", square.url(server), square.secrets["all"])
    try:
        scored, failed, said = suite(square.house.folder, bearer.url, revision)
        for _ in range(SUITE_AGAIN if failed else 0):
            # It waits some seconds for each answer: what we do wrong is there each time.
            failed &= suite(square.house.folder, bearer.url, revision)[1]
    finally:
        bearer.close()
    assert not failed and len(scored) >= 25, f"{failed} {said[-9000:]}"
    figures.tell("MCP conformance", revision=revision, scenarios=len(scored), passed=sum(scored), failed=0)
