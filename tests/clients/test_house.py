"""One key from end to end: created, pushed, used by the official SDK, metered, booked, revoked."""

import asyncio
import json

import nats
import openai
import pytest
import requests

from house import House, lines, nano, wait_until

MESSAGE = [{"role": "user", "content": "four words come back"}]


@pytest.fixture(scope="module")
def house():
    with House(gateways=3) as running:
        yield running


def client(house, number, secret):
    return openai.OpenAI(base_url=f"{house.gateway_url(number)}/v1", api_key=secret, max_retries=0)


def chat(house, number, secret):
    answer = client(house, number, secret).chat.completions.create(model="echo-1", messages=MESSAGE)
    assert answer.choices[0].message.content == MESSAGE[0]["content"]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 4)


def chat_streamed(house, number, secret, with_usage):
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    stream = client(house, number, secret).chat.completions.create(
        model="echo-1", messages=MESSAGE, stream=True, **options
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == MESSAGE[0]["content"]
    with_figures = [chunk for chunk in chunks if chunk.usage]
    assert len(with_figures) == (1 if with_usage else 0)
    assert all(chunk.choices for chunk in chunks if not chunk.usage)


def code_of(house, number, secret):
    with pytest.raises(openai.APIStatusError) as told:
        chat(house, number, secret)
    return told.value.status_code, told.value.code


def everywhere(house, secret, code):
    """Refused at once on every gateway, with the reason."""
    for number in range(len(house.gateways)):
        assert code_of(house, number, secret) == (401, code)


def works_everywhere(house, secret):
    for number in range(len(house.gateways)):
        chat(house, number, secret)
        chat_streamed(house, number, secret, with_usage=True)
        chat_streamed(house, number, secret, with_usage=False)


def booked_is_served(house):
    """The books say exactly what the provider counted, to the nano-USD."""

    def holds():
        total, served = house.usage()["total"], house.served()
        return total["requests"] == served["requests"] and (total, served)

    total, served = wait_until(holds, "all requests are booked", seconds=30)
    assert total["input_tokens"] == served["input_tokens"]
    assert total["output_tokens"] == served["output_tokens"]
    assert nano(total["cost_usd"]) == nano(served["cost_usd"])
    assert total["estimated_requests"] == 0
    return total


def test_a_key_lives_and_dies_on_every_gateway(house):
    made = house.command("POST", "/keys", {"name": "life", "metadata": {"team": "red"}})
    key, first = made["id"], made["secret"]
    works_everywhere(house, first)

    second = house.command("POST", f"/keys/{key}/rotate")["secret"]
    everywhere(house, first, "unauthorized")
    works_everywhere(house, second)

    house.command("POST", f"/keys/{key}/disable")
    everywhere(house, second, "key_disabled")
    house.command("POST", f"/keys/{key}/enable")
    works_everywhere(house, second)

    house.command("POST", f"/keys/{key}/revoke", {"reason": "compromised"})
    everywhere(house, second, "key_revoked")
    refused = house.of_org("POST", f"/keys/{key}/activate", expect=None)
    assert (refused.status_code, refused.json()["code"]) == (409, "rotation_required")
    third = house.command("POST", f"/keys/{key}/activate", {"rotate": True})["secret"]
    everywhere(house, second, "unauthorized")
    works_everywhere(house, third)

    house.command("DELETE", f"/keys/{key}")
    everywhere(house, third, "unauthorized")
    total = booked_is_served(house)
    assert total["requests"] == 9 * 4

    row = house.of_org("GET", "/requests")["data"][0]
    assert (row["key_id"], row["model"], row["source"]) == (key, "echo-1", "provider")
    types = [entry["type"] for entry in house.of_org("GET", "/audit", params={"key": key})["data"]]
    assert types[0] == "KeyDeleted" and types[-1] == "KeyCreated"
    assert house.of_org("GET", "/audit/verify")["ok"] is True


def test_an_overlap_keeps_both_secrets_until_it_ends(house):
    made = house.command("POST", "/keys", {"name": "overlap"})
    rotated = house.command("POST", f"/keys/{made['id']}/rotate", {"overlap_seconds": 3})
    chat(house, 0, made["secret"])
    chat(house, 1, rotated["secret"])
    ended = lambda: requests.get(
        f"{house.gateway_url(2)}/v1/models", headers={"Authorization": f"Bearer {made['secret']}"}, timeout=5
    ).status_code == 401
    wait_until(ended, "the overlap ends", seconds=15)
    everywhere(house, made["secret"], "unauthorized")
    booked_is_served(house)


def test_scopes_are_enforced_on_every_gateway(house):
    scopes = {"models": ["echo-slow"], "ips": None}
    made = house.command("POST", "/keys", {"name": "scoped", "scopes": scopes})
    for number in range(3):
        assert code_of(house, number, made["secret"]) == (403, "model_not_allowed")
    key = f"/keys/{made['id']}"
    house.command("PATCH", key, {"scopes": {"models": None, "ips": ["10.0.0.0/8"]}})
    for number in range(3):
        assert code_of(house, number, made["secret"]) == (403, "ip_not_allowed")
    house.command("PATCH", key, {"scopes": {"ips": ["127.0.0.0/8"], "providers": ["nobody"]}})
    for number in range(3):
        assert code_of(house, number, made["secret"]) == (403, "provider_not_allowed")
    house.command("PATCH", key, {"scopes": {"providers": ["echo"]}})
    works_everywhere(house, made["secret"])
    booked_is_served(house)


def test_the_client_proves_that_a_change_arrived(house):
    made = house.cli("key", "create", "by hand", "--wait", "--json")
    key = json.loads(made.stdout)
    works_everywhere(house, key["secret"])
    told = house.cli("key", "disable", key["id"], "--wait")
    assert "applied on 3 of 3 gateways" in told.stdout + told.stderr
    everywhere(house, key["secret"], "key_disabled")
    booked_is_served(house)


def test_each_gateway_writes_what_it_applied(house):
    made = house.command("POST", "/keys", {"name": "audited"})
    house.command("POST", f"/keys/{made['id']}/disable")
    for number in range(3):
        told = lines(house.folder / f"gateway-{number}" / "audit.jsonl")
        of_key = [line for line in told if line.get("key") == made["id"]]
        assert len(of_key) == 2, told[-3:]
        assert made["secret"] not in (house.folder / f"gateway-{number}" / "audit.jsonl").read_text()


async def publish(house, subject, payload):
    """As somebody would who can write to the bus, but is not the control plane."""
    client = await nats.connect(house.nats_url)
    await client.publish(subject, payload)
    await client.drain()


def test_a_gateway_that_cannot_read_an_event_says_so_and_goes_on(house):
    made = house.command("POST", "/keys", {"name": "beside poison"})
    asyncio.run(publish(house, f"turnpike.v1.{house.org}.events.KeyRevoked", b"poison"))

    def alarms():
        notices = house.of_org("GET", "/notices")["data"]
        told = [one for one in notices if one["kind"] == "gateway_quarantined"]
        return told if len(told) == 3 else None

    for told in wait_until(alarms, "every gateway has told of it", 30):
        # It was no event of the stream: nothing is missing.
        assert (told["severity"], told["data"]["events"], told["data"]["stands"]) == ("warning", 1, False)
    for gateway in house.of_org("GET", "/gateways")["data"]:
        assert (gateway["quarantine"]["events"], gateway["online"]) == (1, True)
    assert "1 unread, made good" in house.cli("gateway", "list").stdout
    chat(house, 0, made["secret"])
    house.command("POST", f"/keys/{made['id']}/revoke", {"reason": "other"})
    everywhere(house, made["secret"], "key_revoked")


def test_the_root_is_a_page_for_people(house):
    page = requests.get(f"{house.control_url}/", timeout=5)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "Turnpike" in page.text and "default-src 'none'" in page.headers["content-security-policy"]
    document = requests.get(f"{house.control_url}/api/openapi.json", timeout=5).json()
    assert document["openapi"].startswith("3.1")
