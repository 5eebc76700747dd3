"""The clock of an SDK whose waits are noted instead of spent."""

import time


class Waits:
    """Stands for the module `time` in the module that waits."""

    def __init__(self):
        self.spent = []

    def sleep(self, seconds):
        self.spent.append(seconds)

    def __getattr__(self, name):
        return getattr(time, name)


def unspent(monkeypatch, module):
    """The waits between the tries of a module's SDK, which are not spent."""
    kept = Waits()
    monkeypatch.setattr(module, "time", kept)
    return kept
