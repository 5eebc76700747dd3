"""Clocks that step and processes that stand still: rates and caps hold, and nothing that ended is used."""

import time
from datetime import datetime, timezone

import pytest

from books import capped_key
from figures import tell
from house import House, counted, nano, wait_until
from interposer import Interposer
from siege import Siege
from spend import form

pytestmark = pytest.mark.soak
SEED = 20261121
GATEWAYS = 3
CLIENTS = 12
# How long a process stands still, and how long before that it serves.
STOPPED_SECONDS = form(8, 45)
LEAD_SECONDS = 3
# How long a day is another: longer than gateways take to ask about it.
STEPPED_SECONDS = form(5, 20)
# A gateway that goes on knows within this time what was taken away meanwhile.
AWAKE_SECONDS = 2.0
# What was begun so long after a secret's end is not served: two processes read one clock.
APART_SECONDS = 0.05
# How long a request that was let in may be on its way to the provider.
ON_ITS_WAY_SECONDS = 1.5
HOUR_MS = 3_600_000
# A minute's limit, below what the clients ask for.
A_MINUTE = 60
CAP = "0.001"
# An answer of the witness: one token in and one out, at the prices of echo-1.
COST = nano("0.000003")


class Clocks(House):
    """A house whose processes' days can be set while they run."""

    def __init__(self, **options):
        names = ["control-plane", "projector", *(f"gateway-{number}" for number in range(GATEWAYS))]
        self.clocks = {name: Interposer() for name in names}
        super().__init__(gateways=GATEWAYS, **options)

    def close(self):
        super().close()
        for clock in self.clocks.values():
            clock.close()

    def _control(self):
        return self._with_clock(super()._control())

    def _projector(self):
        return self._with_clock(super()._projector())

    def _gateway(self, number):
        return self._with_clock(super()._gateway(number))

    def _with_clock(self, process):
        process.environment |= self.clocks[process.name].environment
        return process

    def process(self, name):
        every = {each.name: each for each in [self.control, self.projector, *self.gateways]}
        return every[name]


@pytest.fixture(scope="module")
def house(witness):
    with Clocks(provider_url=witness.url) as running:
        yield running


