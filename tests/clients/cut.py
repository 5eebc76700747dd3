"""A wire that can be cut, or be slow: forwards TCP on loopback as it is told."""

import socket
import threading
import time

import ports

PIECE_BYTES = 65536


def each_connection(listener, forward):
    """Hands each connection to a thread of its own, until the listener is closed."""
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=forward, args=(near,), daemon=True).start()


class Wire:
    """Listens on a port of its own and forwards to another; `cut` ends and refuses connections."""

    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        self.whole = True
        # How long each piece of an answer is on its way.
        self.delay_seconds = 0
        self.open, self.lock = set(), threading.Lock()
        self.listener = ports.listener()
        self.port = self.listener.getsockname()[1]
        work = (self.listener, self._forward)
        threading.Thread(target=each_connection, args=work, daemon=True).start()

    def cut(self):
        with self.lock:
            self.whole = False
            ends = list(self.open)
        for end in ends:
            self._end(end)

    def heal(self):
        with self.lock:
            self.whole = True

    def close(self):
        self.cut()
        self.listener.close()

    def _forward(self, near):
        try:
            far = socket.create_connection(self.target, timeout=5)
            far.settimeout(None)
        except OSError:
            near.close()
            return
        with self.lock:
            self.open |= {near, far}
            whole = self.whole
        if not whole:
            self._end(near)
            self._end(far)
            return
        threading.Thread(target=self._copy, args=(near, far, lambda: None), daemon=True).start()
        self._copy(far, near, lambda: time.sleep(self.delay_seconds))

    def _copy(self, source, sink, wait):
        try:
            while piece := source.recv(PIECE_BYTES):
                wait()
                sink.sendall(piece)
        except OSError:
            pass
        self._end(source)
        self._end(sink)

    def _end(self, end):
        with self.lock:
            self.open.discard(end)
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()
