"""T28: a key's allow-list sees the address that the book says a request has.

Bounds: 900 sets of forwarded addresses, 300 of them by chance, from up to six peers; each is sent to
keys with eight lists. In full 12,000 by chance.
"""

import http.client
import ipaddress
import json
import random
import socket

import pytest
import requests

import figures
import raw
from forwarded import TRUSTED, caller, drawn, entry, holds, ranges, table
from house import House
from spend import SOAK, form

pytestmark = pytest.mark.soak

SEED, BY_CHANCE = 28, form(300, 12_000)
LISTS = {
    "documentation": ["198.51.100.0/24"],
    "mapped": ["::ffff:198.51.100.0/120"],
    "one": ["203.0.113.7"],
    "six": ["2001:db8::/32", "1:2:3:4:5:6:7:0/128"],
    "private": ["10.0.0.0/8", "fd00::/8", "192.0.2.0/31"],
    "loopback": ["127.0.0.0/8", "::1"],
    "all of IPv4": ["0.0.0.0/0"],
    # Nobody comes from there: each refusal tells which address was seen.
    "nowhere": ["192.0.2.255"],
}
# What other software puts a caller's address in; a gateway reads none of it.
OTHERS = [
    *["Forwarded: for=198.51.100.1;by=10.0.0.1", "X-Real-IP: 198.51.100.1", "True-Client-IP: 198.51.100.1"],
    *["CF-Connecting-IP: 198.51.100.1", "X-Client-IP: 198.51.100.1", "X-Cluster-Client-IP: 198.51.100.1"],
    *["X_Forwarded_For: 198.51.100.1", "X-Forwarded: 198.51.100.1", "X-Forwarded-Host: 198.51.100.1"],
    *["X-Original-Forwarded-For: 198.51.100.1", "Client-IP: 198.51.100.1", "Via: 1.1 198.51.100.1"],
]
CONTENT = json.dumps({"model": "echo-1", "messages": [{"role": "user", "content": "x"}]}).encode()


class Line:
    """One connection to a gateway from one address, kept while it can be."""

    def __init__(self, peer, target):
        self.peer, self.target, self.socket = peer, target, None

    def ask(self, secret, lines, more=()):
        """The answer of one request: status, code, body."""
        if self.socket is None:
            self.socket = socket.create_connection(self.target, 30, source_address=(self.peer, 0))
        top = raw.head(secret, "POST /v1/chat/completions HTTP/1.1", f"Content-Length: {len(CONTENT)}", *more)
        names = (b"X-Forwarded-For", b"x-forwarded-for", b"X-FORWARDED-FOR")
        sent = [names[place % 3] + b": " + line for place, line in enumerate(lines)]
        self.socket.sendall(b"\r\n".join([top, *sent]) + b"\r\n\r\n" + CONTENT)
        answer = http.client.HTTPResponse(self.socket, method="POST")
        answer.begin()
        body = answer.read()
        if answer.will_close:
            self.socket.close()
            self.socket = None
        return answer.status, answer.headers.get("x-turnpike-error-code"), body


