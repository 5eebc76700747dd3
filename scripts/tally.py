"""Counts the tests of a suite by what the suite printed."""

import re
from typing import NamedTuple

CARGO_RUNNING = re.compile(r"^\s+(?:Running (?P<target>.+)|Doc-tests (?P<doc>\S+))$")
CARGO_RESULT = re.compile(r"^test result: \S+ (\d+) passed; (\d+) failed;")
PYTEST_SUMMARY = re.compile(r"^=*\s*(?=.* in \d)(\d+ \w+.*?) in \d[\d.]*s")
PYTEST_COUNT = re.compile(r"(\d+) (\w+)")


class Count(NamedTuple):
    """Tests that passed and that failed."""

    passed: int = 0
    failed: int = 0

    def plus(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed)

    def line(self):
        return f"{self.passed} passed, {self.failed} failed"


def check(output, status):
    """A stage that holds or does not, such as a lint: one test."""
    del output
    return Count(1, 0) if status == 0 else Count(0, 1)


def cargo(output, status):
    """All test binaries of one `cargo test`.

    A binary that ends without a result has crashed: one failure. A file of tests that ran none is
    one too, for its tests have been lost; unit tests and examples in the documentation may be none.
    """
    count, running = Count(), None
    for line in output.splitlines():
        begins, result = CARGO_RUNNING.match(line), CARGO_RESULT.match(line)
        if begins:
            if running is not None:
                count = count.plus(Count(0, 1))
            running = begins["target"] or ""
        elif result:
            ran = Count(int(result[1]), int(result[2]))
            lost = ran == Count() and is_test_file(running)
            count, running = count.plus(Count(0, 1) if lost else ran), None
    if running is not None:
        count = count.plus(Count(0, 1))
    return honest(count, status)


def is_test_file(target):
    return bool(target) and not target.startswith("unittests ")


def pytest(output, status):
    """One run of pytest. Errors of fixtures and of collection are failures."""
    count = Count()
    for line in output.splitlines():
        summary = PYTEST_SUMMARY.match(line)
        if summary:
            by_word = {word: int(n) for n, word in PYTEST_COUNT.findall(summary[1])}
            failed = sum(by_word.get(word, 0) for word in ("failed", "error", "errors"))
            count = Count(by_word.get("passed", 0), failed)
    return honest(count, status)


def honest(count, status):
    """A suite that ran nothing, or failed without saying where, has one failure."""
    unsaid = status != 0 and count.failed == 0
    return count.plus(Count(0, 1)) if unsaid or count == Count() else count
