"""Where official SDKs are tried out: a house with a key for every code, and counters before it."""

from collections import namedtuple
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import requests

from books import all_requests, comes_to_rest, served_by_request
from counter import Counter
from house import ECHO_PRICES, House, nano, wait_until

DIALECTS = ["openai", "anthropic", "gemini"]
# Models whose streams break off behind the first word, and right behind the head.
BREAKING = ["breaking", "begun"]
# Bytes of the largest body, and milliseconds for one to arrive.
MAX_BODY_BYTES, BODY_TIMEOUT_MS = 1 << 20, 1_500
# Milliseconds that the provider of the model `hanging` has for the head of an answer.
ANSWER_TIMEOUT_MS = 300
# The output maximum of the requests of these tests, where it matters to a budget.
MANY_TOKENS = 4_000
# More than one request with so large a maximum costs, and less than two: USD.
ONE_AT_A_TIME = "0.02"
# The words of a stream that runs longer than the tests do, at 20 a second.
ENDLESS_WORDS = 4_000

# A code, its status, whether it is tried again, and how it is provoked.
Case = namedtuple("Case", "code status again key model gateway how", defaults=("plain", "echo-1", 0, None))

CASES = [
    Case("unauthorized", 401, False, key="unknown"),
    Case("wrong_credential_kind", 401, False, key="management"),
    Case("key_disabled", 401, False, key="disabled"),
    Case("key_expired", 401, False, key="expired"),
    Case("key_revoked", 401, False, key="revoked"),
    Case("billing_shortfall", 402, False, key="no-wallet"),
    Case("billing_shortfall", 429, False, key="no-wallet-429"),
    Case("api_key_quota_exceeded", 402, False, key="no-budget"),
    Case("api_key_quota_exceeded", 429, False, key="no-budget-429"),
    Case("in_flight_budget_exhausted", 402, True, key="one-at-a-time", how="while one runs"),
    Case("model_not_allowed", 403, False, key="other-model"),
    Case("provider_not_allowed", 403, False, key="other-provider"),
    Case("ip_not_allowed", 403, False, key="other-address"),
    Case("model_not_found", 404, False, model="nonesuch"),
    Case("not_found", 404, False, how="nowhere"),
    Case("request_too_large", 413, False, how="large"),
    Case("request_timeout", 408, False, how="slow"),
    Case("invalid_request", 400, False, how="invalid"),
    Case("rate_limited", 429, True, key="slow", how="again"),
    Case("provider_error", 502, True, model="failing"),
    Case("provider_timeout", 504, True, model="hanging"),
    Case("control_plane_stale", 503, True, key="stale", gateway=1),
    Case("limit_authority_unavailable", 503, True, key="capped", gateway=1),
    Case("overloaded", 503, True, model="narrow", how="while one runs"),
]


def name_of(case):
    return f"{case.code}-{case.status}"


