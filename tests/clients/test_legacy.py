"""Legacy keys: imported as text and as hash, used with OpenAI's SDK on every gateway, migrated."""

import csv
import hashlib
import io
import json
import random
import string

import openai
import pytest
import requests

from figures import tell
from house import House, wait_until
from spend import form

SEED = 20261121
MESSAGE = [{"role": "user", "content": "three words back"}]


@pytest.fixture(scope="module")
def house():
    with House(gateways=3) as running:
        yield running


def client(house, number, secret):
    return openai.OpenAI(base_url=f"{house.gateway_url(number)}/v1", api_key=secret, max_retries=0)


def works(house, number, secret):
    answer = client(house, number, secret).chat.completions.create(model="echo-1", messages=MESSAGE)
    return answer.choices[0].message.content == MESSAGE[0]["content"]


def refused(house, number, secret):
    with pytest.raises(openai.AuthenticationError) as told:
        works(house, number, secret)
    return told.value.code


def everywhere(house, secret):
    return all(works(house, number, secret) for number in range(len(house.gateways)))


def nowhere(house, secret):
    return all(refused(house, number, secret) == "unauthorized" for number in range(len(house.gateways)))


def shapes(dice, count):
    """Secrets as other gateways make them, and some that nobody would."""
    letters = string.ascii_letters + string.digits
    visible = "".join(chr(code) for code in range(33, 127))
    word = lambda alphabet, length: "".join(dice.choices(alphabet, k=length))
    makers = [
        lambda: "sk-proj-" + word(letters, 48),
        lambda: f"{dice.getrandbits(128):032x}",
        lambda: word(visible, dice.randint(8, 64)),
        lambda: "eyJ" + word(letters, 900),
        lambda: "vk_" + word(letters, 20),
    ]
    found = set()
    while len(found) < count:
        secret = makers[len(found) % len(makers)]()
        # What a CSV or a header would change is tried in JSON and by hand.
        if not secret.startswith("sk-tp-"):
            found.add(secret)
    found = sorted(found)
    dice.shuffle(found)
    return found


