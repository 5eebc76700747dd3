"""Ephemeral tokens end to end: used on three gateways, narrowed, capped, dead with their key."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
import requests

from house import House, counted, nano, wait_until

MESSAGE = [{"role": "user", "content": "four words come back"}]
# What such a call costs: 4 tokens at USD 1 and 4 at USD 2 per million.
COST = nano("0.000012")


@pytest.fixture(scope="module")
def house():
    with House(gateways=3) as running:
        yield running


@pytest.fixture
def key(house, request):
    return house.command("POST", "/keys", {"name": request.node.name})


def issue(house, key, **body):
    return house.of_org("POST", f"/keys/{key['id']}/ephemeral", body)


def chat(house, number, secret, model="echo-1"):
    client = openai.OpenAI(base_url=f"{house.gateway_url(number)}/v1", api_key=secret, max_retries=0)
    answer = client.chat.completions.create(model=model, messages=MESSAGE, max_tokens=4)
    assert answer.choices[0].message.content == MESSAGE[0]["content"]


def code_of(house, number, secret, model="echo-1"):
    with pytest.raises(openai.APIStatusError) as told:
        chat(house, number, secret, model)
    return told.value.status_code, told.value.code


def everywhere(house, secret, expected, model="echo-1"):
    for number in range(len(house.gateways)):
        assert code_of(house, number, secret, model) == expected


def listed(house, key, token):
    page = house.of_org("GET", f"/keys/{key['id']}/ephemeral")["data"]
    return next(one for one in page if one["id"] == token["id"])


def test_a_token_works_at_once_on_gateways_that_have_not_heard_of_it(house, key):
    token = issue(house, key, name="job", expires_in_seconds=60)
    assert token["secret"].startswith("ek-tp-") and len(token["secret"]) < 400
    for number in range(3):
        chat(house, number, token["secret"])
    booked = lambda: listed(house, key, token)["used"]["requests"] == 3
    wait_until(booked, "the token's requests are booked", 30)
    used = listed(house, key, token)["used"]
    assert nano(used["cost_usd"]) == 3 * COST
    of_key = lambda: house.of_org("GET", f"/keys/{key['id']}")["requests"] == 3  # noqa: E731
    wait_until(of_key, "they are its key's requests", 30)
    total, served = house.usage()["total"], house.served()
    assert (total["requests"], nano(total["cost_usd"])) == (
        served["requests"],
        nano(served["cost_usd"]),
    ), "booked = served"


def test_a_token_may_less_than_its_key_and_says_what(house, key):
    scopes = {"models": ["echo-1"], "ips": ["127.0.0.1"]}
    token = issue(house, key, scopes=scopes)["secret"]
    everywhere(house, token, (403, "model_not_allowed"), model="echo-slow")
    chat(house, 0, token)
    elsewhere = issue(house, key, scopes={"ips": ["192.0.2.7"]})["secret"]
    everywhere(house, elsewhere, (403, "ip_not_allowed"))
    unserved = issue(house, key, scopes={"providers": ["another"]})["secret"]
    everywhere(house, unserved, (403, "provider_not_allowed"))
    models = requests.get(
        f"{house.gateway_url(0)}/v1/models", headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    assert [model["id"] for model in models.json()["data"]] == ["echo-1"]
    house.command("PATCH", f"/keys/{key['id']}", {"scopes": {"models": ["echo-slow"]}})
    everywhere(house, token, (403, "model_not_allowed"))


def test_whatever_ends_the_key_ends_its_tokens_everywhere(house, key):
    path = f"/keys/{key['id']}"
    token = issue(house, key)["secret"]
    for number in range(3):
        chat(house, number, token)
    house.command("POST", f"{path}/disable")
    everywhere(house, token, (401, "key_disabled"))
    house.command("POST", f"{path}/enable")
    chat(house, 0, token)
    house.command("POST", f"{path}/rotate", {"overlap_seconds": 3600})
    everywhere(house, token, (401, "key_revoked"))
    chat(house, 0, key["secret"])
    fresh = issue(house, key)["secret"]
    chat(house, 1, fresh)
    house.command("DELETE", path)
    everywhere(house, fresh, (401, "key_revoked"))


def test_a_revoked_token_stops_with_proof_and_its_sister_goes_on(house, key):
    revoked, sister = issue(house, key), issue(house, key)
    for number in range(3):
        chat(house, number, revoked["secret"])
    house.command("DELETE", f"/keys/{key['id']}/ephemeral/{revoked['id']}")
    everywhere(house, revoked["secret"], (401, "key_revoked"))
    for number in range(3):
        chat(house, number, sister["secret"])
    assert listed(house, key, revoked)["status"] == "revoked"


def test_a_token_ends_by_its_own_time_and_bad_ones_never_begin(house, key):
    token = issue(house, key, expires_in_seconds=1)["secret"]
    ended = lambda: _answer(house, 0, token) == (401, "key_expired")
    wait_until(ended, "the token has expired", 20)
    whole = issue(house, key)["secret"]
    for bad in [whole[:-1], whole[:40] + whole[46:], whole[:-8] + whole[-7:] + "a", "ek-tp-"]:
        everywhere(house, bad, (401, "unauthorized"))
    wrong = house.call("GET", "/me", token=whole, expect=None)
    assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_credential_kind")


def _answer(house, number, secret):
    body = {"model": "echo-1", "messages": MESSAGE, "max_tokens": 4}
    answer = requests.post(
        f"{house.gateway_url(number)}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {secret}"},
        timeout=30,
    )
    return answer.status_code, answer.headers.get("x-turnpike-error-code")


def test_a_tokens_budget_is_hard_across_gateways_and_its_key_goes_on(house, key):
    calls = 100
    token = issue(house, key, cost_usd="0.000300")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: _answer(house, n % 3, token["secret"]), range(calls)))
    served = answers.count((200, None))
    assert served * COST <= 300_000, f"{served} of {calls}"
    assert served >= 8, "a good part of it could be used: the bound of a call is some of its costs"
    others = {answer for answer in answers if answer[0] != 200}
    assert others <= {(402, "api_key_quota_exceeded"), (402, "in_flight_budget_exhausted")}, others
    booked = lambda: listed(house, key, token)["used"]["requests"] == served
    wait_until(booked, "all of it is booked", 30)
    assert nano(listed(house, key, token)["used"]["cost_usd"]) == served * COST
    told = requests.post(
        f"{house.gateway_url(0)}/v1/chat/completions",
        json={"model": "echo-1", "messages": [{"role": "user", "content": "x " * 400}]},
        headers={"Authorization": f"Bearer {token['secret']}"},
        timeout=30,
    )
    assert told.json()["error"]["metadata"]["limit_source"] == "ephemeral.cost_usd"
    decision = house.of_org("GET", f"/decisions/{told.json()['error']['metadata']['decision_id']}")
    assert decision["token_id"] == token["id"]
    for number in range(3):
        chat(house, number, key["secret"])


def test_a_tokens_budget_of_tokens_is_hard_across_gateways(house, key):
    token = issue(house, key, tokens=600)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: _answer(house, n % 3, token["secret"]), range(100)))
    served = answers.count((200, None))
    booked = lambda: listed(house, key, token)["used"]["requests"] == served
    wait_until(booked, "all of it is booked", 30)
    used = listed(house, key, token)["used"]
    assert 0 < used["tokens"] <= 600, used
    others = {answer for answer in answers if answer[0] != 200}
    assert others and others <= {(402, "api_key_quota_exceeded"), (402, "in_flight_budget_exhausted")}
    chat(house, 0, key["secret"])


def test_a_key_can_be_made_for_one_token_by_the_client(house):
    made = house.cli("key", "create", "alone", "--ephemeral", "--expires-in", "60", "--wait")
    secret = made.stdout.strip()
    assert secret.startswith("ek-tp-")
    for number in range(3):
        chat(house, number, secret)
    delegated = house.cli("key", "ephemeral", "alone", "--expires-in", "30", "--models", "echo-1")
    chat(house, 0, delegated.stdout.strip())
    table = house.cli("key", "ephemeral", "list", "alone").stdout
    assert table.count("eph_") == 2, table
    token = next(word for word in table.split() if word.startswith("eph_"))
    house.cli("key", "ephemeral", "revoke", "alone", token, "--yes", "--wait")
    assert "revoked" in house.cli("key", "ephemeral", "list", "alone").stdout


def sign_with(house, keys, version=0):
    """The control plane begins anew with these signing keys; nothing else is restarted."""
    house.control.stop()
    house.control.environment["TURNPIKE_KEYS_SIGNING"] = ",".join(keys)
    house.control.environment["TURNPIKE_KEYS_SIGN_WITH"] = str(version)
    house.control.start()


def test_the_signing_key_is_renewed_while_its_tokens_work():
    """Both versions are known before the new one signs; the old one's tokens end when it goes."""
    with House(gateways=2) as house:
        key = house.command("POST", "/keys", {"name": "lender"})
        old = house.own_keys["TURNPIKE_KEYS_SIGNING"]
        new = f"2:{secrets.token_hex(32)}"
        before = issue(house, key)["secret"]

        sign_with(house, [old, new], version=1)
        # Its proof is a heartbeat of the present control plane that every gateway has heard.
        house.command("PATCH", f"/keys/{key['id']}", {"metadata": {"step": 1}})
        told = lambda: all("keys have changed" in one.tail() for one in house.gateways)  # noqa: E731
        wait_until(told, "every gateway knows the coming key", 30)

        sign_with(house, [old, new])
        after = issue(house, key)["secret"]
        for number in range(2):
            chat(house, number, after)
            chat(house, number, before)
        assert all(counted(gateway, "mirror_alarms") == 0 for gateway in house.gateways)

        sign_with(house, [new])
        gone = lambda: all(  # noqa: E731
            _answer(house, number, before) == (401, "unauthorized") for number in range(2)
        )
        wait_until(gone, "what the removed key signed is refused", 30)
        house.gateways[1].stop()
        house.gateways[1].start()
        everywhere(house, before, (401, "unauthorized"))
        for number in range(2):
            chat(house, number, after)
            chat(house, number, key["secret"])


def test_a_stolen_signing_key_goes_at_once_and_its_tokens_with_it():
    with House(gateways=1) as house:
        key = house.command("POST", "/keys", {"name": "lender"})
        stolen = issue(house, key)["secret"]
        chat(house, 0, stolen)
        sign_with(house, [f"2:{secrets.token_hex(32)}"])
        gone = lambda: _answer(house, 0, stolen) == (401, "unauthorized")  # noqa: E731
        wait_until(gone, "what the removed key signed is refused", 30)
        house.command("PATCH", f"/keys/{key['id']}", {"metadata": {"heard": True}})
        chat(house, 0, issue(house, key)["secret"])
        chat(house, 0, key["secret"])
