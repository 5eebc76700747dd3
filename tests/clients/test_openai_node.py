"""The official Node SDK of OpenAI: every call, every code, and how often each is tried."""

import pytest

from desk import BREAKING, CASES, MANY_TOKENS, MAX_BODY_BYTES, name_of
from javascript import Javascript

DIALECT = "openai"
KEY = f"books-{DIALECT}"
# The SDK tries again twice, as it says.
TRIES = 3
CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "APIError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "APIError",
    413: "APIError",
    429: "RateLimitError",
    502: "InternalServerError",
    503: "InternalServerError",
    504: "InternalServerError",
}
CALLED = ["say", '{"text":"one two"}']
ANSWERS = {
    "chat": {
        "said": "one two",
        "finish": "stop",
        "input": 2,
        "output": 2,
        "cost": "0.000006",
        "named": True,
    },
    "stream": {"said": "one two", "usages": 0},
    "stream_with_usage": {"said": "one two", "total": 4},
    "helper": "one two",
    "tool": CALLED,
    "tool_in_a_stream": [*CALLED, "tool_calls"],
    "completions": ["a b", "c"],
    "responses": {"said": "one two", "output": 2},
    "responses_in_a_stream": {
        "first": "response.created",
        "last": "response.completed",
        "said": "one two",
    },
    "responses_call_a_tool": CALLED,
    "embeddings": {"input": 3, "same": [True, True]},
    "images": ["PNG", "PNG"],
    "transcription": "one two",
    "moderations": [False, False],
    "models": {"lists": True, "id": "echo-1"},
}


@pytest.fixture(scope="module")
def sdk():
    with Javascript("openai.mjs") as running:
        yield running


def caller(desk, key=KEY, gateway=0):
    desk.counters[gateway].take()
    return {"url": desk.url(gateway), "key": desk.secret(key)}


@pytest.mark.parametrize("call", ANSWERS)
def test_an_answer_is_what_the_provider_said(desk, sdk, call):
    assert sdk.value(call, **caller(desk)) == ANSWERS[call]
    assert {seen.status for seen in desk.counters[0].take()} == {200}


def test_speech_comes_as_it_is(desk, sdk):
    assert sdk.value("speech", **caller(desk, "plain")) == {"begin": "RIFF", "bytes": 52}


def test_a_provider_that_fails_once_is_tried_again(desk, sdk):
    desk.script("status=500;times=1")
    answer = sdk.call("chat", **caller(desk))
    assert answer["value"]["said"] == "one two"
    assert [seen.status for seen in desk.counters[0].take()] == [502, 200]
    assert len(answer["waits"]) == 1


def test_what_the_provider_refuses_comes_down_as_it_is(desk, sdk):
    desk.script("status=422;times=1")
    error = sdk.call("chat", **caller(desk))["thrown"]
    assert (error["kind"], error["message"]) == ("UnprocessableEntityError", "scripted")
    assert "x-turnpike-error-code" not in error["headers"]


@pytest.mark.parametrize("model", BREAKING)
@pytest.mark.parametrize("call", ["broken", "broken_response"])
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, sdk, call, model):
    answer = sdk.call(call, **caller(desk, "plain"), model=model)
    error = answer["thrown"]
    assert (error["kind"], error["code"]) == ("APIError", "provider_error")
    assert (len(desk.counters[0].take()), answer["waits"]) == (1, [])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_code_has_its_exception_and_its_tries(desk, sdk, case):
    desk.prepare(case, DIALECT)
    answer = sdk.call(
        "provoke",
        **caller(desk, desk.key_of(case, DIALECT), case.gateway),
        model=desk.model_of(case, DIALECT),
        how=case.how,
        tokens=MANY_TOKENS,
        bytes=MAX_BODY_BYTES,
    )
    desk.tidy(case)
    error, waits = answer["thrown"], answer["waits"]
    assert (error["kind"], error["status"]) == (CLASSES[case.status], case.status)
    assert error["code"] == error["headers"]["x-turnpike-error-code"] == case.code
    assert error["request"] == error["headers"]["x-turnpike-request-id"]
    assert error["metadata"]["retryable"] is case.again
    seen = desk.counters[case.gateway].take()
    assert [each.status for each in seen] == [case.status] * (TRIES if case.again else 1)
    assert len(waits) == len(seen) - 1
    if "retry-after" in error["headers"]:
        assert waits[-1] == pytest.approx(float(error["headers"]["retry-after"]), abs=1)


@pytest.mark.parametrize("key", ["plain", "revoked"])
def test_a_refusal_reaches_who_is_still_sending(desk, sdk, key):
    """Straight to the gateway: a connection that is closed over unread bytes would be reset."""
    url = desk.house.gateway_url(0)
    large = {"model": "echo-1", "how": "large", "bytes": 8 * MAX_BODY_BYTES}
    for _ in range(5):
        answer = sdk.call("provoke", url=url, key=desk.secret(key), **large)
        assert answer["thrown"]["status"] == {"plain": 413, "revoked": 401}[key], answer
        assert answer["waits"] == [], "no try but the first"


def test_what_is_booked_is_what_the_provider_counted(desk):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(KEY)
