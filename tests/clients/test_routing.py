"""Ways to a model, end to end. In `make test`: 3 providers, 300 weighted calls, 40 calls at once."""

import concurrent.futures
import time

import pytest
import requests

import figures
from house import House, nano, wait_until
from provider import Provider, certificate

# What one answer costs: 2 tokens at USD 1 and one at USD 2 per million, in nano-USD.
PRICES, COST = {"input": "1.00", "output": "2.00"}, 4_000
DEAR, DEAR_COST = {"input": "10.00", "output": "20.00"}, 40_000
# How long a provider may be silent in these tests; one that is not may have to wait for its turn.
ANSWER_MS = 5_000
# The breaker's first rest, and what a loaded machine adds.
OPEN_SECONDS, SLACK_SECONDS = 5, 60


class Town:
    """A house with one gateway and three scripted providers, in order of preference a, b, c."""

    def __init__(self):
        self.house = House(gateways=1, gateway_options={"TURNPIKE_CORES": "2"})
        self.providers = {name: Provider(name) for name in "abc"}
        for name, provider in self.providers.items():
            self.add(name, provider.url)
        self.key = self.house.command("POST", "/keys", {"name": "routing"})["secret"]

    def close(self):
        for provider in self.providers.values():
            provider.close()
        self.house.close()

    def add(self, name, url, **options):
        options = {"max_failures": 3, "answer_timeout_ms": ANSWER_MS, **options}
        made = {"name": name, "kind": "openai", "base_url": url, **options}
        return self.house.call("POST", "/providers", made)

    def change(self, name, **changes):
        found = self.provider(name)
        self.house.call("PATCH", f"/providers/{found['id']}", changes)

    def provider(self, name):
        all_of_them = self.house.call("GET", "/providers")["data"]
        return next(provider for provider in all_of_them if provider["name"] == name)

    def route(self, model, *routes):
        """A model with these routes, known to the gateway; a name alone is a way without a weight."""
        routes = [{"weight": 0, **({"provider": route} if isinstance(route, str) else route)} for route in routes]
        made = {"name": model, "context_window": 1000, "max_output": 100, "prices": PRICES, "routes": routes}
        self.house.call("POST", "/models", made)
        self.known(model)

    def known(self, model):
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.house.gateway_url(0)}/v1/models/{model}"
        wait_until(lambda: requests.get(url, headers=headers, timeout=5).status_code == 200, f"{model} is known")

    def ask(self, model, stream=False, key=None):
        body = {"model": model, "messages": [{"role": "user", "content": "well?"}], "stream": stream}
        headers = {"Authorization": f"Bearer {key or self.key}"}
        url = f"{self.house.gateway_url(0)}/v1/chat/completions"
        return requests.post(url, json=body, headers=headers, timeout=30)

    def script(self, **scripts):
        for name, script in scripts.items():
            self.providers[name].script = script

    def calls(self):
        return {name: provider.calls for name, provider in self.providers.items()}

    def metric(self, name, provider):
        text = requests.get(f"http://127.0.0.1:{self.house.gateways[0].admin_port}/metrics", timeout=5).text
        line = f'turnpike_{name}{{provider="{provider}"}} '
        return next((int(found.removeprefix(line)) for found in text.splitlines() if found.startswith(line)), None)


@pytest.fixture(scope="module")
def town():
    running = Town()
    yield running
    running.close()


@pytest.fixture
def fresh(town):
    """Every provider is well, and passed over by nobody."""
    town.script(a="well", b="well", c="well")
    for name in "abc":
        town.route(f"heal-{name}-{time.monotonic_ns()}", name)
    for model in [model["name"] for model in town.house.call("GET", "/models")["data"]]:
        if model.startswith("heal-"):
            wait_until(lambda: town.ask(model).status_code == 200, f"{model} heals", OPEN_SECONDS + SLACK_SECONDS)
            town.house.call("DELETE", f"/models/{model}")
    return town


def rests_since(began):
    """How many rests of an open breaker may be over since then, each followed by one probe."""
    return int((time.monotonic() - began) / OPEN_SECONDS)


def since(before, after):
    return {name: after[name] - before[name] for name in after}


def test_the_first_way_serves_while_it_can(fresh):
    fresh.route("in-order", "a", "b", "c")
    before = fresh.calls()
    assert all(fresh.ask("in-order").status_code == 200 for _ in range(10))
    assert since(before, fresh.calls()) == {"a": 10, "b": 0, "c": 0}