class Street:
    """Gateways on 127.0.0.1 and ::1, which trust the same proxies, and a key for each list."""

    def __init__(self):
        trusted = {"TURNPIKE_SERVE_TRUSTED_PROXIES": json.dumps(TRUSTED)}
        self.house = house = House(gateways=3, gateway_options=trusted)
        first, second, third = house.gateways
        for gateway, address in [(second, "[::1]"), (third, "[::ffff:127.0.0.1]")]:
            gateway.stop()
            gateway.environment["TURNPIKE_SERVE_LISTEN"] = f"{address}:{gateway.port}"
            gateway.start()
        self.secrets = {
            name: house.command("POST", "/keys", {"name": name, "scopes": {"ips": ips}})["secret"]
            for name, ips in LISTS.items()
        }
        self.ranges = {name: ranges(ips) for name, ips in LISTS.items()}
        # Untrusted, trusted, untrusted, over IPv4; trusted over IPv6; both as mapped addresses.
        self.lines = [Line(peer, ("127.0.0.1", first.port)) for peer in ("127.0.0.1", "127.0.0.2", "127.0.0.3")]
        self.lines.append(Line("::1", ("::1", second.port)))
        self.lines += [Line(peer, ("127.0.0.1", third.port)) for peer in ("127.0.0.2", "127.0.0.3")]

        self.asking = requests.Session()

    def close(self):
        self.asking.close()
        self.house.close()

    def seen(self, body):
        """The address that a refusal was decided by, as 128 bits."""
        decision = json.loads(body)["error"]["metadata"]["decision_id"]
        url = f"{self.house.control_url}/api/v1/orgs/{self.house.org}/decisions/{decision}"
        headers = {"Authorization": f"Bearer {self.house.token}"}
        # Thousands of them: a connection of its own for each takes longer than its answer.
        told = self.asking.get(url, headers=headers, timeout=60)
        assert told.status_code == 200, told.text
        return entry(str(ipaddress.ip_address(told.json()["address"])).encode())


@pytest.fixture(scope="module")
def street():
    opened = Street()
    yield opened
    opened.close()


def test_the_reference_reads_addresses_as_the_library_does():
    chance = random.Random(SEED)
    read = 0
    for _ in range(20_000):
        for text in drawn(chance)[0].split(b","):
            text = text.strip(b" \t")
            try:
                known = ipaddress.ip_address(text.decode("ascii"))
            except ValueError:
                known = None
            # The library reads zones and no ports; brackets and ports are the book's own.
            if known is None or b"%" in text:
                assert b"[" in text or b":" in text or entry(text) is None, text
                continue
            number = int(known) if known.version == 6 else int(known) | 0xFFFF << 32
            assert entry(text) == number, text
            read += 1
    assert read > 10_000


def test_a_key_tells_nothing_of_itself_where_it_may_not_be_used(street):
    url = street.house.gateway_url(0)
    for name, due in [("loopback", 200), ("documentation", 403)]:
        bearer = {"Authorization": f"Bearer {street.secrets[name]}"}
        for path in ("/v1/models", "/v1/models/echo-1", "/v1/key", "/v1beta/models"):
            answer = requests.get(url + path, headers=bearer, timeout=30)
            code = answer.headers.get("x-turnpike-error-code")
            told = (200, None) if due == 200 else (403, "ip_not_allowed")
            assert (answer.status_code, code) == told, (name, path, answer.text)


def test_t28_the_allow_list_sees_what_the_book_says(street):
    chance, rows = random.Random(SEED), [(lines, ()) for lines in table()]
    rows += [(drawn(chance), ()) for _ in range(BY_CHANCE)]
    rows += [(lines, (other,)) for other in OTHERS for lines in ([], [b"203.0.113.7"])]
    sent, allowed, refused, wrong = 0, 0, 0, []
    for number, (lines, more) in enumerate(rows):
        # Every fourth row from every peer, the others from the trusted one.
        for line in street.lines if number % 4 == 0 else street.lines[1:2]:
            address = caller(line.peer, lines)
            for name, secret in street.secrets.items():
                status, code, body = line.ask(secret, lines, more)
                due = holds(street.ranges[name], address)
                seen = address
                # Each address that was seen is compared, in full of every tenth row.
                if name == "nowhere" and status == 403 and (number % 10 == 0 or not SOAK):
                    seen = street.seen(body)
                told = (200, None) if due else (403, "ip_not_allowed")
                if (status, code) != told or seen != address:
                    wrong.append((line.peer, lines[:3], more, name, status, code, hex(seen), hex(address)))
                sent, allowed, refused = sent + 1, allowed + due, refused + (not due)
    assert not wrong, (len(wrong), wrong[:20])
    assert allowed > sent / 20 and refused > sent / 20
    figures.tell("T28", rows=len(rows), sent=sent, allowed=allowed, refused=refused, differences=0)
