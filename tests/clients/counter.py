"""A proxy before a gateway that counts the requests of a client: the number of its tries."""

import re
import socket
import threading
from collections import namedtuple

import ports

PIECE_BYTES = 65536
# Longer than any answer of these tests takes.
ANSWER_SECONDS = 60

# One request: what was asked, the headers in small letters, the status and the name of the answer.
Seen = namedtuple("Seen", "method path headers status request")
NAME = re.compile(rb"\r\nx-turnpike-request-id: (\S+)\r\n", re.IGNORECASE)


class Counter:
    """Listens on a port of its own; every request goes on over a connection of its own."""

    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        # Whether bodies are kept back until the gateway answers.
        self.keeps_bodies = False
        self.all, self.taken = [], 0
        self.listener = ports.listener()
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self):
        """What was seen since the last time."""
        seen = self.all[self.taken :]
        self.taken += len(seen)
        return seen

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            near.settimeout(ANSWER_SECONDS)
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        with near, near.makefile("rb") as reading:
            try:
                request = self._head(reading)
                if request:
                    self._forward(near, reading, *request)
            except OSError:
                pass

    def _head(self, reading):
        first = reading.readline().decode().split()
        if len(first) != 3:
            return None
        headers = {}
        while (line := reading.readline().decode().strip()) != "":
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        return first[0], first[1], headers

    def _forward(self, near, reading, method, path, headers):
        # The answer ends with its connection, so that nothing of it has to be understood.
        passed = {**headers, "connection": "close"}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {passed[name]}" for name in passed)]
        with socket.create_connection(self.target, ANSWER_SECONDS) as far:
            far.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            sending = threading.Thread(target=self._send_body, args=(reading, far, headers))
            if not self.keeps_bodies:
                sending.start()
            piece = far.recv(PIECE_BYTES)
            status = int(piece.split(b" ", 2)[1]) if piece else None
            name = NAME.search(piece)
            request = name and name[1].decode()
            self.all.append(Seen(method, path, headers, status, request))
            while piece:
                near.sendall(piece)
                piece = far.recv(PIECE_BYTES)

    def _send_body(self, reading, far, headers):
        try:
            if headers.get("transfer-encoding") == "chunked":
                self._send_chunks(reading, far)
            else:
                self._send(reading, far, int(headers.get("content-length", 0)))
        except OSError:
            pass

    def _send_chunks(self, reading, far):
        while line := reading.readline():
            far.sendall(line)
            size = int(line, 16)
            self._send(reading, far, size + len(b"\r\n"))
            if size == 0:
                return

    def _send(self, reading, far, size):
        while size > 0 and (piece := reading.read1(min(size, PIECE_BYTES))):
            far.sendall(piece)
            size -= len(piece)
