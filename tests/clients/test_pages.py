"""What the pages of the SDKs show is what happens: each example is run against a gateway."""

import re
import shutil
import subprocess
import sys

import pytest

from house import ROOT
from javascript import NODE, PROGRAMS

PAGES = ["openai", "anthropic", "google"]
EXAMPLE = re.compile(r"```(python|javascript|shell)\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
COMMANDS = {
    "python": [sys.executable, "-"],
    # Where Node finds the SDKs.
    "javascript": [NODE, "--input-type=module", "-"],
    "shell": ["bash", "-"],
}


def examples(page):
    return EXAMPLE.findall((ROOT / f"docs/use/{page}.md").read_text())


@pytest.mark.parametrize("page", PAGES)
def test_examples_give_what_they_say(desk, page):
    found = examples(page)
    assert [language for language, _, _ in found] == ["python", "javascript", "shell"]
    for language, program, said in found:
        if language == "shell" and not shutil.which("curl"):
            continue
        program = program.replace("http://127.0.0.1:7080", desk.url()).replace("sk-tp-…", desk.secret())
        done = subprocess.run(
            COMMANDS[language],
            cwd=PROGRAMS,
            input=program,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == said.strip(), language
