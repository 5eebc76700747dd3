"""The official Python SDK of Google (google-genai): every call, every code, and its tries."""

import asyncio

import pytest
from google import genai
from google.genai import errors, types

from desk import BREAKING, CASES, MANY_TOKENS, MAX_BODY_BYTES, name_of

DIALECT = "gemini"
KEY = f"books-{DIALECT}"
ASKED = "one two"
SAY = types.FunctionDeclaration(
    name="say", parameters_json_schema={"type": "object", "properties": {"text": {"type": "string"}}}
)
TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[SAY])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)
# The canonical names of Google's errors (google/rpc/code.proto).
NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@pytest.fixture
def client(desk):
    desk.counters[0].take()
    return connect(desk, KEY)


def connect(desk, key, gateway=0, **options):
    options = types.HttpOptions(base_url=desk.url(gateway), **options)
    return genai.Client(api_key=desk.secret(key), http_options=options)


def create(client, model="echo-1", contents=ASKED, **options):
    return client.models.generate_content(model=model, contents=contents, **options)


def test_a_plain_answer_tells_its_usage_and_its_cost(desk, client):
    answer = create(client)
    usage = answer.usage_metadata
    assert answer.text == "one two"
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert (usage.prompt_token_count, usage.candidates_token_count) == (2, 2)
    headers = answer.sdk_http_response.headers
    assert headers["x-turnpike-cost-usd"] == desk.served_usd(headers) == "0.000006"
    (seen,) = desk.counters[0].take()
    assert (seen.method, seen.path) == ("POST", "/v1/models/echo-1:generateContent")
    assert "x-goog-api-key" in seen.headers and "authorization" not in seen.headers


def test_the_same_stands_under_v1beta(desk):
    desk.counters[0].take()
    assert create(connect(desk, KEY, api_version="v1beta")).text == "one two"
    (seen,) = desk.counters[0].take()
    assert seen.path == "/v1beta/models/echo-1:generateContent"


def test_several_answers_and_an_output_maximum(client):
    config = types.GenerateContentConfig(
        candidate_count=2, max_output_tokens=1, system_instruction="be brief"
    )
    answer = create(client, config=config)
    told = [(each.content.parts[0].text, each.finish_reason.name) for each in answer.candidates]
    assert told == [("one", "MAX_TOKENS")] * 2
    assert answer.usage_metadata.prompt_token_count == 4


def test_a_stream(client):
    chunks = list(client.models.generate_content_stream(model="echo-1", contents=ASKED))
    assert "".join(chunk.text or "" for chunk in chunks) == "one two"
    assert chunks[-1].usage_metadata.total_token_count == 4


def test_a_chat_remembers(client):
    chat = client.chats.create(model="echo-1")
    assert chat.send_message("one two").text == "one two"
    answer = chat.send_message("three")
    assert (answer.text, answer.usage_metadata.prompt_token_count) == ("three", 5)
    said = "".join(chunk.text or "" for chunk in chat.send_message_stream("four"))
    assert said == "four"


def test_a_tool_is_called(client):
    (call,) = create(client, "tool", config=TOOLS).function_calls
    assert (call.name, call.args) == ("say", {"text": "one two"})


def test_a_tool_is_called_in_a_stream(client):
    stream = client.models.generate_content_stream(model="tool", contents=ASKED, config=TOOLS)
    calls = [call for chunk in stream for call in chunk.function_calls or []]
    assert [call.args for call in calls] == [{"text": "one two"}]


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_shown_and_told_in_the_usage(client, stream):
    options = {"model": "thinking", "contents": ASKED}
    if stream:
        answers = list(client.models.generate_content_stream(**options))
    else:
        answers = [client.models.generate_content(**options)]
    parts = [part for answer in answers for part in answer.candidates[0].content.parts]
    assert parts[0].thought and parts[0].text == "hm hm hm"
    assert "".join(part.text for part in parts[1:]) == "one two"
    usage = answers[-1].usage_metadata
    assert (usage.thoughts_token_count, usage.candidates_token_count) == (3, 2)


def test_tokens_are_counted_for_nothing(client):
    told = client.models.count_tokens(model="echo-1", contents="a b c")
    assert told.total_tokens == 3
    assert told.sdk_http_response.headers["x-turnpike-cost-usd"] == "0.00"


