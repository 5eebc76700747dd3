"""A provider in a process of its own that keeps when it served which text: the oracle of these tests."""

import asyncio
import json
import subprocess
import sys
import time

import requests

from house import wait_until
from ports import free_port

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "echo-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


class Witness:
    """The process, and what it has seen."""

    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([sys.executable, __file__, str(port)])
        try:
            wait_until(lambda: requests.get(self.url, timeout=2).ok, "the witness listens")
        except BaseException:
            self.close()
            raise

    def close(self):
        self.process.kill()
        self.process.wait()

    def seen(self):
        """Times of all requests by their text, in the order in which they came."""
        times = {}
        for at, text in requests.get(self.url, timeout=60).json():
            times.setdefault(text, []).append(at)
        return times


async def serve(reader, writer, seen):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().lower().split("\r\n")
            lengths = [line.split(":")[1] for line in lines if line.startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0])) if lengths else b""
            if lines[0].startswith("get"):
                answer = json.dumps(seen).encode()
            else:
                seen.append((time.time(), json.loads(body)["messages"][0]["content"]))
                answer = json.dumps(ANSWER).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%s" % (len(answer), answer))
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    writer.close()


async def listen(port):
    seen = []
    server = await asyncio.start_server(lambda *both: serve(*both, seen), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(listen(int(sys.argv[1])))
