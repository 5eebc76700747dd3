"""A process that cannot start ends with 1 and says in one line what it needs, also with RUST_BACKTRACE."""

import pytest

from house import House
from process import START_SECONDS, TAIL_LINES, Process

LISTENS = "cannot listen on {taken} (option {option}): Address already in use"
STORE = "the store cannot be opened (option store): "
NOT_THERE = "Not a directory"

# Who, the option and what it is set to, what is said. `{file}` is no folder.
CASES = [
    ("control-plane", "listen", "{taken}", [LISTENS]),
    ("control-plane", "admin_listen", "{taken}", [LISTENS]),
    ("control-plane", "store", "redb:{file}/store", [STORE, "{file}", NOT_THERE]),
    ("control-plane", "first_start.write_to", "{file}/first", ["(option first_start.write_to): ", NOT_THERE]),
    ("projector", "admin_listen", "{taken}", [LISTENS]),
    ("projector", "store", "redb:{file}/store", [STORE, "{file}", NOT_THERE]),
    ("gateway", "admin", "{taken}", [LISTENS]),
    ("gateway", "serve.listen", "{taken}", [LISTENS]),
    ("gateway", "data", "{file}/data", ["{file}/data cannot be used (option data): ", NOT_THERE]),
    ("gateway", "data", "{folder}/gateway-0", ["another gateway is using this folder"]),
]
BAD_OPTIONS = [
    ("control-plane", "drain_ms", "soon"),
    ("control-plane", "store", "postgres:5432"),
    ("projector", "admin_listen", "everywhere"),
    ("gateway", "cores", "many"),
]


@pytest.fixture(scope="module")
def house():
    with House(gateways=1) as running:
        yield running


def process_of(house, service):
    """A process of its own, with nothing wrong with it."""
    if service == "gateway":
        return house._gateway(1)
    return house.second_control() if service == "control-plane" else house._projector()


def end_of(house, service, option, value):
    """What a process says last that begins with an option set to a value, and its exit code."""
    process = process_of(house, service)
    process.log = house.folder / "no-start.log"
    process.log.unlink(missing_ok=True)
    if option == "store":
        process.command[process.command.index("--store") + 1] = value
    else:
        # The command line wins over the variables, which are the house's.
        process.command += ["--set", f"{option}={value}"]
    try:
        status = process.start(wait=False).child.wait(START_SECONDS)
    finally:
        process.kill()
    return process.log.read_text(), status


@pytest.mark.parametrize(("service", "option", "value", "said"), CASES)
def test_what_is_in_the_way_is_told_in_one_line(house, service, option, value, said):
    names = {
        "taken": f"127.0.0.1:{house.control.port}",
        "file": house.control.log,
        "folder": house.folder,
        "option": option,
    }
    log, status = end_of(house, service, option, value.format(**names))
    assert status == 1, log
    last = log.splitlines()[-1]
    assert " ERROR " in last and "backtrace" not in log, log
    for part in said:
        assert part.format(**names) in last, log


@pytest.mark.parametrize(("service", "option", "value"), BAD_OPTIONS)
def test_mistakes_in_options_are_told_before_anything_is_begun(house, service, option, value):
    log, status = end_of(house, service, option, value)
    first, *mistakes = log.splitlines()
    assert (status, first) == (1, "the configuration has mistakes:"), log
    assert len(mistakes) == 1 and mistakes[0].startswith(f"  {option} "), log


def test_of_a_long_log_the_end_is_told_and_the_error_before_it(tmp_path):
    process = Process("one", [], {}, tmp_path, None)
    assert process.tail() == ""
    said = ["1 INFO a: one", "2 ERROR a: two", *(f"3 INFO a: {number}" for number in range(TAIL_LINES))]
    process.log.write_text("\n".join(said))
    assert process.tail().splitlines() == said[1:]
    process.log.write_text("\n".join(said[:-1]))
    assert process.tail().splitlines() == said[1:-1]