def test_neighbours_share_by_weight(fresh):
    fresh.route("shared", {"provider": "a", "weight": 3}, {"provider": "b", "weight": 1}, {"provider": "c", "weight": 0})
    before = fresh.calls()
    assert all(fresh.ask("shared").status_code == 200 for _ in range(300))
    shares = since(before, fresh.calls())
    # Six standard deviations of a quarter of 300 are 45.
    assert shares["c"] == 0 and abs(shares["b"] - 75) <= 45 and sum(shares.values()) == 300, shares
    figures.tell("routing", weights="3 and 1", calls=300, first=shares["a"], second=shares["b"])


@pytest.mark.parametrize("script", ["500", "503", "429", "401"])
def test_a_refusal_before_the_first_byte_takes_the_next_way(fresh, script):
    fresh.route(f"refused-{script}", "a", "b")
    fresh.script(a=script)
    before = fresh.calls()
    answer = fresh.ask(f"refused-{script}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-turnpike-cost-usd"] == "0.000004"
    assert since(before, fresh.calls()) == {"a": 1, "b": 1, "c": 0}
    path = f"/requests/{answer.headers['x-turnpike-request-id']}"
    booked = lambda: fresh.house.of_org("GET", path, expect=None).status_code == 200  # noqa: E731
    wait_until(booked, "the request is in the log")
    row = fresh.house.of_org("GET", path)
    assert (row["provider_id"], row["failovers"]) == (fresh.provider("b")["id"], 1)


def test_a_provider_that_is_not_there_is_passed_over(fresh):
    nobody = Provider("nobody")
    nobody.close()
    fresh.add("nobody", nobody.url)
    fresh.route("nobody-first", "nobody", "b")
    before, began = fresh.calls(), time.monotonic()
    assert all(fresh.ask("nobody-first").status_code == 200 for _ in range(6))
    assert since(before, fresh.calls())["b"] == 6
    failures, circuit = (fresh.metric(f"provider_{name}", "nobody") for name in ("failures", "circuit"))
    rests = rests_since(began)
    assert 3 <= failures <= 3 + rests, "after three refused connections nobody asks"
    assert rests or circuit == 2


def test_a_request_that_was_sent_is_never_sent_to_another(fresh):
    fresh.route("silent-first", "a", "b")
    fresh.script(a="silent")
    before = fresh.calls()
    answer = fresh.ask("silent-first")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "provider_timeout")
    fresh.script(a="break")
    # The rest of the stream is lost; requests says so, or the body just ends.
    try:
        text = fresh.ask("silent-first", stream=True).text
    except requests.RequestException:
        text = ""
    assert "[DONE]" not in text
    assert since(before, fresh.calls()) == {"a": 2, "b": 0, "c": 0}


def test_the_breaker_opens_probes_and_closes(fresh):
    fresh.route("broken-first", "a", "b")
    fresh.script(a="500")
    before, began = fresh.calls(), time.monotonic()
    assert all(fresh.ask("broken-first").status_code == 200 for _ in range(20))
    calls, circuit = since(before, fresh.calls()), fresh.metric("provider_circuit", "a")
    rests = rests_since(began)
    assert (calls["b"], calls["c"]) == (20, 0) and 3 <= calls["a"] <= 3 + rests, "three failures open"
    assert rests or circuit == 2

    def told():
        health = fresh.provider("a")["health"]
        return health["status"] == "down" and health["gateways"][0]["circuit"] == "open" and health

    health = wait_until(told, "the control plane tells of it", SLACK_SECONDS)
    assert health["gateways"][0]["errors_per_minute"] >= 3 and health["gateways"][0]["since"]
    notices = fresh.house.of_org("GET", "/notices")["data"]
    assert [notice["severity"] for notice in notices if notice["kind"] == "provider_down"][:1] == ["alarm"]
    table = fresh.house.cli("provider", "list", "--platform").stdout
    assert "down" in table, table
    key = fresh.house.of_org("GET", "/keys")["data"][0]["id"]
    ways = fresh.house.of_org("GET", f"/keys/{key}/explain?model=broken-first")["ways"]
    assert [(way["provider"], way["open"], way["health"]) for way in ways][0] == ("a", True, "down")

    # One probe a rest while it fails; once it is well, the first probe closes.
    fresh.script(a="well")
    probed = fresh.calls()["a"]
    began = time.monotonic()
    closes = lambda: fresh.ask("broken-first").status_code == 200 and fresh.metric("provider_circuit", "a") == 0
    wait_until(closes, "the breaker closes", OPEN_SECONDS + SLACK_SECONDS)
    probes = fresh.calls()["a"] - probed
    figures.tell("routing", closed_after_s=f"{time.monotonic() - began:.1f}", probes=probes)
    assert probes == 1


