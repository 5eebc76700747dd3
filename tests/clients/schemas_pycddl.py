"""The forms of events and messages, judged by implementations that are not ours: the CDDL of
schemas/ against every golden file, and the deterministic encoding against cbor2's."""

import functools
import hashlib
import json
import math
import string
import zlib
from pathlib import Path

import cbor2
import pycddl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
CDDL = (SCHEMAS / "turnpike.cddl").read_text()
GOLDENS = sorted((SCHEMAS / "golden").glob("*.cbor"))
MESSAGES = {
    "spend.v1.cbor": "spend-batch",
    "spend-refused.v1.cbor": "spend",
    "spend-tool.v1.cbor": "spend",
    "spend-failover.v1.cbor": "spend",
    "spend-settled.v1.cbor": "settled-spend",
    "booked.v1.cbor": "booked",
    "receipt.v1.cbor": "receipt",
    "receipt-spent.v1.cbor": "receipt",
    "receipt-providers.v1.cbor": "receipt",
    "receipt-quarantine.v1.cbor": "receipt",
    "receipt-lost.v1.cbor": "receipt",
    "lease-call.v1.cbor": "lease-call",
    "lease-call-token.v1.cbor": "lease-call",
    "end-runs.v1.cbor": "end-runs",
    "runs-ended.v1.cbor": "runs-ended",
    "recall.v1.cbor": "recall",
    "permit-call.v1.cbor": "permit-call",
    "permit-call-waits.v1.cbor": "permit-call",
    "permit-answer.v1.cbor": "permit-answer",
    "decision.v1.cbor": "decision",
    "decision-tool.v1.cbor": "decision",
    "permit-answer-closed.v1.cbor": "permit-answer",
    "recent-call.v1.cbor": "recent-call",
    "recent-answer.v1.cbor": "recent-answer",
    "rates-question.v1.cbor": "rates-question",
    "rates-answer.v1.cbor": "rates-answer",
    "rates-answer-gathering.v1.cbor": "rates-answer",
    "recall-rates.v1.cbor": "recall",
}
ENTITIES = [line.split()[0] for line in CDDL.splitlines() if line.startswith("entity-")]


def kebab(name):
    """KeyCreated -> key-created"""
    return "".join("-" + letter.lower() if letter.isupper() else letter for letter in name)[1:]


def schema(rule):
    """The rule as the root: validation begins with the first rule."""
    return pycddl.Schema(f"root = {rule}\n{CDDL}")


def is_deterministic(encoded):
    """RFC 8949, section 4.2: cbor2's canonical form, at every depth that byte strings hold."""
    return cbor2.dumps(cbor2.loads(encoded), canonical=True) == encoded


def parts(entity):
    """What of an entity to judge by which rule: choices of arrays within arrays are beyond the
    validator."""
    if entity[0] in (9, 10):
        (account, unit), rule = entity[1], {9: "cap", 10: "hit"}[entity[0]]
        return [("account", account), ("unit", unit), (rule, entity[2])]
    return [(next(rule for rule in ENTITIES if f"{rule} = [{entity[0]}, " in CDDL), entity)]


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_a_golden_event_fits_the_cddl(path):
    encoded = path.read_bytes()
    name, version = path.name.split(".")[:2]
    schema(kebab(name)).validate_cbor(encoded)
    record = cbor2.loads(encoded)
    assert record[8] == name
    assert f"v{record[9]}" == version
    assert is_deterministic(encoded)
    assert is_deterministic(record[10])


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_a_golden_event_does_not_fit_when_it_is_spoilt(path):
    record = cbor2.loads(path.read_bytes())
    data = cbor2.loads(record[10])
    root = schema(kebab(path.name.split(".")[0]))
    for field, value in [(8, "KeyPainted"), (9, 99), (11, b"short"), (10, cbor2.dumps([data]))]:
        with pytest.raises(pycddl.ValidationError):
            root.validate_cbor(cbor2.dumps(record | {field: value}, canonical=True))


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_the_json_twin_says_the_same_in_the_envelope(path):
    record = cbor2.loads(path.read_bytes())
    twin = json.loads(path.with_suffix(".json").read_text())
    assert list(twin) == [
        "id", "org", "seq", "position", "at", "actor",
        "command_id", "type", "version", "data", "prev_hash", "hash",
    ]  # fmt: skip
    assert (twin["seq"], twin["type"], twin["version"]) == (record[3], record[8], record[9])
    assert twin["position"] == int.from_bytes(record[4], "big")
    assert twin["prev_hash"] == record[11].hex()
    assert twin["hash"] == record[12].hex()


