"""The request log over three gateways: every id that a client saw is in it once, with its code."""

import asyncio
import csv
import json

import cbor2
import nats
import openai
import pytest
import requests

from house import House, wait_until
from spend import add_model

MESSAGE = [{"role": "user", "content": "four words come back"}]
# More than a core writes of one key in a second, however slow the machine.
FLOOD = 400
# What is booked after this time never is.
BOOKED_SECONDS = 60
RED, BLUE = {"team": "red", "ticket": 7}, {"team": "blue", "nested": {"a": [1, None]}}


@pytest.fixture(scope="module")
def house():
    with House(gateways=3) as running:
        running.call("POST", "/providers", {
            "name": "nobody", "kind": "openai", "base_url": "http://127.0.0.1:9/v1"
        })
        prices = {"input": "1.00", "output": "2.00", "cached_input": "0.10"}
        add_model(running, "lost", "lost", prices, provider="nobody")
        yield running


def key(house, name, **options):
    return house.command("POST", "/keys", {"name": name, "metadata": RED, **options})


def ask(house, number, secret, method="POST", path="/v1/chat/completions", **options):
    body = options.pop("body", None) or json.dumps({"model": options.pop("model", "echo-1"), "messages": MESSAGE})
    return requests.request(
        method,
        house.gateway_url(number) + path,
        headers={"Authorization": f"Bearer {secret}", "content-type": "application/json"},
        data=body if method == "POST" else None,
        timeout=60,
    )


def refusals(house):
    """(code, status, key, how to ask) for what a key can be refused for."""
    made = {
        name: key(house, name, **options)
        for name, options in {
            "off": {},
            "stopped": {},
            "narrow": {"scopes": {"models": ["echo-slow"]}},
            "elsewhere": {"scopes": {"ips": ["192.0.2.1"]}},
            "unserved": {"scopes": {"providers": ["nobody"]}},
            "poor": {"limits": {"cost_usd": "0.000001"}},
            "slow": {"limits": {"requests_per_minute": 1}},
            "plain": {},
        }.items()
    }
    house.command("POST", f"/keys/{made['off']['id']}/disable")
    house.command("POST", f"/keys/{made['stopped']['id']}/revoke", {"reason": "other"})
    large = json.dumps({"model": "echo-1", "messages": [{"role": "user", "content": "x" * (40 << 20)}]})
    return made, [
        ("key_disabled", 401, "off", {}),
        ("key_revoked", 401, "stopped", {}),
        ("model_not_allowed", 403, "narrow", {}),
        ("ip_not_allowed", 403, "elsewhere", {}),
        ("provider_not_allowed", 403, "unserved", {}),
        ("api_key_quota_exceeded", 402, "poor", {}),
        ("model_not_found", 404, "plain", {"model": "none"}),
        ("not_found", 404, "plain", {"path": "/v1/nothing"}),
        ("method_not_allowed", 405, "plain", {"method": "GET"}),
        ("invalid_request", 400, "plain", {"body": "{"}),
        ("request_too_large", 413, "plain", {"body": large}),
        ("provider_error", 502, "plain", {"model": "lost"}),
    ]


def log(house, **filters):
    """All entries that fit, newest first."""
    rows, cursor = [], None
    while True:
        parameters = {"limit": "200", **filters, **({"cursor": cursor} if cursor else {})}
        page = house.of_org("GET", "/requests", params=parameters)
        rows += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            return rows


def logged_once(house, seen):
    """Waits for every id; each is listed once, and shown with the status and the code of its answer."""

    def holds():
        rows = log(house)
        return rows if seen.keys() <= {row["id"] for row in rows} else None

    rows = wait_until(holds, "every request is in the log", BOOKED_SECONDS)
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids)), "an entry is there twice"
    by_id = {row["id"]: row for row in rows}
    for name, (status, code, key_id) in seen.items():
        row = by_id[name]
        assert (row["status"], row["code"], row["key_id"]) == (status, code, key_id), row
        assert house.of_org("GET", f"/requests/{name}") == row
    return by_id


