"""Ports of tests: none that the kernel gives to a connection, none twice, none of another run's."""

import fcntl
import os
import random
import socket
import tempfile
import threading
from pathlib import Path

# Connections that nobody gave a port get one between these two, also that of a process which is
# down for a moment; so do listeners that ask for any.
KERNELS_OWN = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Below are services that people run.
FIRST, LAST = 12_000, 65_535
# Ports are held by the block, with one lock: a run takes more of them than it may open files.
BLOCK_PORTS = 32
# What the whole of the tests needs, and another run beside it.
LEAST_PORTS = 4_096


def blocks_outside(low, high):
    """Where blocks begin that the kernel leaves alone; all of them, where it leaves too few."""
    every = range(FIRST, LAST - BLOCK_PORTS + 2, BLOCK_PORTS)
    outside = [begin for begin in every if begin + BLOCK_PORTS <= low or begin > high]
    return outside if len(outside) * BLOCK_PORTS >= LEAST_PORTS else list(every)


def is_free(port):
    """Whether nobody has the port, on any address of this machine."""
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


class Ports:
    """The ports of one process; as long as it lives, no other one is given them."""

    def __init__(self, folder, low, high):
        self.folder, self.blocks = folder, blocks_outside(low, high)
        # Runs that do not share a folder begin at different blocks.
        random.SystemRandom().shuffle(self.blocks)
        self.left, self.held, self.lock = [], [], threading.Lock()
        folder.mkdir(exist_ok=True)

    def take(self):
        with self.lock:
            while True:
                while not self.left:
                    self.left = self._block()
                port = self.left.pop()
                if is_free(port):
                    return port

    def _block(self):
        assert self.blocks, "every port was handed out: who takes so many?"
        begin = self.blocks.pop()
        held = open(self.folder / str(begin), "w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return []
        self.held.append(held)
        return list(range(begin, begin + BLOCK_PORTS))


# The servers of the Rust tests (tests/harness/ports.rs) take theirs from the same folder.
FOLDER = Path(tempfile.gettempdir()) / f"turnpike-ports-{os.getuid()}"
OWN = Ports(FOLDER, *map(int, KERNELS_OWN.read_text().split()))


def free_port():
    """A port for a process that is started now, ended, and started again."""
    return OWN.take()


def listener(**how):
    """A socket that listens on such a port."""
    return socket.create_server(("127.0.0.1", free_port()), **how)
