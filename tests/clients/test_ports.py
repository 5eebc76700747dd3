"""Ports of tests are their own: outside the kernel's, each once, also for two runs side by side."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import ports

HERE = Path(__file__).parent
# A listener that takes whatever port there is, or one that only looks for it.
ASKS_THE_KERNEL = re.compile(r"(bind|create_server|start_server|Server)\(.*, 0\)")
# More than the houses of all tests have.
MANY = 2_000
TAKE = f"import ports; print(*(ports.free_port() for _ in range({MANY})), flush=True); input()"


def outside(low, high):
    return {
        port for begin in ports.blocks_outside(low, high) for port in range(begin, begin + ports.BLOCK_PORTS)
    }


def test_runs_side_by_side_have_no_port_in_common_and_none_of_the_kernels():
    low, high = map(int, ports.KERNELS_OWN.read_text().split())
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", TAKE]
    runs = [subprocess.Popen(command, cwd=HERE, **pipes) for _ in range(2)]
    try:
        taken = [int(port) for run in runs for port in run.stdout.readline().split()]
        taken += [ports.free_port() for _ in range(MANY // 10)]
    finally:
        for run in runs:
            run.communicate("\n")
    assert len(taken) == len(set(taken)) == 2 * MANY + MANY // 10
    if ports.FIRST + ports.LEAST_PORTS + ports.BLOCK_PORTS <= low:
        assert not [port for port in taken if low <= port <= high]


def test_the_kernels_own_range_is_left_to_it_wherever_it_lies():
    assert outside(32_768, 60_999) == {*range(12_000, 32_768), *range(61_024, 65_536)}
    assert outside(10_000, 40_000) == {*range(40_032, 65_536)}
    assert outside(40_000, 65_535) == {*range(12_000, 40_000)}
    # Nothing is left, or too little: then the look at each port has to be enough.
    for low, high in [(1_024, 65_535), (14_000, 65_535)]:
        assert len(outside(low, high)) > 50_000


def test_a_port_that_somebody_has_is_passed_over():
    own = ports.Ports(ports.FOLDER, 32_768, 60_999)
    first, second = own.take(), own.take()
    own.left += [first, second]
    with socket.create_server(("127.0.0.1", second)):
        assert own.take() == first
    # Another run finds the block taken, though nobody listens there.
    other = ports.Ports(ports.FOLDER, 32_768, 60_999)
    other.blocks.append(first // ports.BLOCK_PORTS * ports.BLOCK_PORTS)
    assert other.take() // ports.BLOCK_PORTS != first // ports.BLOCK_PORTS


def test_no_listener_of_the_tests_asks_the_kernel_for_a_port():
    assert ASKS_THE_KERNEL.search('socket.create_server(("127.0.0.1", 0), backlog=5)')
    files = {*HERE.glob("*.py"), *(HERE.parents[1] / "scripts").glob("*.py")} - {Path(__file__)}
    assert [file.name for file in files if ASKS_THE_KERNEL.search(file.read_text())] == []