def test_every_request_that_a_client_saw_is_in_the_log_once_with_its_code(house):
    made, cases = refusals(house)
    seen, unknown = {}, []

    def saw(answer, key_id, status, code):
        assert answer.status_code == status, answer.text
        assert answer.headers.get("x-turnpike-error-code") == code, answer.text
        seen[answer.headers["x-turnpike-request-id"]] = (status, code, key_id)

    for number in range(3):
        plain = made["plain"]
        client = openai.OpenAI(
            base_url=f"{house.gateway_url(number)}/v1", api_key=plain["secret"], max_retries=0
        )
        told = client.chat.completions.with_raw_response.create(model="echo-1", messages=MESSAGE)
        saw(told.http_response, plain["id"], 200, None)
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="none", messages=MESSAGE, stream=True)
        saw(missing.value.response, plain["id"], 404, "model_not_found")
        for path in ["/v1/models", "/v1/key"]:
            saw(ask(house, number, plain["secret"], "GET", path), plain["id"], 200, None)
        for code, status, name, how in cases:
            saw(ask(house, number, made[name]["secret"], **how), made[name]["id"], status, code)
        stranger = ask(house, number, plain["secret"].swapcase())
        assert stranger.status_code == 401
        unknown.append(stranger.headers["x-turnpike-request-id"])
    limited = [ask(house, number % 3, made["slow"]["secret"]) for number in range(6)]
    for answer in limited:
        code = answer.headers.get("x-turnpike-error-code")
        saw(answer, made["slow"]["id"], 200 if code is None else 429, code)
    assert [answer.status_code for answer in limited].count(429) >= 4

    rows = logged_once(house, seen)
    assert not rows.keys() & set(unknown), "an unknown secret belongs to nobody"
    for name, (status, code, _) in seen.items():
        row = rows[name]
        assert row["metadata"] == RED and row["repeats"] == 0, row
        assert row["admitted"] == (code == "provider_error" or bool(row["usage"]["output"])), row
        assert (row["cost_usd"] == "0.00") == (code is not None or row["model"] is None), row
        if code and not row["admitted"]:
            why = house.of_org("GET", f"/decisions/{row['decision_id']}")
            assert (why["code"], why["request_id"]) == (code, name), why

    of_code = lambda code: {name for name, told in seen.items() if told[1] == code}
    for code, status, name, _ in cases:
        found = {row["id"] for row in log(house, code=code)}
        assert found == of_code(code), code
        assert found <= {row["id"] for row in log(house, status=str(status), key=made[name]["id"])}
    failures = {row["id"] for row in log(house, status="5xx")}
    assert failures == of_code("provider_error")
    total = house.usage()["total"]
    assert total["refused_requests"] == sum(1 for row in rows.values() if row["code"] and not row["admitted"])
    # A key's figures are kept for a moment.
    counted = lambda: house.of_org("GET", f"/keys/{made['plain']['id']}")["requests"] == 2 * 3
    wait_until(counted, "admitted calls are counted: answered ones and those that nobody answered", 30)
    told = house.cli("requests", "show", next(iter(of_code("ip_not_allowed"))), "--json")
    assert json.loads(told.stdout)["code"] == "ip_not_allowed"
    told = house.cli("requests", "list", "--code", "key_disabled", "--key", "off", "--json", "--all")
    assert {row["id"] for row in json.loads(told.stdout)["data"]} == of_code("key_disabled")


def settled(house, key_id, count):
    """The metadata of a key's settled records on NATS, by the request's id; there are `count`."""

    async def read():
        client = await nats.connect(house.nats_url)
        subject = f"turnpike.v1.{house.org}.ledger.{key_id}"
        feed = await client.jetstream().subscribe(subject, ordered_consumer=True)
        found = {}
        while len(found) < count:
            message = await feed.next_msg(timeout=BOOKED_SECONDS)
            record = cbor2.loads(message.data)
            found[message.headers["ce-id"]] = json.loads(record[28]) if 28 in record else None
        await client.close()
        return found

    return asyncio.run(read())


def test_an_entry_shows_what_its_key_was_then_also_when_the_key_is_gone(house):
    made = key(house, "moody")
    seen = {}

    def use(team):
        for number in range(3):
            for model, status, code in [("echo-1", 200, None), ("none", 404, "model_not_found")]:
                answer = ask(house, number, made["secret"], model=model)
                name = answer.headers["x-turnpike-request-id"]
                seen[name] = (status, code, made["id"])
                teams[name] = team

    teams = {}
    use(("moody", RED))
    house.command("PATCH", f"/keys/{made['id']}", {"name": "calm", "metadata": BLUE})
    # A merge patch adds to what was there.
    use(("calm", RED | BLUE))
    house.command("DELETE", f"/keys/{made['id']}")
    rows = logged_once(house, seen)
    for name, then in teams.items():
        row = rows[name]
        assert ((row["key_name"], row["metadata"]), row["key_deleted"]) == (then, True), row
    metadata = {name: then[1] for name, then in teams.items()}
    assert settled(house, made["id"], len(metadata)) == metadata
    assert {row["id"] for row in log(house, key=made["id"])} == seen.keys()


