"""A load balancer as most are: it asks now and then who is ready, and sends connections only there."""

import socket
import threading
import time

import requests

import ports
from cut import PIECE_BYTES, each_connection

# Nobody takes longer to begin an answer here; streams are not silent for so long.
SILENCE_SECONDS = 60


class Balancer:
    """Listens on a port of its own; each connection goes to the next one that was ready last time.

    Where it knows of nobody's end because it had no turn to look for as long as the notice lasts, it is
    the machine that was late, and not they: it looks once more, and counts that in `late`."""

    def __init__(self, look_seconds, notice_seconds):
        self.look_seconds, self.notice_seconds = look_seconds, notice_seconds
        self.behind, self.up, self.turn = [], [], 0
        # By process: when the last look that was answered was begun.
        self.looked = {}
        self.refused, self.late, self.closing = [], 0, threading.Event()
        self.lock = threading.Lock()
        self.listener = ports.listener(backlog=512)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        work = (self.listener, self._forward)
        threading.Thread(target=each_connection, args=work, daemon=True).start()

    def add(self, process):
        """One more process to send to, once it is ready; it has a `port` and an `admin_port`."""
        self.behind = [*self.behind, process]
        if process not in self.looked:
            self.looked[process] = 0
            threading.Thread(target=self._look, args=(process,), daemon=True).start()

    def sends_to(self, process):
        return process in self.up

    def close(self):
        self.closing.set()
        self.listener.close()

    def _look(self, process):
        while not self.closing.wait(self.look_seconds):
            began = time.monotonic()
            ready = process in self.behind and self._is_ready(process)
            with self.lock:
                ups = {*self.up, process} if ready else {*self.up} - {process}
                self.up = [each for each in self.behind if each in ups]
                self.looked[process] = began

    def _is_ready(self, process):
        try:
            url = f"http://127.0.0.1:{process.admin_port}/healthz/ready"
            return requests.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def _next(self):
        """Who is the next, and since when that may be another."""
        with self.lock:
            self.turn += 1
            process = self.up[self.turn % len(self.up)] if self.up else None
            return process, self.looked.get(process, 0)

    def _reach(self):
        """A connection to the next one."""
        while True:
            process, looked = self._next()
            try:
                return socket.create_connection(("127.0.0.1", process.port), timeout=SILENCE_SECONDS)
            except (OSError, AttributeError) as error:
                known_seconds = time.monotonic() - looked
                if process is None or known_seconds < self.notice_seconds:
                    self.refused.append(f"{process and process.name}: {error!r}, {known_seconds:.1f} s")
                    return None
                with self.lock:
                    self.late += 1
                    self.up = [each for each in self.up if each is not process]

    def _forward(self, near):
        far = self._reach()
        if far is None:
            near.close()
            return
        for end in (near, far):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._copy, args=(near, far), daemon=True).start()
        self._copy(far, near)

    def _copy(self, source, sink):
        try:
            while piece := source.recv(PIECE_BYTES):
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
