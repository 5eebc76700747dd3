#!/usr/bin/env python3
"""Runs the stages named, or all, one after the other, and ends with their sum on one line."""

import glob
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import tally
from tally import Count

ROOT = Path(__file__).resolve().parent.parent
PYTHON = str(ROOT / ".venv/bin/python")
EVERYTHING = ["--workspace", "--all-targets"]
FDB_CRATES = ["turnpike-store", "turnpike-control-plane", "turnpike-projector", "turnpike"]
# The longest stage is the build and run of all tests on two cores; longer means that it hangs.
STAGE_SECONDS = 40 * 60
# The exit status of a stage that hung, as `timeout` of coreutils has it.
TIMED_OUT = 124


def of_each(crates):
    return [word for crate in crates for word in ("-p", crate)]


def pytest(folder):
    return [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]


# 2,000 lives need a quarter of an hour of two cores without the optimiser. With it they need two and a
# half minutes, and our own crates are built once more, in as long; what they depend on is optimised
# already.
LIVES = "lives_keep_the_invariants"
OPTIMISED_LIVES = [
    *["env", "SIM_LIVES=2000", "cargo", "test", "--config", "profile.dev.opt-level=1"],
    *["-p", "turnpike-tests", "--test", "sim", "--", LIVES],
]

# A name, how it is counted, the command.
STAGES = [
    ("fmt", tally.check, ["cargo", "fmt", "--all", "--check"]),
    ("clippy", tally.check, ["cargo", "clippy", *EVERYTHING, "--", "-Dwarnings"]),
    ("fdb", tally.check, ["cargo", "check", *of_each(FDB_CRATES), "--features", "fdb"]),
    # The clients and the end-to-end tests start the real binaries.
    ("build", tally.check, ["cargo", "build", "--workspace", "--bins"]),
    ("cargo", tally.cargo, ["cargo", "test", "--workspace", "--no-fail-fast", "--", "--skip", LIVES]),
    ("lives", tally.cargo, OPTIMISED_LIVES),
    ("scripts", tally.pytest, pytest("scripts")),
    ("clients", tally.pytest, pytest("tests/clients")),
]


def environment():
    """Without colours, so that the output can be read; with the libclang of PyPI."""
    found = dict(os.environ, CARGO_TERM_COLOR="never", NO_COLOR="1", PYTHONDONTWRITEBYTECODE="1")
    wheels = glob.glob(str(ROOT / ".venv/lib/python3*/site-packages/clang/native"))
    if wheels and "LIBCLANG_PATH" not in found:
        found["LIBCLANG_PATH"] = wheels[0]
        # The wheel has no headers of its own; the C compiler's do.
        headers = subprocess.run(
            ["cc", "-print-file-name=include"], capture_output=True, text=True, check=True
        )
        found["BINDGEN_EXTRA_CLANG_ARGS"] = f"-isystem {headers.stdout.strip()}"
    return found


def run(command, variables):
    """The command's output, shown as it comes, and its exit status."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines = []
    reader = threading.Thread(target=echo, args=(process.stdout, lines))
    reader.start()
    try:
        status = process.wait(STAGE_SECONDS)
    except subprocess.TimeoutExpired:
        status = TIMED_OUT
    end_session(process.pid)
    process.wait()
    reader.join()
    return "".join(lines), status


def echo(pipe, lines):
    with pipe:
        for line in pipe:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)


def end_session(pid):
    """Ends what a test left running: it would keep the pipe open for ever."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main(names):
    unknown = set(names) - {name for name, _, _ in STAGES}
    if unknown:
        sys.exit(f"no such stage: {', '.join(sorted(unknown))}")
    variables = environment()
    total, told = Count(), []
    for name, count, command in STAGES:
        if names and name not in names:
            continue
        print(f"\n=== {name}: {' '.join(command)}", flush=True)
        found = count(*run(command, variables))
        total = total.plus(found)
        told.append(f"{name:10} {found.line()}")
    print("\n" + "\n".join(told))
    print(total.line(), flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
