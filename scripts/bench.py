#!/usr/bin/env python3
"""Measures direct, nginx and the gateway side by side, with the house as real release processes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/clients"))

import house as houses  # noqa: E402

RELEASE = ROOT / "target/release"


def main(arguments):
    houses.TARGET = RELEASE
    port = houses.free_port()
    provider = f"http://127.0.0.1:{port}"
    options = {"TURNPIKE_CORES": "0"}
    with houses.House(gateways=1, gateway_options=options, provider_url=provider) as house:
        key = house.command("POST", "/keys", {"name": "bench"})
        gateway = house.gateways[0]
        command = [
            *(RELEASE / "load", "compare", "--listen", f"127.0.0.1:{port}"),
            *("--gateway-url", f"http://127.0.0.1:{gateway.port}", "--key", key["secret"]),
            *("--gateway-pid", str(gateway.child.pid), *arguments),
        ]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
