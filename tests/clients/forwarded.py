"""Whose address a request has, as the book says it (docs/operate/hardening.md), and a corpus for it.

Written from the book alone, so that the gateway's reading can be compared with it.
"""

import re

# The gateways of T28 trust these.
TRUSTED = ["127.0.0.2/32", "::1/128", "10.0.0.0/8", "192.0.2.1/32", "fd00::/8", "2001:db8:ffff::/48"]
NUMBER = rb"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
V4 = re.compile(rb"^" + rb"\.".join([NUMBER] * 4) + rb"$")
GROUP = re.compile(rb"^[0-9a-fA-F]{1,4}$")
PORT = re.compile(rb"^[0-9]{1,5}$")


def v4(text):
    """An IPv4 address as 128 bits: four decimal numbers up to 255, without zeros before them."""
    found = V4.match(text)
    if not found:
        return None
    number = 0
    for part in found.groups():
        number = number << 8 | int(part)
    return 0xFFFF << 32 | number


def v6(text):
    """An IPv6 address (RFC 4291, 2.2) as 128 bits."""
    halves = text.split(b"::")
    if len(halves) > 2 or b"%" in text:
        return None
    groups = []
    for place, half in enumerate(halves):
        words = half.split(b":") if half else []
        found = []
        for number, word in enumerate(words):
            last = place == len(halves) - 1 and number == len(words) - 1
            if last and b"." in word:
                whole = v4(word)
                if whole is None:
                    return None
                found += [whole >> 16 & 0xFFFF, whole & 0xFFFF]
            elif GROUP.match(word):
                found.append(int(word, 16))
            else:
                return None
        groups.append(found)
    if len(halves) == 2:
        left = 8 - len(groups[0]) - len(groups[1])
        if left < 1:
            return None
        groups = [groups[0] + [0] * left + groups[1]]
    if len(groups[0]) != 8:
        return None
    number = 0
    for group in groups[0]:
        number = number << 16 | group
    return number


def port(text):
    return bool(PORT.match(text)) and int(text) <= 65535


def entry(text):
    """The address of one entry; none if it is no address."""
    text = text.strip(b" \t")
    if text.startswith(b"["):
        inner, bracket, rest = text[1:].partition(b"]")
        sound = bracket and (not rest or (rest.startswith(b":") and port(rest[1:])))
        return v6(inner) if sound else None
    if text.count(b":") == 1:
        address, _, number = text.partition(b":")
        return v4(address) if port(number) else None
    return v6(text) if b":" in text else v4(text)


def ranges(texts):
    """Ranges as (network, bits of 128)."""
    found = []
    for text in texts:
        address, _, bits = text.partition("/")
        is_v6 = ":" in address
        number = (v6 if is_v6 else v4)(address.encode())
        length = (int(bits) if bits else 128 if is_v6 else 32) + (0 if is_v6 else 96)
        found.append((number >> (128 - length), length))
    return found


def holds(networks, address):
    return any(address >> (128 - length) == network for network, length in networks)


def caller(peer, lines, trusted=ranges(TRUSTED)):
    """The caller's address: the specification."""
    address = entry(peer.encode())
    if not holds(trusted, address):
        return address
    entries = [text for line in lines for text in line.split(b",")]
    for text in reversed(entries):
        found = entry(text)
        if found is None:
            return address
        address = found
        if not holds(trusted, address):
            return address
    return address


