"""A load balancer as most are: it asks now and then who is ready, and sends connections only there."""

import socket
import threading

import requests

from cut import PIECE_BYTES, each_connection

# Nobody takes longer to begin an answer here; streams are not silent for so long.
SILENCE_SECONDS = 60


class Balancer:
    """Listens on a port of its own; each connection goes to the next one that was ready last time."""

    def __init__(self, look_seconds):
        self.look_seconds = look_seconds
        self.behind, self.up, self.turn = [], [], 0
        self.refused, self.closing = [], threading.Event()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._look, daemon=True).start()
        work = (self.listener, self._forward)
        threading.Thread(target=each_connection, args=work, daemon=True).start()

    def add(self, process):
        """One more process to send to, once it is ready; it has a `port` and an `admin_port`."""
        self.behind = [*self.behind, process]

    def sends_to(self, process):
        return process in self.up

    def close(self):
        self.closing.set()
        self.listener.close()

    def _look(self):
        while not self.closing.wait(self.look_seconds):
            self.up = [each for each in self.behind if self._is_ready(each)]

    def _is_ready(self, process):
        try:
            url = f"http://127.0.0.1:{process.admin_port}/healthz/ready"
            return requests.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def _forward(self, near):
        with self.lock:
            self.turn += 1
            up = list(self.up)
        process = up[self.turn % len(up)] if up else None
        try:
            far = socket.create_connection(("127.0.0.1", process.port), timeout=SILENCE_SECONDS)
        except (OSError, AttributeError) as error:
            self.refused.append(f"{process and process.name}: {error!r}")
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