@pytest.mark.parametrize("name, rule", MESSAGES.items())
def test_a_golden_message_fits_the_cddl(name, rule):
    encoded = (SCHEMAS / "messages" / name).read_bytes()
    schema(rule).validate_cbor(encoded)
    assert is_deterministic(encoded)


@pytest.mark.parametrize("name", ["heartbeat", "heartbeat-signers"])
def test_a_golden_heartbeat_fits_the_cddl(name):
    encoded = (SCHEMAS / "messages" / f"{name}.v1.cbor").read_bytes()
    assert is_deterministic(encoded)
    # Its parts one by one: the validator takes `.cbor` for the whole of an array.
    heartbeat, signature = cbor2.loads(encoded)
    schema("heartbeat").validate_cbor(heartbeat)
    schema("signature").validate_cbor(cbor2.dumps(signature))


@pytest.mark.parametrize("name, reason, parts", [("answer", 1, 4), ("refusal", 2, 2)])
def test_a_golden_answer_about_a_lease_fits_the_cddl(name, reason, parts):
    encoded = (SCHEMAS / "messages" / f"lease-{name}.v1.cbor").read_bytes()
    assert is_deterministic(encoded)
    answer = cbor2.loads(encoded)
    # Accounts by their own rule: a choice of arrays within arrays is beyond the validator.
    path, refused = answer.pop(4), answer.pop(6)
    schema("lease-answer").validate_cbor(cbor2.dumps(answer, canonical=True))
    assert refused[0] == reason and len(refused) == parts
    for account in [account for account, _ in path] + [refused[1]]:
        schema("account").validate_cbor(cbor2.dumps(account))


KINDS = {
    "organisation": {*range(1, 11)},
    "platform": {5, 6, 7, 11, 12},
    "mcp-server": {1, 13},
    "tokens": {*range(1, 11), 14},
}


@pytest.mark.parametrize("stream", KINDS)
def test_every_frame_of_a_golden_snapshot_fits_the_cddl(stream):
    left = (SCHEMAS / "messages" / f"snapshot-{stream}.v1.frames").read_bytes()
    frames, entities = [], []
    while left:
        length = int.from_bytes(left[:4], "big")
        frame, left = left[4 : 4 + length], left[4 + length :]
        assert is_deterministic(frame)
        frames.append(cbor2.loads(frame))
        if frames[-1][0] == 2:
            entities += frames[-1][1]
        else:
            rule = {1: "snapshot-start", 3: "snapshot-end"}[frames[-1][0]]
            schema(rule).validate_cbor(frame)
    assert [frame[0] for frame in frames] == [1, 2, 3]
    for entity in entities:
        for rule, part in parts(entity):
            schema(rule).validate_cbor(cbor2.dumps(part, canonical=True))
    assert {entity[0] for entity in entities} == KINDS[stream]


def test_a_golden_token_fits_the_cddl():
    text = (SCHEMAS / "messages" / "ephemeral-token.v1.txt").read_text()
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase

    def number(digits):
        return functools.reduce(lambda value, digit: value * 62 + alphabet.index(digit), digits, 0)

    assert text.startswith("ek-tp-")
    assert number(text[-6:]) == zlib.crc32(text[:-6].encode())
    word, payload = text[6:-6], b""
    while word:
        block, word = word[:43], word[43:]
        length = next(n for n in range(33) if math.ceil(n * 8 / math.log2(62)) == len(block))
        payload += number(block).to_bytes(length, "big")
    claims, signature = payload[:-64], payload[-64:]
    schema("claims").validate_cbor(claims)
    assert is_deterministic(claims)
    public = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32).public_key()
    public.verify(signature, b"turnpike ephemeral token v1\0" + claims)
    raw = public.public_bytes_raw()
    assert cbor2.loads(claims)[11] == hashlib.sha256(raw).digest()[:8]


def test_every_event_of_the_cddl_has_a_golden():
    rules = {line.split(" = ")[0] for line in CDDL.splitlines() if ' = record<"' in line}
    assert rules == {kebab(path.name.split(".")[0]) for path in GOLDENS}
    assert len(rules) >= 33