def test_a_flood_of_refusals_shares_entries_and_none_is_lost(house):
    made = key(house, "loud", limits={"requests_per_minute": 1})
    answers = [ask(house, 0, made["secret"]) for _ in range(FLOOD)]
    refused = sum(answer.status_code == 429 for answer in answers)
    assert refused >= FLOOD - 10, "the window of a minute may turn"

    def holds():
        rows = log(house, key=made["id"], code="rate_limited")
        return rows if sum(row["repeats"] + 1 for row in rows) == refused else None

    rows = wait_until(holds, "every refusal is counted once", BOOKED_SECONDS)
    ids = {answer.headers["x-turnpike-request-id"] for answer in answers}
    assert {row["id"] for row in rows} <= ids
    assert len(rows) < refused, "they share entries"
    admitted = {row["id"] for row in log(house, key=made["id"]) if row["admitted"]}
    assert admitted == {
        answer.headers["x-turnpike-request-id"] for answer in answers if answer.status_code == 200
    }


def denials(house, number, code):
    port = house.gateways[number].admin_port
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    name = f'turnpike_denials_total{{code="{code}"}} '
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def test_a_killed_gateway_loses_no_entry_that_was_written(house):
    made = key(house, "short-lived")
    house.projector.kill()
    before, seen = denials(house, 1, "model_not_found"), {}
    for number in range(8):
        model, status, code = ("none", 404, "model_not_found") if number % 2 else ("echo-1", 200, None)
        answer = ask(house, 1, made["secret"], model=model)
        assert answer.status_code == status, answer.text
        seen[answer.headers["x-turnpike-request-id"]] = (status, code, made["id"])
    # What is refused is counted by the turn that has written it.
    wait_until(lambda: denials(house, 1, "model_not_found") == before + 4, "all is in the file")
    house.gateways[1].kill()
    house.gateways[1].start()
    house.projector.start()
    logged_once(house, seen)


def test_a_person_exports_what_fits_as_a_table(house):
    made = key(house, "=exported")
    seen = {}
    for model, status, code in [("echo-1", 200, None), ("@none", 404, "model_not_found")]:
        answer = ask(house, 0, made["secret"], model=model)
        seen[answer.headers["x-turnpike-request-id"]] = (status, code, made["id"])
    rows = logged_once(house, seen)
    told = house.cli("requests", "export", "--key", made["id"], "--from", "1h").stdout
    table = list(csv.DictReader(told.splitlines()))
    assert [row["id"] for row in table] == sorted(seen, reverse=True)
    for row in table:
        logged = rows[row["id"]]
        assert (row["status"], row["code"]) == (str(logged["status"]), logged["code"] or "")
        assert (row["key_name"], row["cost_usd"]) == ("'=exported", logged["cost_usd"])
        assert json.loads(row["metadata"]) == RED
        assert row["model"] == ("'@none" if logged["code"] else "echo-1")
    lines = house.cli("requests", "export", "--key", made["id"], "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [rows[row["id"]] for row in table]


def test_entries_are_kept_for_as_many_days_as_the_option_says(house):
    """The last test here: its projector lives a day and a half ahead of all others."""
    made = key(house, "kept")
    answer = ask(house, 0, made["secret"])
    logged_once(house, {answer.headers["x-turnpike-request-id"]: (200, None, made["id"])})
    before = house.usage()["total"]["requests"]

    def restart(days, ahead_ms):
        house.projector.stop()
        house.projector.environment |= {
            "TURNPIKE_KEEP_REQUEST_DAYS": str(days),
            "TURNPIKE_TEST_DAY_AHEAD_MS": str(ahead_ms),
        }
        house.projector.start()

    restart(2, 36 * 3_600_000)
    # It sweeps when it takes the duty; what it books tells that it lives.
    later = ask(house, 1, made["secret"])
    logged_once(house, {later.headers["x-turnpike-request-id"]: (200, None, made["id"])})
    assert answer.headers["x-turnpike-request-id"] in {row["id"] for row in log(house)}
    restart(1, 36 * 3_600_000)
    wait_until(lambda: log(house) == [], "what is older than a day is gone", 60)
    shown = house.of_org("GET", f"/requests/{answer.headers['x-turnpike-request-id']}", expect=None)
    assert shown.status_code == 404
    assert house.usage()["total"]["requests"] == before + 1, "totals are kept for ever"