@pytest.mark.parametrize("contents", [["a b"], ["a b", "c"]])
def test_embeddings_of_one_and_of_many(client, contents):
    config = types.EmbedContentConfig(output_dimensionality=8)
    answer = client.models.embed_content(model="echo-1", contents=contents, config=config)
    assert [len(each.values) for each in answer.embeddings] == [8] * len(contents)


def test_models_are_those_of_the_key(desk, client):
    names = {model.name for model in client.models.list()}
    assert {"models/echo-1", "models/echo-slow", "models/tool"} <= names
    assert client.models.get(model="echo-1").name == "models/echo-1"
    other = connect(desk, "other-model")
    assert [model.name for model in other.models.list()] == ["models/echo-slow"]
    with pytest.raises(errors.ClientError):
        other.models.get(model="echo-1")


def test_an_asynchronous_client(desk):
    async def calls():
        async with connect(desk, KEY).aio as client:
            asked = {"model": "echo-1", "contents": ASKED}
            answers = [client.models.generate_content(**asked) for _ in range(8)]
            answers = await asyncio.gather(*answers)
            stream = await client.models.generate_content_stream(**asked)
            said = [chunk.text or "" async for chunk in stream]
        return [answer.text for answer in answers], "".join(said)

    assert asyncio.run(calls()) == (["one two"] * 8, "one two")


def test_who_asks_for_tries_gets_them(desk):
    again = types.HttpRetryOptions(attempts=3, initial_delay=0, max_delay=0, jitter=0)
    desk.counters[0].take()
    desk.script("status=500;times=1")
    assert create(connect(desk, KEY, retry_options=again)).text == "one two"
    assert [seen.status for seen in desk.counters[0].take()] == [502, 200]
    with pytest.raises(errors.ClientError):
        create(connect(desk, "no-budget", retry_options=again))
    assert [seen.status for seen in desk.counters[0].take()] == [402]


def test_what_the_provider_refuses_comes_down_as_it_is(desk, client):
    desk.script("status=422;times=1")
    with pytest.raises(errors.ClientError) as raised:
        create(client)
    assert (raised.value.code, raised.value.message) == (422, "scripted")
    assert "x-turnpike-error-code" not in raised.value.response.headers


@pytest.mark.parametrize("model", BREAKING)
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, model):
    desk.counters[0].take()
    client = connect(desk, "plain")
    with pytest.raises(errors.ServerError) as raised:
        list(client.models.generate_content_stream(model=model, contents=ASKED))
    assert (raised.value.code, raised.value.status) == (502, "UNAVAILABLE")
    assert len(desk.counters[0].take()) == 1


def provoke(client, case, model):
    if case.how == "nowhere":
        return client.caches.get(name="cachedContents/nowhere")
    if case.how == "invalid":
        body = types.HttpOptions(extra_body={"generationConfig": {"maxOutputTokens": "many"}})
        return create(client, model, config=types.GenerateContentConfig(http_options=body))
    if case.how == "large":
        return create(client, model, "x" * MAX_BODY_BYTES)
    return create(client, model, config={"max_output_tokens": MANY_TOKENS})


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_code_has_its_exception_and_one_try(desk, case):
    """This SDK tries only once, unless it is asked for more."""
    client = connect(desk, desk.key_of(case, DIALECT), case.gateway)
    with desk.prepared(case, DIALECT), pytest.raises(errors.APIError) as raised:
        provoke(client, case, desk.model_of(case, DIALECT))
    error = raised.value
    assert type(error) is (errors.ClientError if case.status < 500 else errors.ServerError)
    assert (error.code, error.status) == (case.status, NAMES[case.status])
    reason, *rest = error.details["error"]["details"]
    assert (reason["reason"], reason["domain"]) == (case.code.upper(), "turnpike.dev")
    assert reason["metadata"]["retryable"] == str(case.again).lower()
    headers = error.response.headers
    assert headers["x-turnpike-error-code"] == case.code
    told = [each["retryDelay"] for each in rest if each["@type"].endswith("RetryInfo")]
    after = headers.get("retry-after")
    assert told == ([f"{after}s"] if after else [])
    assert [seen.status for seen in desk.counters[case.gateway].take()] == [case.status]


def test_what_is_booked_is_what_the_provider_counted(desk):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(KEY)