def test_where_all_are_open_the_caller_is_told_when(fresh):
    fresh.route("alone", "c")
    fresh.script(c="retry-after=30")
    assert fresh.ask("alone").status_code == 502
    before = fresh.calls()
    answer = fresh.ask("alone")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_error")
    assert 15 <= int(answer.headers["retry-after"]) <= 30
    assert fresh.calls() == before, "nobody was asked"
    # So that it is asked again at once: another description is another provider to the gateway.
    fresh.change("c", max_failures=0)
    fresh.script(c="well")
    wait_until(lambda: fresh.ask("alone").status_code == 200, "it answers again")
    fresh.change("c", max_failures=3)


def test_no_more_run_at_once_than_a_provider_may_have(fresh):
    fresh.change("a", max_concurrency=4)
    fresh.route("narrow", "a", "b")
    fresh.script(a="slow", b="well")
    before = fresh.calls()
    fresh.providers["a"].most_at_once = 0
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        told = list(pool.map(lambda _: fresh.ask("narrow").status_code, range(40)))
    calls = since(before, fresh.calls())
    assert told == [200] * 40 and calls["a"] + calls["b"] == 40, (told, calls)
    assert fresh.providers["a"].most_at_once <= 4 and calls["b"] > 0, calls
    figures.tell("routing", at_once=40, places=4, first=calls["a"], next_way=calls["b"])
    fresh.route("narrow-alone", "a")
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: fresh.ask("narrow-alone"), range(40)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused, "nobody waits for ever"
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
    fresh.change("a", max_concurrency=0)


def test_a_dearer_way_is_reserved_anew_or_not_taken(fresh):
    fresh.route("dear-second", "a", {"provider": "b", "weight": 0, "prices": DEAR})
    # 400 bytes at most and 100 tokens of output: what the dear way may cost is under USD 0.01.
    rich = fresh.house.command("POST", "/keys", {"name": "rich", "limits": {"cost_usd": "1.00"}})
    poor = fresh.house.command("POST", "/keys", {"name": "poor", "limits": {"cost_usd": "0.0005"}})
    assert fresh.ask("dear-second", key=rich["secret"]).headers["x-turnpike-cost-usd"] == "0.000004"
    fresh.script(a="500")
    answer = fresh.ask("dear-second", key=rich["secret"])
    assert (answer.status_code, answer.headers["x-turnpike-cost-usd"]) == (200, "0.00004")
    before = fresh.calls()
    assert fresh.ask("dear-second", key=poor["secret"]).status_code == 502
    assert since(before, fresh.calls())["b"] == 0, "the budget does not reach that far"


def test_a_provider_may_have_roots_of_its_own(fresh, tmp_path):
    files = certificate(tmp_path)
    secure = Provider("secure", files)
    try:
        fresh.add("secure", secure.url, max_failures=0)
        fresh.route("secure", "secure")
        assert fresh.ask("secure").status_code == 502, "nobody has signed it whom the gateway knows"
        roots = files[0].read_text()
        bad = roots.replace("MII", "AAA", 1)
        path = f"/providers/{fresh.provider('secure')['id']}"
        for text in ["roots", bad, files[1].read_text()]:
            refused = fresh.house.call("PATCH", path, {"tls_roots": text}, expect=None)
            assert refused.status_code == 422, refused.text
            assert refused.json()["errors"][0]["pointer"] == "/tls_roots", refused.text
        told = fresh.house.cli("provider", "edit", "secure", "--platform", "--tls-roots-file", str(files[0]))
        assert told.returncode == 0
        wait_until(lambda: fresh.ask("secure").status_code == 200, "the roots are believed")
        assert fresh.provider("secure")["tls_roots"] == roots
        assert secure.served >= 1
        fresh.providers["secure"] = secure
    finally:
        if "secure" not in fresh.providers:
            secure.close()


def test_what_was_served_is_what_is_booked(town):
    """Behind all the others: every answer that a provider gave is booked, at the price of its way."""
    served = sum(provider.served for provider in town.providers.values())

    def booked():
        rows = []
        cursor = ""
        while True:
            page = town.house.of_org("GET", f"/requests?limit=200{cursor}")
            rows += page["data"]
            if not page["next_cursor"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
        well = [row for row in rows if row["status"] == 200 and row["source"] == "provider"]
        return len(well) == served and well

    rows = wait_until(booked, f"{served} answers are booked")
    dear = sum(nano(row["cost_usd"]) == DEAR_COST for row in rows)
    assert dear == 1 and all(nano(row["cost_usd"]) in (COST, DEAR_COST) for row in rows)
    failed = town.house.of_org("GET", "/requests?limit=200&status=502")["data"]
    assert failed and all(nano(row["cost_usd"]) == 0 for row in failed), "who was refused pays nothing"
    figures.tell("routing", served=served, booked=served, difference_nano_usd=0)
