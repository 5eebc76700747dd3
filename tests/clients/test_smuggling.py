"""T29: one request in is one request out, over HTTP/1.1 and HTTP/2, and no credential goes along.

Bounds: 57 messages of HTTP/1.1 and 32 of HTTP/2 that two readers could understand differently, each
sent once to one gateway; the provider reads strictly and keeps what it got.
"""

import pytest

import figures
import frames
import raw
from house import House

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def place():
    """A house whose provider keeps what it gets, and a key."""
    recorder = raw.Recorder()
    with House(gateways=1, provider_url=recorder.url) as house:
        made = house.command("POST", "/keys", {"name": "smuggler"})
        yield house, recorder, made["secret"]


def inner(key):
    """What an attacker hides in a body: a whole request of its own."""
    return raw.whole(key, raw.body("hidden"))


def corpus(key):
    """Name, bytes, and how many requests they are."""
    plain, hidden = raw.body(), inner(key)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(plain), plain)
    top, length = raw.head(key), f"Content-Length: {len(plain)}"

    def with_(*more, content=plain):
        return top + b"".join(b"\r\n" + line.encode("latin-1") for line in more) + b"\r\n\r\n" + content

    te = "Transfer-Encoding: chunked"
    yield "plain", with_(length), 1
    yield "chunks", with_(te, content=chunked), 1
    yield "two in a row", with_(length) + with_(length), 2
    yield "length then chunks", with_(length, te, content=chunked + hidden), 1
    yield "chunks then length", with_(te, length, content=chunked + hidden), 1
    yield "length 0 and chunks", with_("Content-Length: 0", te, content=chunked + hidden), 1
    yield "chunks end early", with_(f"Content-Length: {len(hidden) + 5}", te, content=b"0\r\n\r\n" + hidden), 0
    yield "two lengths", with_(length, "Content-Length: 0", content=plain + hidden), 0
    yield "two equal lengths", with_(length, length), 1
    yield "a list of lengths", with_(f"Content-Length: {len(plain)}, {len(plain)}"), 0
    yield "a list of other lengths", with_(f"Content-Length: {len(plain)}, 0", content=plain + hidden), 0
    for wrong in ("+10", "-1", "0x10", "1e2", "10 ", " ", "１０", "99999999999999999999"):
        value = wrong.encode().decode("latin-1")
        yield f"length {wrong!r}", with_(f"Content-Length: {value}", content=plain + hidden), 0
    for wrong in (
        *("gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", "chunked\x0b"),
        *("'chunked'", '"chunked"', "chunked, identity", "\x00chunked", ", chunked"),
    ):
        yield f"encoding {wrong!r}", with_(f"Transfer-Encoding: {wrong}", content=chunked + hidden), 0
    yield "two encodings", with_(te, "Transfer-Encoding: identity", content=chunked + hidden), 0
    yield "space before the colon", with_("Transfer-Encoding : chunked", content=chunked), 0
    yield "a folded line", with_("Transfer-Encoding:\r\n chunked", content=chunked), 0
    yield "an underscore", with_(length, "Transfer_Encoding: chunked"), 1
    yield "a length of another name", with_(length, "Content_Length: 0"), 1
    yield "a bare CR", with_(length, "X: a\rTransfer-Encoding: chunked"), 0
    yield "a NUL", with_(length, "X: a\0b"), 0
    yield "HTTP/1.0 chunks", with_(te, content=chunked).replace(b"HTTP/1.1", b"HTTP/1.0", 1), 0
    yield "no host", with_(length).replace(b"Host: gateway\r\n", b"", 1), 0
    yield "two hosts", with_(length, "Host: other"), 0
    yield "an end of chunks that is none", with_(te, content=b"0\n\n" + hidden), 0
    size = b"%x\n%s\r\n0\r\n\r\n" % (len(plain), plain)
    yield "a bare LF after a size", with_(te, content=size + hidden), 0
    huge = b"fffffffffffffffff\r\n" + plain
    yield "a size that wraps", with_(te, content=huge + hidden), 0
    signed = b"+%x\r\n%s\r\n0\r\n\r\n" % (len(plain), plain)
    yield "a size with a sign", with_(te, content=signed + hidden), 0
    longer = b"%x\r\n%s\r\n0\r\n\r\n" % (len(plain) - 2, plain)
    yield "a chunk longer than its size", with_(te, content=longer + hidden), 0
    extension = b"%x;a=\n%s\r\n0\r\n\r\n" % (len(plain), plain)
    yield "an extension with a bare LF", with_(te, content=extension + hidden), 0
    trailer = b"%x\r\n%s\r\n0\r\nAuthorization: Bearer other\r\n\r\n" % (len(plain), plain)
    yield "a credential in a trailer", with_(te, content=trailer), 1
    yield "credential named by Connection", with_(length, "Connection: authorization, close"), 1
    yield "GET with a request as its body", raw.head(key, "GET /v1/models HTTP/1.1", length) + b"\r\n\r\n" + hidden, 1
    for line in (
        "POST http://provider/v1/chat/completions HTTP/1.1",
        "POST //v1/chat/completions HTTP/1.1",
        "POST /v1/chat/completions/../chat/completions HTTP/1.1",
        "POST /v1/chat%2fcompletions HTTP/1.1",
        "CONNECT provider:80 HTTP/1.1",
        "POST  /v1/chat/completions HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.1 HTTP/1.1",
        "POST\t/v1/chat/completions\tHTTP/1.1",
    ):
        due = 1 if "http://" in line else 0
        yield f"line {line!r}", raw.head(key, line, length) + b"\r\n\r\n" + plain, due


