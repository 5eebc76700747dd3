"""What a machine with more to do than it has cores withholds from processes, as its kernel counts it."""

import glob
import threading
import time
from collections import namedtuple

# How often it is looked: finer than any bound that is judged by it.
LOOK_SECONDS = 0.1

# When, and by process and thread: how many seconds it was ready to run and was not let.
Look = namedtuple("Look", "at chain ends")


class Withheld:
    """Watches a chain of work that goes through all processes of one list, and one of another."""

    def __init__(self, chain, ends):
        """Both give their process ids: who starts again has another."""
        self.chain, self.ends = chain, ends
        self.looks, self.stopping = [], threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._note()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def seconds(self, began, ended):
        """What was withheld from the chain between two times of day, from each process as from that of
        its threads which waited the longest; 0 where the kernel does not count."""
        first = next((look for look in reversed(self.looks) if look.at <= began), None)
        last = next((look for look in self.looks if look.at >= ended), None)
        if first is None or last is None:
            return 0

        def most(then, now, pid):
            since = (told - then.get(pid, {}).get(thread, 0) for thread, told in now[pid].items())
            return min(max(since, default=0), ended - began)

        chain = sum(most(first.chain, last.chain, pid) for pid in last.chain)
        return chain + max((most(first.ends, last.ends, pid) for pid in last.ends), default=0)

    def mostly(self, began, ended):
        """Whether somebody who waited for that time has waited for the machine most of it."""
        return self.seconds(began, ended) * 2 > ended - began

    def _look(self):
        while not self.stopping.wait(LOOK_SECONDS):
            self._note()
        self._note()

    def _note(self):
        at = time.time()
        chain, ends = ({pid: waits(pid) for pid in pids()} for pids in (self.chain, self.ends))
        self.looks.append(Look(at, chain, ends))


def of_requests(house):
    """Watches those that a request may wait for."""
    chain = lambda: [each.child.pid for each in (house.nats, house.projector, house.echo)]  # noqa: E731
    return Withheld(chain, lambda: [each.child.pid for each in house.gateways])


def waits(pid):
    """Seconds by thread of a process."""
    found = {}
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path) as file:
                found[path] = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            pass  # It has ended, or is not counted.
    return found
