"""The official Python SDK of OpenAI: every call, every code, and how often each is tried."""

import asyncio
import base64
import struct

import openai
import pytest

from desk import BREAKING, CASES, MANY_TOKENS, MAX_BODY_BYTES, name_of
from sdks import tried
from waits import unspent

DIALECT = "openai"
KEY = f"books-{DIALECT}"
TRIES = 1 + openai.DEFAULT_MAX_RETRIES
ASKED = [{"role": "user", "content": "one two"}]
TOOL = {"type": "object", "properties": {"text": {"type": "string"}}}
CHAT_TOOLS = [{"type": "function", "function": {"name": "say", "parameters": TOOL}}]
RESPONSE_TOOLS = [{"type": "function", "name": "say", "parameters": TOOL, "strict": False}]
CLASSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    402: openai.APIStatusError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    408: openai.APIStatusError,
    413: openai.APIStatusError,
    429: openai.RateLimitError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
}


@pytest.fixture
def waits(monkeypatch):
    return unspent(monkeypatch, openai._base_client)


@pytest.fixture
def client(desk):
    desk.counters[0].take()
    with connect(desk, KEY) as client:
        yield client


def connect(desk, key, gateway=0, kind=openai.OpenAI):
    return kind(base_url=f"{desk.url(gateway)}/v1", api_key=desk.secret(key))


def create(client, model="echo-1", **options):
    return client.chat.completions.create(model=model, messages=ASKED, **options)


def test_a_plain_answer_tells_its_usage_and_its_cost(desk, client):
    raw = client.chat.completions.with_raw_response.create(model="echo-1", messages=ASKED)
    answer = raw.parse()
    assert answer.choices[0].message.content == "one two"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 2)
    assert raw.headers["x-turnpike-cost-usd"] == desk.served_usd(raw.headers) == "0.000006"
    (seen,) = desk.counters[0].take()
    assert (seen.method, seen.path, seen.status) == ("POST", "/v1/chat/completions", 200)


def test_several_answers_and_an_output_maximum(client):
    answer = create(client, n=2, max_completion_tokens=1)
    assert [(each.message.content, each.finish_reason) for each in answer.choices] == [
        ("one", "length"),
        ("one", "length"),
    ]


