"""Events and spend as somebody would make them who has read schemas/ and can write to the bus."""

import asyncio
import hashlib
import io
import os

import cbor2
import nats

# Fields of the envelope that only the sent form has (schemas/turnpike.cddl).
POSITION, HASH = 4, 12
SEQ, NAME, VERSION, DATA, PREV_HASH = 3, 8, 9, 10, 11
POSITION_BYTES = 16
# Behind everything that will ever be.
LAST_POSITION = b"\xff" * POSITION_BYTES


def run(work):
    """Runs what needs a loop of its own."""
    return asyncio.run(work)


async def connect(house, user=None):
    """A connection to the house's NATS, as one of its users if it has any."""
    login = {"user": user, "password": house.logins[user]} if user else {}
    prefix = f"_INBOX_{user}" if user and user.startswith("gw_") else "_INBOX"
    return await nats.connect(house.nats_url, inbox_prefix=prefix.encode(), **login)


def say(house, messages, user=None):
    """Publishes pairs of subject and payload."""

    async def publish():
        client = await connect(house, user)
        for subject, payload in messages:
            await client.publish(subject, payload)
        await client.drain()

    run(publish())


def kept(house, subject):
    """What JetStream holds of a subject: pairs of subject and payload, the oldest first."""

    async def read():
        client = await connect(house)
        subscription = await client.jetstream().subscribe(subject, ordered_consumer=True)
        found, left, patience = [], 1, 1
        try:
            while left:
                message = await subscription.next_msg(timeout=patience)
                found.append((message.subject, message.data))
                # Once something has come, what is behind it comes too.
                left, patience = message.metadata.num_pending, 30
        except nats.errors.TimeoutError:
            assert not left or not found, f"{left} more were to come of {subject}"
        await client.close()
        return found

    return run(read())


def heard(house, subject, count, seconds=60):
    """The next messages of a subject that nobody keeps."""

    async def listen():
        client = await connect(house)
        subscription = await client.subscribe(subject)
        found = [(await subscription.next_msg(timeout=seconds)).data for _ in range(count)]
        await client.close()
        return found

    return run(listen())


def events_of(house):
    """The true stream of the house's organisation, in the form in which events are sent."""
    copy = io.BytesIO(house.of_org("GET", "/audit/chain", expect=None).content)
    events = []
    while copy.tell() < len(copy.getbuffer()):
        position = (len(events) + 1).to_bytes(POSITION_BYTES, "big")
        events.append(seal(cbor2.load(copy), position))
    return events


def seal(body, position):
    """The sent form of an envelope's fields, with the hash that they have."""
    body = {number: body[number] for number in sorted(body) if number not in (POSITION, HASH)}
    digest = hashlib.sha256(cbor2.dumps(body)).digest()
    sent = {**body, POSITION: position, HASH: digest}
    return cbor2.dumps({number: sent[number] for number in sorted(sent)})


def follows(last, model, **changes):
    """An event that follows `last` in its chain, made of another by changing some fields."""
    before, fields = cbor2.loads(last), cbor2.loads(model)
    fields = {**fields, SEQ: before[SEQ] + 1, PREV_HASH: before[HASH], 1: os.urandom(16)}
    names = {"name": NAME, "version": VERSION, "data": DATA}
    fields |= {names[what]: value for what, value in changes.items()}
    return seal(fields, LAST_POSITION)
