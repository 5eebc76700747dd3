"""The official Python SDK of Anthropic: every call, every code, and how often each is tried."""

import asyncio

import anthropic
import pytest

from desk import BREAKING, CASES, MANY_TOKENS, MAX_BODY_BYTES, name_of
from sdks import tried
from waits import unspent

DIALECT = "anthropic"
KEY = f"books-{DIALECT}"
TRIES = 1 + anthropic.DEFAULT_MAX_RETRIES
ASKED = [{"role": "user", "content": "one two"}]
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOLS = [{"name": "say", "description": "says", "input_schema": SCHEMA}]
THINKING = {"type": "enabled", "budget_tokens": 1024}
CACHED = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
CLASSES = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    402: anthropic.PaymentRequiredError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    408: anthropic.RequestTimeoutError,
    413: anthropic.ContentTooLargeError,
    429: anthropic.RateLimitError,
    502: anthropic.InternalServerError,
    503: anthropic.ServiceUnavailableError,
    504: anthropic.GatewayTimeoutError,
}
# Anthropic's own names for kinds of errors, where the status alone does not tell.
TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


@pytest.fixture
def waits(monkeypatch):
    return unspent(monkeypatch, anthropic._base_client)


@pytest.fixture
def client(desk):
    desk.counters[0].take()
    with connect(desk, KEY) as client:
        yield client


def connect(desk, key, gateway=0, kind=anthropic.Anthropic):
    return kind(base_url=desk.url(gateway), api_key=desk.secret(key))


def create(client, model="echo-1", max_tokens=1_500, **options):
    return client.messages.create(model=model, messages=ASKED, max_tokens=max_tokens, **options)


def test_a_plain_answer_tells_its_usage_and_its_cost(desk, client):
    raw = client.messages.with_raw_response.create(model="echo-1", messages=ASKED, max_tokens=9)
    answer = raw.parse()
    assert (answer.content[0].text, answer.stop_reason) == ("one two", "end_turn")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 2)
    assert raw.headers["x-turnpike-cost-usd"] == desk.served_usd(raw.headers) == "0.000006"
    (seen,) = desk.counters[0].take()
    assert (seen.method, seen.path, seen.status) == ("POST", "/v1/messages", 200)


def test_an_output_maximum(client):
    answer = create(client, max_tokens=1)
    assert (answer.content[0].text, answer.stop_reason) == ("one", "max_tokens")


@pytest.mark.parametrize("way", ["auth_token", "both headers"])
def test_the_same_stands_under_anthropic_with_other_headers(desk, way):
    url, secret = f"{desk.url()}/anthropic", desk.secret(KEY)
    if way == "auth_token":
        client = anthropic.Anthropic(base_url=url, auth_token=secret)
    else:
        headers = {"x-api-key": secret}
        client = anthropic.Anthropic(base_url=url, api_key=secret, default_headers=headers)
    desk.counters[0].take()
    with client:
        assert create(client).content[0].text == "one two"
    (seen,) = desk.counters[0].take()
    assert seen.path == "/anthropic/v1/messages"
    assert ("x-api-key" in seen.headers) == (way == "both headers")


def test_what_the_cache_gave_is_told_and_cheaper(client):
    usage = create(client, system=CACHED).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (2, 2)


def test_a_stream(client):
    events = list(create(client, stream=True))
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0].message.usage.input_tokens == 2
    assert events[5].usage.output_tokens == 2


def test_the_helper_of_streams_puts_the_answer_together(client):
    with client.messages.stream(model="echo-1", messages=ASKED, max_tokens=9) as stream:
        assert "".join(stream.text_stream) == "one two"
        answer = stream.get_final_message()
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 2)


def test_a_tool_is_called(client):
    answer = create(client, "tool", tools=TOOLS)
    assert answer.stop_reason == "tool_use"
    (call,) = answer.content
    assert (call.name, call.input) == ("say", {"text": "one two"})


def test_a_tool_is_called_in_a_stream(client):
    with client.messages.stream(
        model="tool", messages=ASKED, max_tokens=9, tools=TOOLS
    ) as stream:
        kinds = {event.type for event in stream}
        (call,) = stream.get_final_message().content
    assert "input_json" in kinds
    assert call.input == {"text": "one two"}