def test_a_stream_without_usage_has_no_chunk_of_it(client):
    chunks = list(create(client, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage_ends_with_it(client):
    *_, last = create(client, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.total_tokens == 4


def test_the_helper_of_streams_puts_the_answer_together(client):
    with client.chat.completions.stream(model="echo-1", messages=ASKED) as stream:
        said = [event.delta for event in stream if event.type == "content.delta"]
    assert "".join(said) == "one two"
    assert stream.get_final_completion().choices[0].message.content == "one two"


def test_a_tool_is_called(client):
    (call,) = create(client, "tool", tools=CHAT_TOOLS).choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("say", '{"text":"one two"}')


def test_a_tool_is_called_in_a_stream(client):
    with client.chat.completions.stream(
        model="tool", messages=ASKED, tools=CHAT_TOOLS
    ) as stream:
        done = stream.until_done().get_final_completion()
    (call,) = done.choices[0].message.tool_calls
    assert call.function.arguments == '{"text":"one two"}'
    assert done.choices[0].finish_reason == "tool_calls"


def test_reasoning_is_told_in_the_usage(client):
    usage = create(client, "thinking").usage
    assert usage.completion_tokens == 5
    assert usage.completion_tokens_details.reasoning_tokens == 3


def test_the_result_of_a_tool_goes_back(client):
    call = {"id": "1", "type": "function", "function": {"name": "say", "arguments": "{}"}}
    messages = [
        *ASKED,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "three four five"},
    ]
    answer = client.chat.completions.create(model="echo-1", messages=messages)
    assert answer.usage.prompt_tokens == 5


def test_completions(client):
    answer = client.completions.create(model="echo-1", prompt=["a b", "c"])
    assert [choice.text for choice in answer.choices] == ["a b", "c"]
    chunks = client.completions.create(model="echo-1", prompt="a b", stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "a b"


def test_responses(client):
    answer = client.responses.create(model="echo-1", input="one two", instructions="be brief")
    assert (answer.output_text, answer.status) == ("one two", "completed")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 2)


def test_responses_in_a_stream(client):
    with client.responses.stream(model="echo-1", input="one two") as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert kinds.count("response.output_text.delta") == 2
    assert answer.output_text == "one two"


@pytest.mark.parametrize("stream", [False, True])
def test_responses_call_a_tool(client, stream):
    options = {"model": "tool", "input": "one two", "tools": RESPONSE_TOOLS}
    if stream:
        with client.responses.stream(**options) as events:
            answer = events.get_final_response()
    else:
        answer = client.responses.create(**options)
    (call,) = answer.output
    assert (call.name, call.arguments) == ("say", '{"text":"one two"}')


def test_embeddings_as_floats_and_as_base64(client):
    # The SDK asks for base64 of its own accord, and unpacks it.
    usual = client.embeddings.create(model="echo-1", input=["a b", "c"], dimensions=8)
    floats = client.embeddings.create(
        model="echo-1", input=["a b", "c"], dimensions=8, encoding_format="float"
    )
    packed = client.embeddings.create(
        model="echo-1", input=["a b", "c"], dimensions=8, encoding_format="base64"
    )
    assert usual.usage.prompt_tokens == 3
    for one, other, third in zip(usual.data, floats.data, packed.data, strict=True):
        unpacked = struct.unpack("<8f", base64.b64decode(third.embedding))
        assert one.embedding == other.embedding == list(unpacked)


def test_images(client):
    answer = client.images.generate(model="echo-1", prompt="a red fox", n=2)
    for image in answer.data:
        assert base64.b64decode(image.b64_json).startswith(b"\x89PNG")
    assert answer.usage.input_tokens == 3


def test_speech_comes_as_it_is(desk):
    with connect(desk, "plain") as client:
        spoken = client.audio.speech.create(model="echo-1", input="say it", voice="alloy").content
    assert spoken.startswith(b"RIFF") and spoken.endswith(b"\x80" * 8)


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_a_recording_is_uploaded(desk, response_format):
    # A plain text has no place for usage, so that what is booked is counted, not told.
    key = {"json": KEY, "text": "plain"}[response_format]
    told = connect(desk, key).audio.transcriptions.create(
        model="echo-1",
        file=("a.wav", b"RIFF\x00\xff\r\n--", "audio/wav"),
        prompt="one two",
        response_format=response_format,
    )
    assert (told if response_format == "text" else told.text).strip() == "one two"


def test_a_transcription_in_a_stream(client):
    events = list(
        client.audio.transcriptions.create(
            model="echo-1", file=("a.wav", b"RIFF", "audio/wav"), prompt="one two", stream=True
        )
    )
    assert "".join(event.delta for event in events[:-1]) == "one two"
    assert (events[-1].type, events[-1].usage.output_tokens) == ("transcript.text.done", 2)


def test_speech_in_a_stream_tells_its_usage(client):
    options = {"model": "echo-1", "input": "say it", "voice": "alloy", "stream_format": "sse"}
    with client.audio.speech.with_streaming_response.create(**options) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert '"input_tokens":2' in lines[-1] and "speech.audio.done" in lines[-1]


def test_moderations(client):
    answer = client.moderations.create(model="echo-1", input=["one", "two three"])
    assert [result.flagged for result in answer.results] == [False, False]


def test_models_are_those_of_the_key(desk, client):
    names = {model.id for model in client.models.list()}
    assert {"echo-1", "echo-slow", "tool"} <= names
    assert client.models.retrieve("echo-1").id == "echo-1"
    with connect(desk, "other-model") as other:
        assert [model.id for model in other.models.list()] == ["echo-slow"]
        with pytest.raises(openai.NotFoundError):
            other.models.retrieve("echo-1")


def test_an_asynchronous_client(desk):
    async def calls():
        async with connect(desk, KEY, kind=openai.AsyncOpenAI) as client:
            answers = await asyncio.gather(*(create(client) for _ in range(8)))
            stream = await create(client, stream=True)
            said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return [answer.choices[0].message.content for answer in answers], "".join(said)

    assert asyncio.run(calls()) == (["one two"] * 8, "one two")


def test_a_provider_that_fails_once_is_tried_again(desk, client, waits):
    desk.script("status=500;times=1")
    assert create(client).choices[0].message.content == "one two"
    assert [seen.status for seen in desk.counters[0].take()] == [502, 200]
    assert len(waits.spent) == 1


def test_what_the_provider_refuses_comes_down_as_it_is(desk, client, waits):
    desk.script("status=422;times=1")
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        create(client)
    assert raised.value.body["message"] == "scripted"
    assert "x-turnpike-error-code" not in raised.value.response.headers
    assert len(desk.counters[0].take()) == 1


@pytest.mark.parametrize("model", BREAKING)
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, model):
    desk.counters[0].take()
    with connect(desk, "plain") as client, pytest.raises(openai.APIError) as raised:
        list(create(client, model, stream=True))
    assert type(raised.value) is openai.APIError
    assert raised.value.code == "provider_error"
    assert len(desk.counters[0].take()) == 1
    with connect(desk, "plain") as client, pytest.raises(openai.APIError) as raised:
        list(client.responses.create(model=model, input="one two", stream=True))
    assert raised.value.code == "provider_error"
    assert len(desk.counters[0].take()) == 1


def provoke(client, case, model):
    if case.how == "nowhere":
        return client.post("/nowhere", cast_to=object, body={})
    if case.how == "invalid":
        return client.post("/chat/completions", cast_to=object, body={"messages": ASKED})
    if case.how == "large":
        large = [{"role": "user", "content": "x" * MAX_BODY_BYTES}]
        return client.chat.completions.create(model=model, messages=large)
    return create(client, model, max_completion_tokens=MANY_TOKENS)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_code_has_its_exception_and_its_tries(desk, waits, case):
    with desk.prepared(case, DIALECT), connect(desk, desk.key_of(case, DIALECT), case.gateway) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            provoke(client, case, desk.model_of(case, DIALECT))
    error = raised.value
    assert type(error) is CLASSES[case.status]
    assert (error.status_code, error.code) == (case.status, case.code)
    headers = error.response.headers
    assert headers["x-turnpike-error-code"] == case.code
    assert error.request_id == headers["x-turnpike-request-id"]
    assert error.body["metadata"]["retryable"] is case.again
    tried(case, desk.counters[case.gateway].take(), waits.spent, headers, TRIES)


def test_what_is_booked_is_what_the_provider_counted(desk, client):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(KEY)
