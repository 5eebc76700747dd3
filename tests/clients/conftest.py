"""Says the figures of the tests at the end of each run, passed or not."""

import figures


def pytest_terminal_summary(terminalreporter):
    if figures.LINES:
        terminalreporter.section("figures")
        for line in figures.LINES:
            terminalreporter.write_line(line)
