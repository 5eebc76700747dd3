"""A program of the folder `node` that makes calls with official SDKs, as they are asked for."""

import json
import select
import subprocess

from house import ROOT

NODE = ROOT / ".venv/bin/node"
PROGRAMS = ROOT / "tests/clients/node"
STOP_SECONDS = 10
# Longer than any call of a test takes; an SDK's own limit is ten minutes.
LINE_SECONDS = 120


def line_of(child):
    """The next line of a program that says one at a time."""
    ready, _, _ = select.select([child.stdout], [], [], LINE_SECONDS)
    assert ready, f"{child.args} says nothing"
    return child.stdout.readline()


class Javascript:
    """A running program. See `node/calls.mjs` for the other side."""

    def __init__(self, name):
        self.name = name
        self.child = subprocess.Popen(
            [NODE, PROGRAMS / name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()

    def call(self, name, **options):
        """Makes one call; its `value`, or what was `thrown`, and the `waits` between its tries."""
        self.child.stdin.write(json.dumps({"call": name, **options}) + "\n")
        self.child.stdin.flush()
        line = line_of(self.child)
        assert line, f"{self.name} ended in {name}"
        return json.loads(line)

    def value(self, name, **options):
        """What a call that must succeed returns."""
        answer = self.call(name, **options)
        assert "thrown" not in answer, answer["thrown"]
        return answer.get("value")