class Desk:
    """Gateway 0 stands as usual, gateway 1 is cut off once it knows everything."""

    def __init__(self):
        self.house = house = House(gateways=0, scripted=True)
        try:
            self._gateways()
            self._models()
            self._keys()
            self.counters = [Counter(gateway.port) for gateway in house.gateways]
            for wire in house.gateways[1].wires:
                wire.cut()
            self._wait()
        except BaseException:
            house.close()
            raise
        self.running = {}

    def close(self):
        for answer in self.running.values():
            answer.close()
        for counter in self.counters:
            counter.close()
        self.house.close()

    def url(self, gateway=0):
        return self.counters[gateway].url

    def secret(self, key="plain"):
        return self.secrets[key]

    def served_usd(self, headers):
        """What the provider says that the answer with these headers cost."""
        name = headers["x-turnpike-request-id"]
        assert name.startswith("req_")
        return served_by_request(self.house)[name]["cost_usd"]

    def script(self, text):
        """What the provider does from now on to requests whose provider has no script."""
        told = requests.put(f"{self.house.served_url}/script", data=text, timeout=10)
        assert told.status_code == 204

    def ask(self, dialect, key="plain", model="echo-1", words="one two", **options):
        """One request without an SDK."""
        path, body = {
            "openai": (
                "/v1/chat/completions",
                {"model": model, "messages": [{"role": "user", "content": words}]},
            ),
            "anthropic": (
                "/v1/messages",
                {"model": model, "messages": [{"role": "user", "content": words}], "max_tokens": 9},
            ),
            "gemini": (
                f"/v1beta/models/{model}:generateContent",
                {"contents": [{"role": "user", "parts": [{"text": words}]}]},
            ),
        }[dialect]
        if options.get("stream"):
            path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
        if options.get("stream") and dialect != "gemini":
            body |= {"stream": True, "max_tokens": MANY_TOKENS}
        if options.get("stream") and dialect == "gemini":
            body["generationConfig"] = {"maxOutputTokens": MANY_TOKENS}
        return requests.post(
            f"http://127.0.0.1:{self.house.gateways[0].port}{path}",
            headers={"Authorization": f"Bearer {self.secret(key)}"},
            json=body,
            stream=options.get("stream", False),
            timeout=60,
        )

    def books(self, key):
        """Every request of the key is booked at what the provider says that it served for it."""
        secret, served = self.secret(key), served_by_request(self.house)
        named = {
            seen.request
            for seen in self.counters[0].all
            if seen.status == 200 and any(secret in value for value in seen.headers.values())
        }
        expected = {name: nano(served[name]["cost_usd"]) for name in named & served.keys()}
        assert expected, "nothing was served"

        def booked():
            rows = all_requests(self.house, key=self.ids[key])
            return rows if expected.keys() <= rows.keys() else None

        rows = wait_until(booked, "every request is booked", 20)
        wrong = [rows[name] for name in expected if nano(rows[name]["cost_usd"]) != expected[name]]
        wrong += [rows[name] for name in expected if rows[name]["source"] != "provider"]
        assert not wrong, wrong
        comes_to_rest(self.house, {"id": self.ids[key]}, sum(expected.values()))

    @contextmanager
    def prepared(self, case, dialect):
        """Brings about what the case needs; what would be in the way of others ends with the block."""
        if case.how == "while one runs" and dialect not in self.running:
            words = "w " * ENDLESS_WORDS
            key = f"one-at-a-time-{dialect}"
            answer = self.ask(dialect, key, f"narrow-{dialect}", words, stream=True)
            assert answer.status_code == 200, answer.text
            self.running[dialect] = answer
        if case.how == "again":
            # Not where the minute is nearly over, nor where it has just begun: OpenAI's SDK for Node
            # takes no minute's wait for an answer.
            def refused():
                return 5 < int(self.ask(dialect, case.key).headers.get("retry-after", 0)) < 60

            wait_until(refused, "what a minute allows has been used")
        if case.how == "slow":
            self.counters[case.gateway].keeps_bodies = True
        self.counters[case.gateway].take()
        try:
            yield
        finally:
            self.counters[case.gateway].keeps_bodies = False

    def key_of(self, case, dialect):
        return f"{case.key}-{dialect}" if case.key == "one-at-a-time" else case.key

    def model_of(self, case, dialect):
        return f"{case.model}-{dialect}" if case.model == "narrow" else case.model

    def _gateways(self):
        house = self.house
        for number, wires in enumerate([False, True]):
            house.wires = wires
            gateway = house._gateway(number)
            gateway.environment["TURNPIKE_SERVE_MAX_BODY_BYTES"] = str(MAX_BODY_BYTES)
            gateway.environment["TURNPIKE_SERVE_BODY_TIMEOUT_MS"] = str(BODY_TIMEOUT_MS)
            house.gateways.append(gateway.start(wait=False))
        for gateway in house.gateways:
            gateway.wait_ready()

    def _models(self):
        """Every model is served in every dialect, by providers that are all the same echo."""
        script = {
            "tool": "tool",
            "thinking": "think=3",
            "breaking": "cut_after=1",
            "begun": "cut_after=0",
            "failing": "status=500",
            "hanging": "hang",
        }
        # Those that always fail are never passed over.
        extra = {
            "failing": {"max_failures": 0},
            "hanging": {"max_failures": 0, "answer_timeout_ms": ANSWER_TIMEOUT_MS},
            "narrow": {"max_concurrency": 1},
        }
        for name in ["plain", *script, "narrow"]:
            for dialect in DIALECTS:
                provider = {
                    "name": f"{name}-{dialect}",
                    "kind": dialect,
                    "base_url": self.house.echo_url,
                    "max_failures": 0,
                    **extra.get(name, {}),
                }
                if name in script:
                    provider["headers"] = {"x-echo-script": script[name]}
                self.house.call("POST", "/providers", provider)
        routes = [{"provider": f"plain-{dialect}"} for dialect in DIALECTS]
        for name in ["echo-1", "echo-slow"]:
            self.house.call("PATCH", f"/models/{name}", {"routes": routes})
        for name in script:
            # So that a stream has reached its reader before it breaks off.
            upstream = "echo-slow" if name == "breaking" else "echo-1"
            self._model(name, [f"{name}-{dialect}" for dialect in DIALECTS], upstream)
        for dialect in DIALECTS:
            self._model(f"narrow-{dialect}", [f"narrow-{dialect}"], "echo-slow")

    def _model(self, name, providers, upstream):
        routes = [{"provider": provider, "upstream_model": upstream} for provider in providers]
        sizes = {"context_window": 100000, "max_output": 10000}
        model = {"name": name, "prices": ECHO_PRICES, "routes": routes, **sizes}
        self.house.call("POST", "/models", model)

    def _keys(self):
        house = self.house
        self.secrets = {"unknown": "sk-tp-nonsense", "management": house.token}
        # Ids of keys, and the path of each one's organisation.
        self.ids, self.paths = {}, {}
        orgs = {
            "no-wallet": {"wallet": "prepaid"},
            "no-wallet-429": {"wallet": "prepaid", "limit_status": 429},
            "no-budget-429": {"limit_status": 429},
            "stale": {"max_staleness_seconds": 1},
        }
        keys = {
            "plain": {},
            **{f"books-{dialect}": {} for dialect in DIALECTS},
            "disabled": {},
            "revoked": {},
            "expired": {"expires_at": "soon"},
            "no-budget": {"limits": {"cost_usd": "0.000001"}},
            "no-budget-429": {"limits": {"cost_usd": "0.000001"}},
            "no-wallet": {},
            "no-wallet-429": {},
            **{f"one-at-a-time-{each}": {"limits": {"cost_usd": ONE_AT_A_TIME}} for each in DIALECTS},
            "other-model": {"scopes": {"models": ["echo-slow"]}},
            "other-provider": {"scopes": {"providers": ["narrow-openai"]}},
            "other-address": {"scopes": {"ips": ["192.0.2.0/24"]}},
            "slow": {"limits": {"requests_per_minute": 2}},
            "stale": {},
            "capped": {"limits": {"cost_usd": "1.00"}},
        }
        for name, input in keys.items():
            if "expires_at" in input:
                # Counted from now: on a loaded machine the keys before it take their time.
                soon = datetime.now(timezone.utc) + timedelta(seconds=5)
                input = {"expires_at": soon.isoformat().replace("+00:00", "Z")}
            path = "/orgs/" + (self._org(name, orgs[name]) if name in orgs else house.org)
            applied = {"wait": "applied", "timeout_ms": "20000"}
            made = house.call("POST", f"{path}/keys", {"name": name, **input}, params=applied)
            assert made["propagation"]["missing"] == [], made["propagation"]
            self.secrets[name], self.ids[name], self.paths[name] = made["secret"], made["id"], path
        house.of_org("POST", f"/keys/{self.ids['disabled']}/disable")
        house.command("POST", f"/keys/{self.ids['revoked']}/revoke", {"reason": "unused"})

    def _org(self, name, settings):
        plan = self.house.of_org("GET", "")["default_plan"]
        org = self.house.call("POST", "/orgs", {"name": name, **settings})["id"]
        self.house.call("PATCH", f"/orgs/{org}", {"default_plan": plan})
        return org

    def _wait(self):
        """Waits until a key has expired, and until gateway 1 knows itself cut off."""
        codes = {"stale": "control_plane_stale", "capped": "limit_authority_unavailable"}

        def told(gateway, key):
            answer = requests.post(
                f"http://127.0.0.1:{self.house.gateways[gateway].port}/v1/chat/completions",
                headers={"Authorization": f"Bearer {self.secrets[key]}"},
                json={"model": "echo-1", "messages": [{"role": "user", "content": "a"}]},
                timeout=60,
            )
            return answer.headers.get("x-turnpike-error-code")

        wait_until(lambda: told(0, "expired") == "key_expired", "a key has expired")
        for key, code in codes.items():
            wait_until(lambda: told(1, key) == code, f"the gateway that is cut off says {code}")
