"""Every code of a gateway stands in the request log: each is driven once, and found by its id."""

import json
import socket

import pytest
import requests

from desk import CASES, MANY_TOKENS, MAX_BODY_BYTES, Desk
from house import wait_until

# Of secrets that no key has: what came with them belongs to nobody.
NOBODYS = {"unauthorized", "wrong_credential_kind"}
# What was refused while a gateway was cut off is booked once it is not.
BOOKED_SECONDS = 60
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def own_desk():
    """A desk of our own: its gateway that is cut off comes back."""
    opened = Desk()
    yield opened
    opened.close()


def body_of(desk, case):
    words = "x" * MAX_BODY_BYTES if case.how == "large" else "one two"
    messages = [{"role": "user", "content": words}]
    # Half of it, where the other half never comes or is missed.
    body = {"model": desk.model_of(case, "openai"), "messages": messages, "max_tokens": MANY_TOKENS}
    whole = json.dumps(body)
    return whole[:-2] if case.how in ("invalid", "slow") else whole


def slowly(desk, case):
    """A request whose body does not end: status, code and id of the answer."""
    body = body_of(desk, case).encode()
    port = desk.house.gateways[case.gateway].port
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {desk.secret(case.key)}\r\ncontent-length: {len(body) + 2}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    lines = answer.decode().split("\r\n\r\n")[0].split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers["x-turnpike-error-code"], headers["x-turnpike-request-id"]


def ask(desk, case):
    path = "/v1/nowhere" if case.how == "nowhere" else CHAT
    return requests.post(
        f"http://127.0.0.1:{desk.house.gateways[case.gateway].port}{path}",
        headers={
            "Authorization": f"Bearer {desk.secret(desk.key_of(case, 'openai'))}",
            "content-type": "application/json",
        },
        data=body_of(desk, case),
        timeout=60,
    )


def drive(desk, case):
    """Status, code and id of the answer to the one request of a case."""
    if case.how == "again":
        # The first refusal of a key: of a flood not each has an entry of its own.
        made = desk.house.of_org("POST", "/keys", {"name": "once", "limits": {"requests_per_minute": 1}})
        desk.secrets[case.key], desk.ids[case.key] = made["secret"], made["id"]

        def refused():
            answer = told(ask(desk, case))
            return answer if answer[0] == case.status else None

        return wait_until(refused, "what a minute allows has been used")
    with desk.prepared(case, "openai"):
        return slowly(desk, case) if case.how == "slow" else told(ask(desk, case))


def told(answer):
    headers = answer.headers
    return answer.status_code, headers.get("x-turnpike-error-code"), headers["x-turnpike-request-id"]


def others(desk):
    """What no SDK of a model runs into: another method, a server that the key may not use."""
    house = desk.house
    house.command("POST", "/mcp-servers", {"name": "files", "url": "http://127.0.0.1:9/mcp"})
    url = f"http://127.0.0.1:{house.gateways[0].port}"
    headers = {"Authorization": f"Bearer {desk.secret()}"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    yield told(requests.get(url + CHAT, headers=headers, timeout=60))
    yield told(requests.post(f"{url}/mcp/files", headers=headers, json=ping, timeout=60))


def test_every_code_is_in_the_log(own_desk):
    desk = own_desk
    house = desk.house
    listed = house.of_org("GET", "/requests", params={"code": "?"}, expect=None).json()
    every = set(listed["errors"][0]["message"].removeprefix("must be one of ").split(", "))
    seen = {}
    for number, case in enumerate(CASES):
        status, code, name = drive(desk, case)
        assert (status, code) == (case.status, case.code), case
        seen[name] = (number, status, code)
    # The servers are told to gateway 0 alone: the other hears nothing until its wires are whole.
    for wire in house.gateways[1].wires:
        wire.heal()
    for status, code, name in others(desk):
        seen[name] = (None, status, code)
    assert {code for _, _, code in seen.values()} == every

    for name, (number, status, code) in seen.items():
        key = CASES[number].key if number is not None else "plain"
        if code in NOBODYS:
            shown = house.of_org("GET", f"/requests/{name}", expect=None)
            assert shown.status_code == 404, f"{code}: it belongs to nobody"
            continue
        name_of_key = desk.key_of(CASES[number], "openai") if number is not None else key
        path = f"{desk.paths[name_of_key]}/requests/{name}"
        answers = lambda path=path: house.call("GET", path, expect=None).status_code == 200  # noqa: E731
        wait_until(answers, f"{code} {status} is in the log", BOOKED_SECONDS)
        row = house.call("GET", path)
        assert (row["status"], row["code"]) == (status, code), row
        assert row["key_id"] == desk.ids[name_of_key], row
        page = house.call("GET", f"{desk.paths[name_of_key]}/requests", params={"code": code})
        assert name in {row["id"] for row in page["data"]}, code
