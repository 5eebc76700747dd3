"""Addresses inside somebody's walls, in every notation that some reader follows, for T27."""

import ipaddress

# Loopback, metadata of clouds, private networks, and what reaches this host or many.
V4 = ["127.0.0.1", "169.254.169.254", "0.0.0.0", "10.0.0.1"]
MORE_V4 = [
    *["127.255.255.254", "100.100.100.200", "168.63.129.16", "172.16.0.1", "192.0.0.192", "192.168.1.1"],
    *["198.18.0.1", "224.0.0.1", "255.255.255.255"],
]
V6 = [
    *["::", "::1", "0:0:0:0:0:0:0:1", "fe80::1", "fe80::a9fe:a9fe", "fc00::1", "fd00:ec2::254", "fec0::1"],
    *["ff02::1", "100::1", "2001:db8::1", "5f00::1", "64:ff9b:1::7f00:1", "::ffff:0:127.0.0.1"],
]
# Names and what they lead to, call by call; with a comma: several addresses at once.
NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "metadata": ["169.254.169.254"],
    "instance-data.ec2.internal": ["169.254.169.254"],
    "kubernetes.default.svc": ["10.96.0.1"],
    "host.docker.internal": ["172.17.0.1"],
    "loopback.test": ["127.0.0.1"],
    "loopback.test.": ["127.0.0.1"],
    "two-insides.test": ["10.0.0.1,127.0.0.1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "six.test": ["::1"],
    "127.0.0.1.rebind.test": ["127.0.0.1"],
    "xn--bcher-kva.test": ["127.0.0.1"],
}
RESOLVED_HERE = ["localhost", "LOCALHOST", "LocalHost", "localhost."]
# What is no http URL with a host, in ways that some reader takes for one.
NO_URLS = [
    *["file:///etc/passwd", "gopher://{0}/_x", "ftp://{0}/", "dict://{0}/x", "ws://{0}/", "unix:/run/x.sock"],
    *["jar:http://{0}!/", "data:text/plain,x", "//{0}/", "{0}", "http:{0}/", "http:/{0}/", "http:///{0}/"],
    *["http:\\\\{0}\\", "HTTP://{0}/", "http://{0}/?a", "http://{0}/#a", " http://{0}/", "http://{0}/\n"],
    *["http://\t{0}/", "http://{0} /", "http://user@{0}/", "http://user:word@{0}/", "http://1.1.1.1@{0}/"],
    *["http://{0}@1.1.1.1/", "http://1.1.1.1#@{0}/", "http://1.1.1.1\\@{0}/", "http://1.1.1.1?@{0}/"],
    *["http://1.1.1.1%2f@{0}/", "http://{0}:0/", "http://{0}:99999/", "http://{0}:-1/", "http://:80/", "http://"],
]
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９．")
CIRCLED = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")


def notations(address):
    """Every way to write an IPv4 address that some resolver, browser or library reads."""
    number = int(ipaddress.IPv4Address(address))
    a, b, c, d = address.split(".")
    pair = f"{number >> 16:x}:{number & 0xFFFF:x}"
    yield from [address, f"{address}.", str(number), f"{number:#x}", f"0{number:o}", f"0x0000{number:08x}"]
    yield from [str(number + 2**32), f"{int(a):#x}.{int(b):#x}.{int(c):#x}.{int(d):#x}"]
    yield from [f"0{int(a):o}.0{int(b):o}.0{int(c):o}.0{int(d):o}", f"{int(a):#x}.{b}.0{int(c):o}.{d}"]
    yield from [f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{number & 0xFFFF}", f"{a}.{b}.{c}.0{int(d):o}"]
    yield from [f"{int(a):03}.{int(b):03}.{int(c):03}.{int(d):03}", f"{int(a) + 256}.{b}.{c}.{d}"]
    yield from [address.translate(FULL_WIDTH), address.translate(CIRCLED), address.replace(".", "。")]
    yield from [address.replace(".", "%2e"), f"%{ord(address[0]):x}{address[1:]}", f"[{address}]"]
    yield from [f"[::ffff:{address}]", f"[::ffff:{pair}]", f"[0:0:0:0:0:ffff:{pair}]", f"[::{address}]", f"[::{pair}]"]
    yield from [f"[64:ff9b::{address}]", f"[64:ff9b::{pair}]", f"[64:ff9b:1::{pair}]", f"[2002:{pair}::]"]
    yield from [f"[2001:0:{pair}::1]", f"[fe80::5efe:{address}]", f"[::ffff:{address}%25lo]", f"[::FFFF:{address}]"]


def urls(port, full):
    """URLs that lead inside, or nowhere: the corpus."""
    hosts = []
    for address in V4 + (MORE_V4 if full else []):
        hosts += notations(address)
    hosts += [address for address in MORE_V4 if not full]
    hosts += [f"[{address}]" for address in V6] + ["[::1%25lo]", "[::1%lo]", "[fe80::1%25eth0]"]
    hosts += [*NAMES, *RESOLVED_HERE]
    found = [f"http://{host}:{port}/v1" for host in hosts]
    found += [f"https://{host}:{port}" for host in ("127.0.0.1", "[::1]", "localhost", "loopback.test")]
    found += [f"http://{host}" for host in ("127.0.0.1", "169.254.169.254", "loopback.test")]
    return found + [text.format(f"127.0.0.1:{port}") for text in NO_URLS]