def check_kept(kept, key, name="all"):
    """What went up has no credential of the caller, and nothing of what was hidden."""
    for top, content in kept:
        assert key.encode() not in top + content, (name, top)
        assert b"hidden" not in content and top.count(b"HTTP/1.1") == 1, (name, top, content)
        names = {line.split(b":")[0].lower() for line in top.split(b"\r\n")[1:]}
        assert not names & {b"authorization", b"x-api-key", b"cookie", b"transfer-encoding"}, (name, names)


def test_t29_one_in_is_one_out(place):
    house, recorder, key = place
    port = house.gateways[0].port
    seen, wrong = 0, []
    for name, sent, due in corpus(key):
        before = recorder.count()
        found = raw.statuses(raw.exchange(port, sent, due))
        kept = recorder.since(before)
        check_kept(kept, key, name)
        # What was answered with success is what the provider got, as often as it was meant.
        good = sum(status == 200 for status in found)
        served = len(kept) + name.startswith("GET")
        if not good == due == served:
            wrong.append((name, due, found, kept))
        if any(status >= 500 for status in found):
            wrong.append((name, found))
        seen += 1
    assert wrong == []
    check_kept(recorder.since(0), key)
    assert recorder.faults == []
    figures.tell("T29 HTTP/1.1", messages=seen, at_the_provider=recorder.count(), hidden=0, leaked=0)


def test_t29_one_stream_is_one_request(place):
    house, recorder, key = place
    port = house.gateways[0].port
    before = recorder.count()
    assert frames.ask(port, key, raw.body()) == 200
    seen, served = 0, 1
    for name, headers, content in frames.corpus(key, raw.body(), inner(key)):
        number = recorder.count()
        status = frames.send(port, headers, content)
        kept = recorder.since(number)
        check_kept(kept, key, name)
        assert status is None or status < 500, (name, status)
        assert len(kept) == (status == 200), (name, status, kept)
        served += len(kept)
        seen += 1
    assert recorder.count() - before == served and recorder.faults == []
    figures.tell("T29 HTTP/2", messages=seen, at_the_provider=served, hidden=0, leaked=0)