def test_the_result_of_a_tool_goes_back(client):
    messages = [
        *ASKED,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "say", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "1", "content": "three four five"}],
        },
    ]
    answer = client.messages.create(model="echo-1", messages=messages, max_tokens=9)
    assert answer.usage.input_tokens == 5


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_shown_and_signed(client, stream):
    options = {"model": "thinking", "messages": ASKED, "max_tokens": 1_500, "thinking": THINKING}
    if stream:
        with client.messages.stream(**options) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**options)
    thought, said = answer.content
    assert (thought.type, thought.thinking, thought.signature) == ("thinking", "hm hm hm", "echo")
    assert said.text == "one two"
    assert answer.usage.output_tokens == 5


def test_tokens_are_counted_for_nothing(client):
    raw = client.messages.with_raw_response.count_tokens(
        model="echo-1", messages=ASKED, system="be brief"
    )
    assert raw.parse().input_tokens == 4
    assert raw.headers["x-turnpike-cost-usd"] == "0.00"


def test_models_are_those_of_the_key(desk, client):
    names = {model.id for model in client.models.list()}
    assert {"echo-1", "echo-slow", "tool"} <= names
    model = client.models.retrieve("echo-1")
    assert (model.id, model.type) == ("echo-1", "model")
    with connect(desk, "other-model") as other:
        assert [model.id for model in other.models.list()] == ["echo-slow"]
        with pytest.raises(anthropic.NotFoundError):
            other.models.retrieve("echo-1")


def test_an_asynchronous_client(desk):
    async def calls():
        async with connect(desk, KEY, kind=anthropic.AsyncAnthropic) as client:
            answers = await asyncio.gather(*(create(client) for _ in range(8)))
            async with client.messages.stream(
                model="echo-1", messages=ASKED, max_tokens=9
            ) as stream:
                said = await stream.get_final_text()
        return [answer.content[0].text for answer in answers], said

    assert asyncio.run(calls()) == (["one two"] * 8, "one two")


def test_a_provider_that_fails_once_is_tried_again(desk, client, waits):
    desk.script("status=529;times=1")
    assert create(client).content[0].text == "one two"
    assert [seen.status for seen in desk.counters[0].take()] == [502, 200]
    assert len(waits.spent) == 1


def test_what_the_provider_refuses_comes_down_as_it_is(desk, client, waits):
    desk.script("status=422;times=1")
    with pytest.raises(anthropic.UnprocessableEntityError) as raised:
        create(client)
    assert raised.value.body["error"]["message"] == "scripted"
    assert "x-turnpike-error-code" not in raised.value.response.headers
    assert len(desk.counters[0].take()) == 1


@pytest.mark.parametrize("model", BREAKING)
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, model):
    desk.counters[0].take()
    with connect(desk, "plain") as client, pytest.raises(anthropic.APIStatusError) as raised:
        list(create(client, model, stream=True))
    assert raised.value.body["error"]["details"]["error_code"] == "provider_error"
    assert len(desk.counters[0].take()) == 1


def provoke(client, case, model):
    if case.how == "nowhere":
        return client.messages.batches.list()
    if case.how == "invalid":
        return client.post("/v1/messages", cast_to=object, body={"messages": ASKED})
    if case.how == "large":
        large = [{"role": "user", "content": "x" * MAX_BODY_BYTES}]
        return client.messages.create(model=model, messages=large, max_tokens=9)
    return create(client, model, max_tokens=MANY_TOKENS)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_code_has_its_exception_and_its_tries(desk, waits, case):
    with desk.prepared(case, DIALECT), connect(desk, desk.key_of(case, DIALECT), case.gateway) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            provoke(client, case, desk.model_of(case, DIALECT))
    error = raised.value
    assert type(error) is CLASSES[case.status]
    assert (error.status_code, error.error_code) == (case.status, case.code)
    assert error.type == TYPES.get(case.status, error.type)
    assert error.details.metadata["retryable"] is case.again
    headers = error.response.headers
    assert headers["x-turnpike-error-code"] == case.code
    assert error.request_id == error.body["request_id"] == headers["x-turnpike-request-id"]
    tried(case, desk.counters[case.gateway].take(), waits.spent, headers, TRIES)


def test_what_is_booked_is_what_the_provider_counted(desk):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(KEY)