class Stock:
    """Secrets that end at a moment, and secrets that do not, by label; limits that must hold."""

    def __init__(self, house, name, lead):
        """They end `lead` seconds after they were made."""
        self.name, self.shares = name, by_share(house)

        def key(kind, **input):
            return house.command("POST", "/keys", {"name": f"{name} {kind}", **input})

        def when(ends):
            return datetime.fromtimestamp(ends, timezone.utc).isoformat().replace("+00:00", "Z")

        parent, overlapped, self.doomed = key("parent"), key("overlapped"), key("doomed")
        self.lasting = {
            "lasts": key("lasts", expires_at=when(time.time() + HOUR_MS / 2000))["secret"],
            "parent": parent["secret"],
            "rated": key("rated", limits={"requests_per_minute": A_MINUTE})["secret"],
            "capped": capped_key(house, f"{name} capped", CAP)["secret"],
            "doomed": self.doomed["secret"],
        }
        child = f"/keys/{parent['id']}/ephemeral"
        token = house.of_org("POST", child, {"expires_in_seconds": lead})
        self.ends = time.time() + lead
        ending = house.of_org("POST", "/keys", {"name": f"{name} ends", "expires_at": when(self.ends)})
        house.of_org("POST", f"/keys/{overlapped['id']}/rotate", {"overlap_seconds": lead})
        self.overlap_ends = time.time() + lead
        # What ends with its life is known by what the answer says.
        token_ends = datetime.fromisoformat(token["expires_at"]).timestamp()
        self.ending = {
            "key": (ending["secret"], self.ends),
            "token": (token["secret"], token_ends),
            "overlap": (overlapped["secret"], self.overlap_ends),
        }

    def secrets(self):
        ending = {label: secret for label, (secret, _) in self.ending.items()}
        return {f"{self.name} {label}": secret for label, secret in (ending | self.lasting).items()}

    def judge(self, house, siege, witness):
        """Nothing that has ended was served; no minute and no budget has more than it may, where some
        gateways have lived on their shares of a rate. Answers how late the latest was."""
        seen, latest = witness.seen(), {}
        alone = sum(now > then for then, now in zip(self.shares, by_share(house)))
        for label, (_, ends) in self.ending.items():
            times = seen.get(f"{self.name} {label}", [])
            latest[label] = max(times, default=ends) - ends
            on_its_way = latest[label] <= ON_ITS_WAY_SECONDS
            assert on_its_way, f"{label} served {latest[label]:.3f} s after its end"
            after = [each for each in siege.of(f"{self.name} {label}") if each.began > ends + APART_SECONDS]
            assert after and {each.status for each in after} <= {401, 503}, f"{label} was not tried"
        rated = seen.get(f"{self.name} rated", [])
        most = max(sum(1 for at in rated if since <= at < since + 60) for since in rated) if rated else 0
        assert most <= A_MINUTE + alone * (A_MINUTE // GATEWAYS), f"{most} in a minute, {alone} alone"
        spent = len(seen.get(f"{self.name} capped", [])) * COST
        assert spent <= nano(CAP), f"{spent} nano-USD"
        latest_ms = round(max(latest.values()) * 1000)
        return {"latest_ms": latest_ms, "most_a_minute": most, "alone": alone, "nano_usd": spent}


def by_share(house):
    """What each gateway has let pass by its share, because nobody answered it."""
    return [counted(gateway, "permit_shares") for gateway in house.gateways]


def last_of(siege, label, gateway=None):
    tries = siege.of(label, gateway)
    return tries[-1] if tries else None


@pytest.mark.parametrize("name", ["gateway-0", "projector", "control-plane"])
def test_t15_what_ends_while_a_process_stands_still_is_not_used(house, witness, name):
    """Bounds: SIGSTOP of 8 s of one process, 3 gateways, 12 clients, 3 secrets that end; in full, 45 s."""
    process, fresh = house.process(name), None
    stock = Stock(house, f"stop {name}", LEAD_SECONDS + STOPPED_SECONDS // 2)
    with Siege(house, CLIENTS, SEED) as siege:
        siege.secrets = stock.secrets()
        begun = lambda: time.time() > stock.ends - STOPPED_SECONDS / 2  # noqa: E731
        wait_until(begun, "all are tried", 60)
        process.pause()
        stopped = time.time()
        if name != "control-plane":
            house.of_org("POST", f"/keys/{stock.doomed['id']}/revoke", {"reason": "compromised"})
            fresh = house.of_org("POST", "/keys", {"name": f"fresh {name}"})
            siege.secrets = siege.secrets | {f"fresh {name}": fresh["secret"]}
        wait_until(lambda: time.time() > stopped + STOPPED_SECONDS, "it has stood still", STOPPED_SECONDS + 5)
        awake = time.time()
        process.go_on()
        lasts = lambda number: last_of(siege, f"stop {name} lasts", number)  # noqa: E731
        serves = lambda number: lasts(number).began > awake and lasts(number).status == 200  # noqa: E731
        wait_until(lambda: all(map(serves, range(GATEWAYS))), "all serve", 30)
        wait_until(lambda: time.time() > awake + 2 * AWAKE_SECONDS, "it has served again")
    told = stock.judge(house, siege, witness)
    if fresh:
        doomed = max(witness.seen()[f"stop {name} doomed"])
        known_by = awake if name == "gateway-0" else stopped
        assert doomed <= known_by + AWAKE_SECONDS, f"served {doomed - known_by:.2f} s after"
        codes = {each.code for each in siege.of(f"fresh {name}", 0)} - {None}
        assert codes <= ({"control_plane_stale"} if name == "gateway-0" else {"unauthorized"}), codes
    tell(f"T15 (SIGSTOP of {name}, {STOPPED_SECONDS} s)", **told)


@pytest.mark.parametrize("name", ["gateway-0", "projector", "control-plane"])
def test_t15_what_has_ended_does_not_begin_again_when_a_clock_steps(house, witness, name):
    """Bounds: the day of one process an hour behind, an hour ahead, right again, 5 s each; 3 gateways."""
    stock = Stock(house, f"step {name}", LEAD_SECONDS)
    with Siege(house, CLIENTS, SEED) as siege:
        siege.secrets = stock.secrets()
        over = max(stock.ends, stock.overlap_ends) + 1
        wait_until(lambda: time.time() > over, "they have ended", 60)
        for ahead_ms in [-HOUR_MS, HOUR_MS, 0]:
            house.clocks[name].set_day(ahead_ms)
            stepped = time.time()
            wait_until(lambda: time.time() > stepped + STEPPED_SECONDS, "it was another day", 60)
        lasts = lambda: last_of(siege, f"step {name} lasts")  # noqa: E731
        wait_until(lambda: lasts().status == 200, "what has half an hour left works", 10)
    told = stock.judge(house, siege, witness)
    refused = [each for each in siege.of(f"step {name} parent") if each.status != 200]
    assert refused == [], f"a key that does not end is refused: {refused[:3]}"
    codes = {each.code for each in siege.of(f"step {name} lasts")} - {None}
    # Who asks what time it is believes a control plane that says: later.
    assert codes <= ({"key_expired"} if name == "control-plane" else set()), codes
    tell(f"T15 (day of {name} ± 1 h)", **told)