ADDRESSES = [
    *[b"198.51.100.1", b"198.51.100.254", b"203.0.113.7", b"10.1.2.3", b"10.255.255.255", b"11.0.0.0"],
    *[b"192.0.2.1", b"192.0.2.2", b"127.0.0.1", b"127.0.0.2", b"0.0.0.0", b"255.255.255.255"],
    *[b"2001:db8::7", b"2001:DB8:0:0:0:0:0:7", b"2001:db8:ffff::1", b"fd00::5", b"fe80::1", b"::1", b"::"],
    *[b"::ffff:198.51.100.1", b"::ffff:c633:6401", b"::ffff:10.1.1.1", b"0:0:0:0:0:ffff:198.51.100.1"],
    *[b"::198.51.100.1", b"64:ff9b::198.51.100.1", b"1:2:3:4:5:6:7::", b"::2:3:4:5:6:7:8"],
]
GARBAGE = [
    *[b"", b" ", b"\t", b"unknown", b"_hidden", b"-", b"null", b"localhost", b"example.com", b"for=198.51.100.1"],
    *[b"198.51.100", b"198.51.100.1.", b".198.51.100.1", b"198.51.100.256", b"198.51.100.01", b"198.51.100.1.1"],
    *[b"0x7f.0.0.1", b"3325256705", b"198.51.100.1/32", b"198.51.100.1:", b"198.51.100.1:x", b"198.51.100.1:70000"],
    *[b"198.51.100.1:+80", b"198.51.100.1:000080", b"198.51.100.1 203.0.113.7", b"198.51.100.1;203.0.113.7"],
    *[b'"198.51.100.1"', b"'198.51.100.1'", b"[198.51.100.1]", b"[198.51.100.1]:80", b"[198.51.100.1", b"198.51.100.1]"],
    *[b"[2001:db8::7", b"2001:db8::7]", b"[2001:db8::7]:", b"[2001:db8::7]:70000", b"[2001:db8::7]80", b"[[::1]]", b"[]"],
    *[b"2001:db8::7%eth0", b"fe80::1%25eth0", b"[fe80::1%1]:80", b"[fe80::1%eth0]", b"2001:db8:::7", b"2001::db8::7"],
    *[b"1:2:3:4:5:6:7", b"1:2:3:4:5:6:7:8:9", b"1:2:3:4:5:6:7::8", b"12345::", b"g::", b":::", b":", b"::ffff:1.2.3"],
    *[b"1.2.3.4::", b"::1.2.3.4:5", b"::ffff:198.51.100.01", b"\xff\xfe", b"198.51.100.1\xa0", "１98.51.100.1".encode()],
    *[b"198.51.100.1%00", b"198.51.100.1\\", b"{198.51.100.1}", b"()", b"a" * 300, b"%31%39%38.51.100.1", b"+198.51.100.1"],
]
FORMS = [
    *[lambda it: it, lambda it: b" " + it, lambda it: it + b"\t ", lambda it: it.upper()],
    *[lambda it: it + b":4711" if b":" not in it else b"[" + it + b"]:4711"],
    *[lambda it: it + b":0" if b":" not in it else b"[" + it + b"]"],
    *[lambda it: it + b":65535" if b":" not in it else b"[" + it + b"]:00080"],
]


def table():
    """Lines of `X-Forwarded-For` that matter, each a list of lines."""
    yield []
    for one in ADDRESSES + GARBAGE:
        yield [one]
        yield [one + b", 198.51.100.1"]
        yield [b"198.51.100.1, " + one]
        yield [b"198.51.100.1," + one + b",10.2.2.2"]
    for one in ADDRESSES:
        for form in FORMS:
            yield [form(one)]
        yield [one, b"10.2.2.2"]
        yield [b"203.0.113.7", one]
        yield [b"203.0.113.7", one + b", fd00::9", b"10.2.2.2,192.0.2.1"]
    yield [b"198.51.100.1"] * 40
    yield [b"198.51.100.1"] + [b"10.0.0.1"] * 80
    yield [b", ".join([b"203.0.113.7"] * 3_000)]
    yield [b",".join([b"203.0.113.7"] + [b"10.9.8.7"] * 5_000)]
    yield [b"," * 20_000]
    yield [b"," * 20_000 + b"198.51.100.1"]
    yield [b"198.51.100.1" + b"," * 20_000]
    yield [b"x" * 30_000 + b", 198.51.100.1"]


def drawn(random):
    """Some lines by chance, most of them nearly right."""
    lines = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        entries = []
        for _ in range(random.choice((1, 2, 2, 3, 5))):
            kind = random.random()
            if kind < 0.2:
                entries.append(random.choice(GARBAGE))
            elif kind < 0.3:
                entries.append(mutated(random))
            else:
                entries.append(random.choice(FORMS)(random.choice(ADDRESSES)))
        lines.append(random.choice((b",", b", ", b" ,\t")).join(entries))
    return lines


def mutated(random):
    """An address with one byte changed, left out or put in; commas make two entries of it."""
    text = bytearray(random.choice(FORMS)(random.choice(ADDRESSES)))
    place, byte = random.randrange(len(text)), random.choice(b"0123456789abcdefABCDEFg.:[]%/, \xff")
    kind = random.randrange(3)
    if kind == 0:
        text[place] = byte
    elif kind == 1:
        del text[place]
    else:
        text.insert(place, byte)
    return bytes(text)
