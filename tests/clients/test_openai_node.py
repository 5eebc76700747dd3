"""The official Node SDK of OpenAI: every call, every code, and how often each is tried."""

import pytest

from desk import BREAKING, CASES, MAX_BODY_BYTES, name_of
from javascript import Javascript
from sdks import Program

DIALECT = "openai"
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
def sdk(desk):
    with Javascript("openai.mjs") as running:
        yield Program(desk, running, DIALECT)


@pytest.mark.parametrize("call", ANSWERS)
def test_an_answer_is_what_the_provider_said(sdk, call):
    assert sdk.answers(call) == ANSWERS[call]


def test_speech_comes_as_it_is(sdk):
    assert sdk.value("speech", "plain") == {"begin": "RIFF", "bytes": 52}


def test_a_provider_that_fails_once_is_tried_again(sdk):
    assert sdk.is_tried_again("chat", "status=500;times=1")["said"] == "one two"


def test_what_the_provider_refuses_comes_down_as_it_is(sdk):
    sdk.comes_down_as_it_is("chat")


@pytest.mark.parametrize("model", BREAKING)
@pytest.mark.parametrize("call", ["broken", "broken_response"])
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, sdk, call, model):
    answer = sdk.call(call, "plain", model=model)
    error = answer["thrown"]
    assert (error["kind"], error["code"]) == ("APIError", "provider_error")
    assert (len(desk.counters[0].take()), answer["waits"]) == (1, [])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_code_has_its_exception_and_its_tries(sdk, case):
    sdk.provokes(case, CLASSES[case.status], TRIES)


@pytest.mark.parametrize("key", ["plain", "revoked"])
def test_a_refusal_reaches_who_is_still_sending(desk, sdk, key):
    """Straight to the gateway: a connection that is closed over unread bytes would be reset."""
    url = desk.house.gateway_url(0)
    large = {"model": "echo-1", "how": "large", "bytes": 8 * MAX_BODY_BYTES}
    for _ in range(5):
        answer = sdk.running.call("provoke", url=url, key=desk.secret(key), **large)
        assert answer["thrown"]["status"] == {"plain": 413, "revoked": 401}[key], answer
        assert answer["waits"] == [], "no try but the first"


def test_what_is_booked_is_what_the_provider_counted(desk, sdk):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(sdk.key)