def sha256(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


def upload(house, kind, body, expect=200, **options):
    headers = {"Authorization": f"Bearer {house.token}", "Content-Type": kind, **options.pop("headers", {})}
    url = f"{house.control_url}/api/v1/orgs/{house.org}/keys/import"
    answer = requests.post(url, data=body.encode(), headers=headers, timeout=120, **options)
    assert answer.status_code == expect, answer.text
    return answer


def table(rows):
    text = io.StringIO()
    out = csv.DictWriter(text, ["name", "secret", "sha256", "metadata"])
    out.writeheader()
    out.writerows(rows)
    return text.getvalue()


def count(report):
    return report["rows"], report["accepted"], report["refused"]


def test_a_thousand_keys_of_any_shape_go_on_working(house):
    """Bounds: 400 keys, 30 of them tried on 3 gateways; in full, 4,000 keys and 300 tried."""
    dice = random.Random(SEED)
    number = form(100, 1_000)
    secrets = shapes(dice, 4 * number)
    named = [(f"legacy {place}", secret) for place, secret in enumerate(secrets)]
    plain, hashed, lines, hashed_lines = (named[part * number : (part + 1) * number] for part in range(4))
    as_text = [{"name": name, "secret": secret, "metadata": '{"from": "csv"}'} for name, secret in plain]
    as_hash = [{"name": name, "sha256": sha256(secret)} for name, secret in hashed]
    report = upload(house, "text/csv", table(as_text + as_hash)).json()
    assert count(report) == (2 * number, 2 * number, 0), report["errors"][:3]

    rows = [{"name": name, "secret": secret} for name, secret in lines]
    rows += [{"name": name, "sha256": sha256(secret).upper()} for name, secret in hashed_lines]
    body = "\n".join(json.dumps(row) for row in rows)
    options = {"params": {"wait": "applied", "timeout_ms": "20000"}, "headers": {"Idempotency-Key": "lines"}}
    report = upload(house, "application/x-ndjson", body, **options).json()
    assert count(report) == (2 * number, 2 * number, 0), report["errors"][:3]
    assert report["propagation"]["missing"] == [] and report["propagation"]["applied"] == 3

    again = upload(house, "application/x-ndjson", body, **options).json()
    assert again["keys"] == report["keys"], "a repetition makes nothing twice"
    doubled = upload(house, "application/x-ndjson", body).json()
    assert count(doubled) == (2 * number, 0, 2 * number)

    tried = dice.sample(secrets, form(30, 300))
    wrong = [secret for secret in tried if not everywhere(house, secret)]
    assert wrong == []
    assert all(refused(house, 0, secret + "x") == "unauthorized" for secret in tried[:5])
    listed = house.of_org("GET", "/keys", params={"legacy": "true", "limit": "500"})
    assert all(key["legacy"] and key["limits"]["cost_usd"] is None for key in listed["data"])
    texts = json.dumps(listed) + json.dumps(report) + json.dumps(doubled)
    assert not any(secret in texts for secret in secrets), "no answer has a secret"
    tell("K17", imported=4 * number, tried_on_3_gateways=len(tried), refused=0)


def test_a_key_changes_over_while_both_secrets_work(house):
    old = "acme-live-4f1f2c0a9d"
    report = upload(house, "text/csv", f"name,secret\nmigrated,{old}\n", params={"wait": "applied"}).json()
    key = report["keys"][0]["id"]
    assert everywhere(house, old)

    new = house.command("POST", f"/keys/{key}/migrate", {})["secret"]
    assert everywhere(house, new) and everywhere(house, old)
    assert works(house, 0, new)

    def used():
        shown = house.of_org("GET", f"/keys/{key}/migrate")
        secrets = {secret["legacy"]: secret for secret in shown["secrets"]}
        booked = (secrets[False]["requests"], secrets[True]["requests"])
        return booked == (4, 6) and shown

    shown = wait_until(used, "each request is booked on its secret", 30)
    assert shown["state"] == "migrating"
    last = {secret["legacy"]: secret["last_used_at"] for secret in shown["secrets"]}
    assert last[False] > last[True] > report["keys"][0].get("created_at", "2026")
    whole = house.of_org("GET", f"/keys/{key}")
    assert whole["legacy"] and wait_until(
        lambda: house.of_org("GET", f"/keys/{key}")["last_used_at"] == last[False], "the last use is shown"
    )

    house.command("POST", f"/keys/{key}/migrate", {"finish": True})
    assert nowhere(house, old) and everywhere(house, new)
    shown = house.of_org("GET", f"/keys/{key}/migrate")
    assert (shown["state"], len(shown["secrets"])) == ("full", 1)
    assert not house.of_org("GET", f"/keys/{key}")["legacy"]


def test_a_legacy_key_is_stopped_and_limited_like_any_other(house):
    old = "acme-live-stopped-0001"
    row = {"name": "stopped", "secret": old, "scopes": {"models": ["echo-slow"]}}
    report = upload(house, "application/x-ndjson", json.dumps(row), params={"wait": "applied"}).json()
    key = report["keys"][0]["id"]
    with pytest.raises(openai.PermissionDeniedError):
        works(house, 0, old)
    house.command("PATCH", f"/keys/{key}", {"scopes": {"models": None}, "limits": {"requests_per_minute": 3}})
    assert everywhere(house, old)
    with pytest.raises(openai.RateLimitError):
        works(house, 0, old)
    house.command("POST", f"/keys/{key}/disable")
    assert refused(house, 1, old) == "key_disabled"
    house.command("POST", f"/keys/{key}/enable")
    house.command("PATCH", f"/keys/{key}", {"limits": {"requests_per_minute": None}})
    new = house.command("POST", f"/keys/{key}/rotate")["secret"]
    assert nowhere(house, old) and everywhere(house, new)
    house.command("DELETE", f"/keys/{key}")
    assert nowhere(house, new)


def test_legacy_keys_survive_a_restart_of_their_gateway(house):
    old = "acme-live-restarted-0001"
    upload(house, "text/csv", f"name,secret\nrestarted,{old}\n", params={"wait": "applied"})
    house.gateways[2].stop()
    house.gateways[2].start()
    assert works(house, 2, old)


def test_the_client_imports_and_tells_what_was_refused(house, tmp_path):
    secrets = [f"acme-client-{place:04}" for place in range(20)]
    rows = [{"name": f"client {place}", "secret": secret} for place, secret in enumerate(secrets)]
    file = tmp_path / "keys.csv"
    file.write_text(table(rows))
    dry = house.cli("key", "import", str(file), "--dry-run")
    assert (dry.stdout, dry.stderr.strip()) == ("", "could import 20 of 20 rows")
    done = house.cli("key", "import", str(file), "--sha256", "--wait")
    assert "imported 20 of 20 rows" in done.stderr and "applied on 3 of 3" in done.stdout
    assert everywhere(house, secrets[7])
    shown = house.of_org("GET", "/keys", params={"search": "client 7"})["data"][0]
    assert shown["preview"] == "imported as SHA-256"

    more = tmp_path / "more.jsonl"
    rows += [{"name": "client new", "secret": "acme-client-9999"}, {"name": "", "secret": "x"}]
    more.write_text("\n".join(json.dumps(row) for row in rows))
    failed = house.cli("key", "import", str(more), check=False)
    assert failed.returncode == 1
    assert "imported 1 of 22 rows" in failed.stderr and "21 rows were refused" in failed.stderr
    for told in ("is the secret of key_", "must have 8 to 1024 bytes"):
        assert told in failed.stdout, failed.stdout
    assert not any(secret in failed.stdout + failed.stderr for secret in secrets)

    new = house.cli("key", "migrate", "client 7", "--wait").stdout.strip()
    assert everywhere(house, new) and everywhere(house, secrets[7])
    state = house.cli("key", "migrate", "client 7", "--show")
    assert "migrating" in state.stderr and "imported as SHA-256" in state.stdout
    house.cli("key", "migrate", "client 7", "--finish", "--yes", "--wait")
    assert nowhere(house, secrets[7]) and everywhere(house, new)
