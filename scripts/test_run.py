"""Tests of running a stage: what it printed, how it ended, what it left behind."""

import os
import sys

import run


def stage(code):
    return run.run([sys.executable, "-c", code], dict(os.environ))


def test_output_and_status_are_kept(capsys):
    code = "import os; os.write(1, b'out\\n'); os.write(2, b'err\\n'); os._exit(3)"
    assert stage(code) == ("out\nerr\n", 3)
    assert capsys.readouterr().out == "out\nerr\n"


def test_a_stage_has_no_input():
    assert stage("import sys; print(repr(sys.stdin.read()))") == ("''\n", 0)


def test_what_a_stage_left_running_is_ended():
    code = "import subprocess; subprocess.Popen(['sleep', '600']); print('done')"
    assert stage(code) == ("done\n", 0)


def test_a_stage_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(run, "STAGE_SECONDS", 0.2)
    assert stage("import time; time.sleep(600)") == ("", run.TIMED_OUT)
