"""Tests of the counting: what real suites print, and what broken ones print."""

import pytest

import tally
from tally import Count

CARGO = """\
   Compiling turnpike-runtime v0.1.0
     Running unittests src/lib.rs (target/debug/deps/turnpike_runtime-1)

running 2 tests
test tasks::tests::one ... ok
test tasks::tests::two ... FAILED

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s

     Running tidy.rs (target/debug/deps/tidy-1)
test result: ok. 9 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.1s
   Doc-tests turnpike_runtime
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.0s
"""
NOTHING = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished"


def test_a_check_is_one_test():
    assert tally.check("", 0) == Count(1, 0)
    assert tally.check("", 101) == Count(0, 1)


def test_cargo_binaries_are_summed():
    assert tally.cargo(CARGO, 101) == Count(10, 1)


@pytest.mark.parametrize(
    ("output", "status", "count"),
    [
        ("error: could not compile", 101, Count(0, 1)),
        ("", 0, Count(0, 1)),
        # Passed, says the output; failed, says the process.
        (CARGO.replace("1 failed", "0 failed"), 101, Count(10, 1)),
        # Crashed in the middle, and at the end.
        ("     Running a.rs (a)\n" + CARGO, 101, Count(10, 2)),
        (CARGO + "     Running b.rs (b)\n", 101, Count(10, 2)),
        # A file of tests without a test; unit tests may be none.
        (CARGO + f"     Running b.rs (b)\n{NOTHING}\n", 0, Count(10, 2)),
        (CARGO + f"     Running unittests src/main.rs (b)\n{NOTHING}\n", 0, Count(10, 1)),
    ],
)
def test_cargo_suites_that_are_broken_fail(output, status, count):
    assert tally.cargo(output, status) == count


@pytest.mark.parametrize(
    ("output", "status", "count"),
    [
        ("....  [100%]\n4 passed in 0.01s\n", 0, Count(4, 0)),
        ("== 1 failed, 3 passed, 2 skipped, 1 warning in 61.20s (0:01:01) ==\n", 1, Count(3, 1)),
        ("1 passed, 2 errors in 0.10s\n", 1, Count(1, 2)),
        ("1 error in 0.10s\n", 2, Count(0, 1)),
        ("no tests ran in 0.00s\n", 5, Count(0, 1)),
        ("2 skipped in 0.00s\n", 0, Count(0, 1)),
        ("INTERNALERROR>\n", 3, Count(0, 1)),
        ("3 passed in 0.00s\n", 1, Count(3, 1)),
    ],
)
def test_pytest_is_read_by_its_last_line(output, status, count):
    assert tally.pytest(output, status) == count


def test_the_last_line_has_one_form():
    assert Count(1, 2).plus(Count(3, 4)).line() == "4 passed, 6 failed"
