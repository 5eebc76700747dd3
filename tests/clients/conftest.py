"""What the tests share: one desk for all official SDKs, a witness; the figures, said at the end."""

import pytest

import figures
from desk import Desk
from witness import Witness


@pytest.fixture(scope="session")
def desk():
    opened = Desk()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def witness():
    opened = Witness()
    yield opened
    opened.close()


def pytest_collection_modifyitems(items):
    """Puts the tests at the desk last: while others measure, it is not open. Among them those of rates:
    the authority of a new house permits nothing for a minute where it cannot know what was permitted."""
    items.sort(key=lambda item: ("desk" in item.fixturenames, "rate_limited" in item.name))


def pytest_terminal_summary(terminalreporter):
    if figures.LINES:
        terminalreporter.section("figures")
        for line in figures.LINES:
            terminalreporter.write_line(line)
