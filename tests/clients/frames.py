"""HTTP/2 frame by frame, with headers that no client library would send."""

import socket

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ANSWER_SECONDS = 10


class Connection:
    """One connection; streams are opened by number."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self.encoder, self.decoder, self.came = Encoder(), Decoder(), b""
        self.socket.sendall(PREFACE + SettingsFrame(0).serialize())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def open(self, stream, headers, content=None, trailers=None):
        """Sends the head of a request, its content and its trailers."""
        frame = HeadersFrame(stream, self.encoder.encode(headers), flags=["END_HEADERS"])
        if content is None:
            frame.flags.add("END_STREAM")
        sent = frame.serialize()
        if content is not None:
            data = DataFrame(stream, content)
            if trailers is None:
                data.flags.add("END_STREAM")
            sent += data.serialize()
        if trailers is not None:
            end = HeadersFrame(
                stream, self.encoder.encode(trailers), flags=["END_HEADERS", "END_STREAM"]
            )
            sent += end.serialize()
        self.socket.sendall(sent)

    def reset(self, stream):
        self.socket.sendall(RstStreamFrame(stream, error_code=8).serialize())

    def frame(self):
        """The next frame; None once the other side has closed."""
        while True:
            if len(self.came) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.came[:9]))
                if len(self.came) >= 9 + length:
                    frame.parse_body(memoryview(self.came[9 : 9 + length]))
                    self.came = self.came[9 + length :]
                    return frame
            piece = self.socket.recv(65536)
            if not piece:
                return None
            self.came += piece

    def status(self, stream):
        """The status of a stream's answer; None if it was reset or the connection has ended."""
        found = None
        try:
            while (frame := self.frame()) is not None:
                if isinstance(frame, GoAwayFrame) and frame.error_code:
                    return found
                if frame.stream_id != stream:
                    continue
                if isinstance(frame, RstStreamFrame):
                    return found
                if isinstance(frame, HeadersFrame):
                    headers = dict(self.decoder.decode(frame.data))
                    found = int(headers.get(":status", found or 0))
                if "END_STREAM" in frame.flags:
                    return found
        except (ConnectionError, TimeoutError):
            pass
        return found


def headers_of(key, content, path="/v1/chat/completions"):
    """The headers of a request as they should be."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gateway"),
        (":path", path),
        ("authorization", f"Bearer {key}"),
        ("content-type", "application/json"),
        ("content-length", str(len(content))),
    ]


def send(port, headers, content, trailers=None):
    """One request on a connection of its own; its status, or None if it was not answered."""
    with Connection(port) as connection:
        try:
            connection.open(1, headers, content, trailers)
        except ConnectionError:
            return None
        return connection.status(1)


def ask(port, key, content):
    return send(port, headers_of(key, content), content)


def corpus(key, plain, hidden):
    """Name, headers and content of requests that a proxy to HTTP/1.1 could split or mistake."""
    good = headers_of(key, plain)

    def with_(*more, without=()):
        return [pair for pair in good if pair[0] not in without] + list(more)

    yield "as it should be", good, plain
    yield "without a length", with_(without=("content-length",)), plain
    yield "a length too small", with_(("content-length", "5"), without=("content-length",)), plain
    yield "a length too large", with_(("content-length", "5000"), without=("content-length",)), plain
    yield "two lengths", with_(("content-length", "0")), plain + hidden
    yield "chunks", with_(("transfer-encoding", "chunked")), b"0\r\n\r\n" + hidden
    yield "a connection header", with_(("connection", "keep-alive")), plain
    yield "te of HTTP/1.1", with_(("te", "chunked")), plain
    yield "upgrade", with_(("upgrade", "h2c")), plain
    yield "a name in capitals", with_(("X-Upper", "a")), plain
    yield "a line in a value", with_(("x", "a\r\ntransfer-encoding: chunked")), plain
    yield "a line in a name", with_(("x\r\ntransfer-encoding", "chunked")), plain
    yield "a colon in a name", with_(("x: y", "z")), plain
    yield "a space in a name", with_(("x y", "z")), plain
    yield "an empty name", with_(("", "z")), plain
    yield "a NUL in a value", with_(("x", "a\0b")), plain
    paths = ("/v1/chat/completions HTTP/1.1\r\nx: y", "/v1/chat completions", "*", "", "v1/models", "//x")
    for path in paths:
        yield f"path {path!r}", [*headers_of(key, plain, path)], plain
    yield "two paths", with_((":path", "/v1/models")), plain
    yield "no path", with_(without=(":path",)), plain
    yield "no method", with_(without=(":method",)), plain
    yield "a method with a line", [(":method", "GET / HTTP/1.1\r\nx: y"), *good[1:]], plain
    yield "an unknown pseudo header", [(":x", "y"), *good], plain
    yield "a pseudo header behind", with_((":scheme", "http"), without=(":scheme",)), plain
    yield "a host that differs", with_(("host", "other")), plain
    yield "an authority with a line", with_((":authority", "a\r\nb: c"), without=(":authority",)), plain
    yield "two credentials", with_(("authorization", "Bearer sk-tp-other")), plain
    yield "a cookie", with_(("cookie", "a=b")), plain
