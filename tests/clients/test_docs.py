"""Every option, every code and every event stands in the book; its links lead somewhere."""

import os
import re
import subprocess
import tomllib
import zlib
from pathlib import Path

import pytest

from house import ROOT, TARGET

DOCS = ROOT / "docs"
KEY = "00" * 32
# A join token but for its checksum: a check asks no control plane whether it knows the token.
UNSIGNED = "gk-tp-" + "0" * 59
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What a service does not start without.
NEEDED = {
    "turnpike-control-plane": {
        "TURNPIKE_KEYS_PEPPERS": f"1:{KEY}",
        "TURNPIKE_KEYS_PROVIDER_SEALING": f"1:{KEY}",
        "TURNPIKE_KEYS_VAULT_SEALING": f"1:{KEY}",
        "TURNPIKE_KEYS_SIGNING": f"1:{KEY}",
    },
    "turnpike-projector": {},
    "turnpike-gateway": {
        "TURNPIKE_CONTROL_URL": "http://127.0.0.1:7070",
        "TURNPIKE_KEYS_PEPPERS": f"1:{KEY}",
        "TURNPIKE_KEYS_PROVIDER_SEALING": f"1:{KEY}",
    },
}
HEADINGS = {
    "turnpike-control-plane": "### Control plane",
    "turnpike-projector": "### Projector",
    "turnpike-gateway": "### Gateway",
}


def page(name):
    return (DOCS / name).read_text()


def join_token():
    """A well-formed join token: the checksum is the CRC-32 in base 62."""
    number, digits = zlib.crc32(UNSIGNED.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return UNSIGNED + digits


def options(service):
    """The options that `--check-config` prints: name and default."""
    environment = {"PATH": os.environ["PATH"], **NEEDED[service]}
    if service == "turnpike-gateway":
        environment["TURNPIKE_CONTROL_JOIN_TOKEN"] = join_token()
    done = subprocess.run(
        [TARGET / service, "--check-config"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for name, value in tomllib.loads(done.stdout).items():
        if isinstance(value, dict):
            yield from ((f"{name}.{below}", default) for below, default in value.items())
        else:
            yield name, value


def section(text, heading):
    """The text below a heading, up to the next one."""
    below = text.split(f"{heading}\n", 1)[1]
    return re.split(r"^#{1,3} ", below, maxsplit=1, flags=re.MULTILINE)[0]


def shown(default):
    """A default as the book writes it."""
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize("service", NEEDED)
def test_every_option_stands_in_the_book_with_its_default(service):
    table = section(page("operate/run.md"), HEADINGS[service])
    given = {name.removeprefix("TURNPIKE_") for name in NEEDED[service]} | {"CONTROL_JOIN_TOKEN"}
    for name, default in options(service):
        variable = name.replace(".", "_").upper()
        rows = [row for row in table.splitlines() if f"`{name}`" in row]
        assert len(rows) == 1, f"{service}: {name} stands in {len(rows)} rows"
        assert f"`TURNPIKE_{variable}`" in rows[0], rows[0]
        if variable not in given and default != "":
            assert f"`{shown(default)}`" in rows[0], f"{service}: {name} is {default}: {rows[0]}"


def test_every_option_of_the_book_exists():
    text = page("operate/run.md")
    for service, heading in HEADINGS.items():
        known = {name.replace(".", "_").upper() for name, _ in options(service)}
        told = set(re.findall(r"`TURNPIKE_([A-Z_]+)`", section(text, heading)))
        assert told == known, service


def codes(source, arm):
    """The codes that the arms of a `match` give."""
    return set(re.findall(arm, (ROOT / source).read_text()))


def test_every_code_of_a_gateway_stands_in_the_book():
    table = section(page("use/errors.md"), "## From a gateway")
    known = codes("shared/domain/src/admit.rs", r'Self::\w+ => "([a-z_]+)"')
    assert len(known) > 20
    assert set(re.findall(r"\| `([a-z_]+)` \|", table)) == known


def test_every_code_of_the_management_api_stands_in_the_book():
    table = section(page("use/errors.md"), "## From the management API")
    known = codes("services/control-plane/src/problem.rs", r'StatusCode::\w+,\s*"([a-z_]+)"')
    assert len(known) > 15
    assert set(re.findall(r"\| `([a-z_]+)` \|", table)) == known


def test_every_event_stands_in_the_book():
    table = section(page("events.md"), "## The events")
    known = {path.name.split(".")[0] for path in (ROOT / "schemas/golden").glob("*.cbor")}
    told = set(re.findall(r"`([A-Z]\w+)`", table))
    assert told == known


def anchor(heading):
    """The name that a heading gets where the book is shown."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.name))
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, fragment = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{path}: {link}"
        if fragment and there.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", there.read_text(), flags=re.MULTILINE)
            assert fragment in map(anchor, headings), f"{path}: {link}"
