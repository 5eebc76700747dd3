"""Bytes on sockets, as no client library would send them, and a provider that keeps what it got."""

import json
import socket
import threading

import ports

# An answer that is due and does not come in this time does not come.
ANSWER_SECONDS = 10
# After what was due, this long without a byte is the end.
SILENCE_SECONDS = 0.3
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "echo-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()


def body(text="hello", **fields):
    """A chat completion request."""
    request = {"model": "echo-1", "messages": [{"role": "user", "content": text}], "max_tokens": 5}
    return json.dumps({**request, **fields}).encode()


def head(key, line="POST /v1/chat/completions HTTP/1.1", *more):
    """The head of a request, without a length."""
    lines = [line, "Host: gateway", f"Authorization: Bearer {key}", "Content-Type: application/json"]
    return "\r\n".join([*lines, *more]).encode()


def whole(key, content, *more):
    """A request as it should be."""
    return head(key, "POST /v1/chat/completions HTTP/1.1", f"Content-Length: {len(content)}", *more) + (
        b"\r\n\r\n" + content
    )


def exchange(port, sent, answers=0, seconds=ANSWER_SECONDS):
    """Sends bytes and reads so many answers, then on until the other side closes or falls silent."""
    came = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        try:
            connection.sendall(sent)
            while True:
                enough = len(statuses(bytes(came))) >= answers
                connection.settimeout(SILENCE_SECONDS if enough else seconds)
                piece = connection.recv(65536)
                if not piece:
                    break
                came += piece
        except (ConnectionError, TimeoutError):
            pass  # What had come until then counts.
    return bytes(came)


def statuses(came):
    """The statuses of all answers in a row, read by their lengths."""
    found = []
    while b"\r\n\r\n" in came:
        top, _, rest = came.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), came[:200]
        status = int(lines[0].split(" ")[1])
        if status >= 200:
            found.append(status)
        headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])}
        came = rest[int(headers.get("content-length", 0)) :]
    return found


class Recorder:
    """A provider that reads strictly and keeps every request that it got, head and body."""

    def __init__(self):
        self.socket = ports.listener()
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests, self.faults, self.lock = [], [], threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def count(self):
        with self.lock:
            return len(self.requests)

    def since(self, number):
        with self.lock:
            return self.requests[number:]

    def _accept(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        came = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in came:
                    piece = connection.recv(65536)
                    if not piece:
                        if came:
                            self._fault(came)
                        return
                    came += piece
                top, _, came = came.partition(b"\r\n\r\n")
                lengths = [
                    line.split(b":")[1].strip()
                    for line in top.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                if len(lengths) != 1 or not lengths[0].isdigit() or b"transfer-encoding" in top.lower():
                    self._fault(top)
                    return
                while len(came) < int(lengths[0]):
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    came += piece
                content, came = came[: int(lengths[0])], came[int(lengths[0]) :]
                with self.lock:
                    self.requests.append((top, content))
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(ANSWER), ANSWER)
                )

    def _fault(self, came):
        with self.lock:
            self.faults.append(came)
