"""One process of the house: started, killed, started again, and what is told of it where it fails."""

import os
import signal
import socket
import subprocess
import time

import requests

# A process that does not come up in this time never will; a loaded machine of two cores needs much.
START_SECONDS = 60
STOP_SECONDS = 40
# What is told of a process that did not do as it should: lines, and how errors are marked in logs of
# ours, as text and as JSON, and in that of nats-server.
TAIL_LINES = 20
ERROR_MARKS = (" ERROR ", '"level":"ERROR"', "[ERR]", "[FTL]")


def wait_until(holds, what, seconds=START_SECONDS):
    """Waits for a condition of another process; the only place that polls. `what` is called, at the
    end, if it is a function."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = holds()
        except requests.RequestException:
            found = None
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.02)


class Process:
    """One process that can be killed and started again with the same command."""

    def __init__(self, name, command, environment, folder, ready):
        self.name, self.command, self.ready = name, command, ready
        inherited = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
        plain = {name: os.environ[name] for name in inherited if name in os.environ}
        self.environment = {**plain, "RUST_BACKTRACE": "1", **environment}
        self.log = folder / f"{name}.log"
        self.child = None

    def start(self, wait=True, **how):
        """`how` is for the operating system, such as where standard error leads."""
        with open(self.log, "ab") as log:
            ways = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **how}
            self.child = subprocess.Popen(self.command, env=self.environment, **ways)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def holds():
            status = self.child.poll()
            assert status is None, f"{self.name} ended with {status}: {self.tail()}"
            return self.ready()

        wait_until(holds, lambda: f"{self.name} is ready: {self.tail()}")

    def kill(self):
        """kill -9"""
        if self.child:
            self.child.kill()
            self.child.wait()

    def pause(self):
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.child.send_signal(signal.SIGCONT)

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not stop: {self.tail()}") from None

    def tail(self):
        """The last lines of the log, below the last error if that came before them."""
        if not self.log.exists():
            return ""
        said = self.log.read_text(errors="replace").splitlines()
        wrong = [line for line in said[:-TAIL_LINES] if any(mark in line for mark in ERROR_MARKS)]
        return "\n".join([*wrong[-1:], *said[-TAIL_LINES:]])


def answers(url):
    def holds():
        return requests.get(url, timeout=2).status_code == 200

    return holds


def accepts(port):
    def holds():
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return holds
