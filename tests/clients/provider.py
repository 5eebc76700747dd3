"""A scripted OpenAI-compatible provider: answers as it is told to, counts what it did, knows TLS."""

import json
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ports import free_port

# What every answer reports: two tokens of input and one of output.
USAGE = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "model": "m"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The head and the body of an answer are two writings.
    disable_nagle_algorithm = True

    def do_POST(self):
        provider = self.server.provider
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with provider.lock:
            provider.calls += 1
            provider.running += 1
            provider.most_at_once = max(provider.most_at_once, provider.running)
        self.runs = True
        try:
            provider.act(self, body)
        finally:
            self.done()

    def done(self):
        """It no longer runs: said before the answer is read, which makes room for another."""
        provider = self.server.provider
        with provider.lock:
            provider.running -= self.runs
        self.runs = False

    def answer(self, status, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def well(self):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
        whole = {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE}
        text = json.dumps(whole).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.done()
        self.wfile.write(text)
        with self.server.provider.lock:
            self.server.provider.served += 1

    def begin_and_break(self):
        """One chunk of a stream, and the connection is cut."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        delta = {"index": 0, "delta": {"role": "assistant", "content": "yes"}}
        event = f"data: {json.dumps({**CHUNK, 'choices': [delta]})}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """A gateway that goes away is no error of the test."""


class Provider:
    """One provider; `script` says what it does, and can be changed at any time."""

    def __init__(self, name, certificate=None):
        self.name, self.script = name, "well"
        self.calls = self.served = self.running = self.most_at_once = 0
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", free_port()), Handler)
        self.server.provider = self
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.url = f"https://localhost:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def act(self, handler, body):
        script = self.script
        if script == "well":
            handler.well()
        elif script == "slow":
            time.sleep(0.3)  # The work that it takes for a place to be taken.
            handler.well()
        elif script == "break":
            handler.begin_and_break() if body.get("stream") else handler.answer(500)
        elif script == "silent":
            handler.close_connection = True
            handler.connection.recv(1)  # Until the gateway has had enough.
        elif script.startswith("retry-after="):
            handler.answer(429, [("retry-after", script.removeprefix("retry-after="))])
        else:
            handler.answer(int(script))


def certificate(folder):
    """A certificate of `localhost`, signed by itself: (certificate, key)."""
    files = folder / "provider.pem", folder / "provider.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    # As the certificate of a server it may not be an authority's.
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    made = subprocess.run([*command, "-out", files[0], "-keyout", files[1]], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return files
