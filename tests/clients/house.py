"""The house as real processes on loopback: nats-server, control plane, projector, gateways, echo."""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import uuid
from decimal import Decimal
from pathlib import Path

import requests

from cut import Wire
from ports import free_port
from process import Process, accepts, answers, wait_until

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
NATS_SERVER = ROOT / ".venv/bin/nats-server"
# Prices of the echo provider, USD per million tokens (contract).
ECHO_PRICES = {"input": "1.00", "output": "2.00", "cached_input": "0.10"}


def store_of(folder):
    """A store of the house's own and its root: a folder, or a part of the cluster for tests."""
    cluster_file = os.environ.get("TURNPIKE_TEST_FDB_CLUSTER_FILE")
    if not cluster_file:
        return f"redb:{folder}/store", "turnpike"
    return f"fdb:{cluster_file}", f"turnpike-test-{secrets.token_hex(8)}"


def new_gateway_id():
    """A TypeID of a gateway, as the control plane makes them: 26 characters of Crockford's base32."""
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    number = uuid.uuid4().int
    return "gw_" + "".join(digits[number >> 5 * place & 31] for place in reversed(range(26)))


class House:
    """One control plane, one projector, some gateways, a nats-server and the provider echo."""

    def __init__(
        self,
        gateways=3,
        scripted=False,
        gateway_options=None,
        provider_url=None,
        users=False,
        wires=False,
        days=None,
    ):
        """With `wires`, gateways reach NATS and the control plane by wires that can be cut. `days`: by
        how many milliseconds the day of a process is ahead of the machine's; `house`: of all others."""
        self.wires = wires
        self.days = days or {}
        self.folder = Path(tempfile.mkdtemp(prefix="turnpike-house-"))
        self.scripted = scripted
        self.gateway_options = gateway_options or {}
        self.provider_url = provider_url
        key = {name: secrets.token_hex(32) for name in ("pepper", "provider", "vault", "signing")}
        self.shared_keys = {
            "TURNPIKE_KEYS_PEPPERS": f"1:{key['pepper']}",
            "TURNPIKE_KEYS_PROVIDER_SEALING": f"1:{key['provider']}",
        }
        self.own_keys = {
            "TURNPIKE_KEYS_VAULT_SEALING": f"1:{key['vault']}",
            "TURNPIKE_KEYS_SIGNING": f"1:{key['signing']}",
        }
        self.gateway_ids = [new_gateway_id() for _ in range(gateways)] if users else []
        self.logins = self._users() if users else {}
        self.store, self.store_root = store_of(self.folder)
        self.nats = self._nats()
        self.echo = self._echo()
        self.control = self._control()
        self.projector = self._projector()
        self.gateways = []
        try:
            self.nats.start()
            self.echo.start()
            self.control.start()
            self.token = self._first("management-token")
            self.projector.start()
            self.org = self.call("GET", "/me")["org"]["id"]
            self._models()
            for number in range(gateways):
                self.gateways.append(self._gateway(number))
            for gateway in self.gateways:
                gateway.start(wait=False)
            for gateway in self.gateways:
                gateway.wait_ready()
        except BaseException:
            self.close()
            raise

    def close(self):
        running = [*self.gateways, self.projector, self.control, self.echo, self.nats]
        for process in running:
            process.kill()
        for wire in [wire for gateway in self.gateways for wire in gateway.wires]:
            wire.close()
        if not os.environ.get("TURNPIKE_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # The management API.

    def call(self, method, path, body=None, expect=(200, 201), **options):
        """One call of the management API; the parsed answer, or the whole one with expect=None."""
        headers = {"Authorization": f"Bearer {options.pop('token', self.token)}"}
        headers.update(options.pop("headers", {}))
        answer = requests.request(
            method, f"{self.control_url}/api/v1{path}", json=body, headers=headers, timeout=60, **options
        )
        if expect is None:
            return answer
        assert answer.status_code in expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def of_org(self, method, path, body=None, **options):
        return self.call(method, f"/orgs/{self.org}{path}", body, **options)

    def command(self, method, path, body=None):
        """A change that must have reached every gateway: the proof is checked."""
        answer = self.of_org(method, path, body, params={"wait": "applied", "timeout_ms": "20000"})
        proof = answer["propagation"]
        assert proof["missing"] == [] and proof["applied"] == proof["online"], proof
        assert proof["online"] == len(self.gateways), proof
        return answer

    def usage(self):
        return self.of_org("GET", "/usage")

    def served(self):
        return requests.get(f"{self.served_url}/served", timeout=10).json(parse_float=Decimal)

    def gateway_url(self, number):
        return f"http://127.0.0.1:{self.gateways[number].port}"

    def cli(self, *words, check=True):
        """The client, as a person would call it."""
        environment = {
            "PATH": os.environ["PATH"],
            "TURNPIKE_URL": self.control_url,
            "TURNPIKE_TOKEN": self.token,
        }
        done = subprocess.run(
            [TARGET / "turnpike", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    # The processes.

    def _nats(self):
        port = free_port()
        self.nats_url = f"nats://127.0.0.1:{port}"
        self.jetstream = self.folder / "jetstream"
        command = [NATS_SERVER, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", self.jetstream]
        if self.logins:
            command += ["-c", self.folder / "users.conf"]
        return Process("nats", command, {}, self.folder, accepts(port))

    def _users(self):
        """Passwords by user: one for each process, with the rights that users.sh gives."""
        names = ["control-plane", "projector", *self.gateway_ids]
        logins = {name: secrets.token_hex(16) for name in names}
        users = [f"{name} {logins[name]}" for name in names[:2]]
        users += [f"gateway {name} {logins[name]} *" for name in self.gateway_ids]
        script = ["sh", ROOT / "deploy/nats/users.sh"]
        made = subprocess.run(script, input="\n".join(users) + "\n", capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        (self.folder / "users.conf").write_text(made.stdout)
        return logins

    def _login(self, name):
        if not self.logins:
            return {}
        return {"TURNPIKE_NATS_USER": name, "TURNPIKE_NATS_PASSWORD": self.logins[name]}

    def _day(self, name):
        ahead_ms = self.days.get(name, self.days.get("house", 0))
        return {"TURNPIKE_TEST_DAY_AHEAD_MS": str(ahead_ms)} if ahead_ms else {}

    def _echo(self):
        port, served = free_port(), free_port()
        self.echo_url, self.served_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{served}"
        command = [TARGET / "turnpike", "echo", "--listen", f"127.0.0.1:{port}"]
        command += ["--served", f"127.0.0.1:{served}"] + ["--scripted"] * self.scripted
        return Process("echo", command, {}, self.folder, answers(f"{self.served_url}/served"))

    def second_control(self):
        """Another control plane on the same store, which is not started."""
        return self._control_plane("control-plane-2", free_port())

    def _control(self):
        port = free_port()
        self.control_url = f"http://127.0.0.1:{port}"
        return self._control_plane("control-plane", port)

    def _control_plane(self, name, port):
        admin = free_port()
        environment = {
            "TURNPIKE_LISTEN": f"127.0.0.1:{port}",
            "TURNPIKE_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "TURNPIKE_FIRST_START_WRITE_TO": f"{self.folder}/first",
            "TURNPIKE_STORE_ROOT": self.store_root,
            "TURNPIKE_ALLOW_PRIVATE": "true",
            # No balancer looks here, but where a test has one.
            "TURNPIKE_NOTICE_MS": "0",
            **self.shared_keys,
            **self.own_keys,
            **self._login("control-plane"),
            **self._day("control-plane"),
        }
        command = [TARGET / "turnpike-control-plane", "--store", self.store, "--bus", self.nats_url]
        ready = answers(f"http://127.0.0.1:{admin}/healthz/ready")
        process = Process(name, command, environment, self.folder, ready)
        process.port, process.admin_port = port, admin
        return process

    def _projector(self):
        admin = free_port()
        environment = {
            "TURNPIKE_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "TURNPIKE_STORE_ROOT": self.store_root,
            **self._login("projector"),
            **self._day("projector"),
        }
        command = [TARGET / "turnpike-projector", "--store", self.store, "--bus", self.nats_url]
        ready = answers(f"http://127.0.0.1:{admin}/healthz/ready")
        process = Process("projector", command, environment, self.folder, ready)
        process.admin_port = admin
        return process

    def _gateway(self, number):
        port, admin = free_port(), free_port()
        environment = {
            "TURNPIKE_NAME": f"gateway-{number}",
            "TURNPIKE_DATA": f"{self.folder}/gateway-{number}",
            "TURNPIKE_CORES": "1",
            "TURNPIKE_ADMIN": f"127.0.0.1:{admin}",
            "TURNPIKE_SERVE_LISTEN": f"127.0.0.1:{port}",
            "TURNPIKE_SERVE_ALLOW_PRIVATE": "true",
            "TURNPIKE_SERVE_NOTICE_MS": "0",
            "TURNPIKE_CONTROL_URL": self.control_url,
            "TURNPIKE_CONTROL_JOIN_TOKEN": self._first("join-token"),
            "TURNPIKE_BUS": self.nats_url,
            **self.shared_keys,
            **self._day(f"gateway-{number}"),
            **self.gateway_options,
        }
        if self.logins:
            environment["TURNPIKE_ID"] = self.gateway_ids[number]
            environment |= self._login(self.gateway_ids[number])
        ready = answers(f"http://127.0.0.1:{admin}/healthz/ready")
        command = [TARGET / "turnpike-gateway"]
        process = Process(f"gateway-{number}", command, environment, self.folder, ready)
        process.port, process.admin_port, process.wires = port, admin, []
        if self.wires:
            nats, control = (Wire(int(url.rsplit(":", 1)[1])) for url in (self.nats_url, self.control_url))
            environment = process.environment
            environment["TURNPIKE_BUS"] = f"nats://127.0.0.1:{nats.port}"
            environment["TURNPIKE_CONTROL_URL"] = f"http://127.0.0.1:{control.port}"
            process.wires = [nats, control]
        return process

    def _first(self, name):
        return (self.folder / "first" / name).read_text()

    def _models(self):
        url = self.provider_url or self.echo_url
        # Where it fails as it is told to, its failures are what is looked at.
        patience = {"max_failures": 0} if self.scripted or self.provider_url else {}
        self.call("POST", "/providers", {"name": "echo", "kind": "openai", "base_url": url, **patience})
        for name, prices in [("echo-1", ECHO_PRICES), ("echo-slow", ECHO_PRICES)]:
            model = {"name": name, "context_window": 100000, "max_output": 10000, "prices": prices}
            self.call("POST", "/models", {**model, "routes": [{"provider": "echo"}]})


def nano(usd):
    """A decimal string of USD as an integer of nano-USD."""
    exact = Decimal(usd) * 10**9
    assert exact == int(exact), usd
    return int(exact)


def counted(process, name):
    """A counter of a process's metrics."""
    text = requests.get(f"http://127.0.0.1:{process.admin_port}/metrics", timeout=10).text
    found = [line.split() for line in text.splitlines() if line.startswith(f"turnpike_{name}_total ")]
    assert len(found) == 1, f"{name}: {text}"
    return int(found[0][1])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
