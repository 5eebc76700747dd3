#!/usr/bin/env python3
"""Measures direct, nginx and the gateway side by side, with the house as real release processes.

Control plane, projector, echo and nats-server run at the lowest priority: they have machines of
their own in earnest, and here they get what the compared ones leave of two cores. The gateway
works for all of them as ever; its CPU time is counted until it is at rest, with its last record
sent, and the requests that were booked are compared with those that were answered.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/clients"))

import house as houses  # noqa: E402
from ports import free_port  # noqa: E402

RELEASE = ROOT / "target/release"
BOOKING_SECONDS = 120
# Of nginx's closed loop: a load that every target bears.
SAME_LOAD_PERCENT = 40
# Limits of every kind, none of which is reached: their checks are measured, not their refusals.
LIMITS = {
    "cost_usd": "1000000",
    "tokens": 10**15,
    "reset": "daily",
    "requests_per_minute": 100_000_000,
    "tokens_per_minute": 10**15,
}


def stand_back(process):
    """Lets a process's threads run where nobody else wants to; later ones inherit it."""
    for thread in os.listdir(f"/proc/{process.child.pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))


def main(arguments):
    houses.TARGET = RELEASE
    port = free_port()
    provider = f"http://127.0.0.1:{port}"
    options = {"TURNPIKE_CORES": "0"}
    with (
        houses.House(gateways=1, gateway_options=options, provider_url=provider) as house,
        tempfile.NamedTemporaryFile() as figures,
    ):
        for process in (house.control, house.projector, house.echo, house.nats):
            stand_back(process)
        key = house.command("POST", "/keys", {"name": "bench"})
        limited = house.command("POST", "/keys", {"name": "limited", "limits": LIMITS})
        gateway = house.gateways[0]
        command = [
            *(RELEASE / "load", "compare", "--listen", f"127.0.0.1:{port}"),
            *("--nginx-listen", f"127.0.0.1:{free_port()}"),
            *("--gateway-url", f"http://127.0.0.1:{gateway.port}", "--key", key["secret"]),
            *("--limited-key", limited["secret"]),
            *("--gateway-pid", str(gateway.child.pid), "--json", figures.name, *arguments),
        ]
        print("closed loop: what each can do", flush=True)
        subprocess.run(command, check=True)
        first = answered(figures)
        # CPU per request can only be compared at the same load: a busier process wakes less often.
        rate = int(first["nginx"]["requests_per_second"]) * SAME_LOAD_PERCENT // 100
        print(f"open loop: the same {rate} requests/s for each", flush=True)
        subprocess.run([*command, "--rate", str(rate)], check=True)
        rows = (first, answered(figures))
        sent = sum(row[name]["requests"] for row in rows for name in ("gateway", "limited"))
        booked = lambda: house.usage()["total"]["requests"] >= sent  # noqa: E731
        houses.wait_until(booked, "booking all requests", BOOKING_SECONDS)
        total = house.usage()["total"]["requests"]
        print(f"booked: {total} requests, of which {sent} were measured")


def answered(figures):
    figures.seek(0)
    return {row["target"]: row for row in json.load(figures)}


if __name__ == "__main__":
    main(sys.argv[1:])
