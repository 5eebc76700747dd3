"""The official Node SDK of Anthropic: every call, every code, and how often each is tried."""

import pytest

from desk import BREAKING, CASES, name_of
from javascript import Javascript
from sdks import Program

DIALECT = "anthropic"
# The SDK tries again twice, as it says.
TRIES = 3
CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "PaymentRequiredError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    413: "ContentTooLargeError",
    429: "RateLimitError",
    502: "InternalServerError",
    503: "ServiceUnavailableError",
    504: "GatewayTimeoutError",
}
THOUGHT = ["hm hm hm", "echo", "one two", 5]
ANSWERS = {
    "message": {
        "said": "one two",
        "stop": "end_turn",
        "input": 2,
        "output": 2,
        "cost": "0.000006",
        "named": True,
    },
    "bearer": "one two",
    "stream": [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ],
    "helper": {"said": "one two", "input": 2, "output": 2},
    "tool": {"name": "say", "input": {"text": "one two"}, "stop": "tool_use"},
    "tool_in_a_stream": {"text": "one two"},
    "thinking": THOUGHT,
    "thinking_in_a_stream": THOUGHT,
    "count_tokens": 2,
    "models": {"lists": True, "id": "echo-1"},
}


@pytest.fixture(scope="module")
def sdk(desk):
    with Javascript("anthropic.mjs") as running:
        yield Program(desk, running, DIALECT)


@pytest.mark.parametrize("call", ANSWERS)
def test_an_answer_is_what_the_provider_said(sdk, call):
    assert sdk.answers(call) == ANSWERS[call]


def test_a_provider_that_fails_once_is_tried_again(sdk):
    assert sdk.is_tried_again("message", "status=529;times=1")["said"] == "one two"


def test_what_the_provider_refuses_comes_down_as_it_is(sdk):
    sdk.comes_down_as_it_is("message")


@pytest.mark.parametrize("model", BREAKING)
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, sdk, model):
    answer = sdk.call("broken", "plain", model=model)
    error = answer["thrown"]
    assert (error["kind"], error["code"]) == ("APIError", "provider_error")
    assert (len(desk.counters[0].take()), answer["waits"]) == (1, [])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_code_has_its_exception_and_its_tries(sdk, case):
    sdk.provokes(case, CLASSES[case.status], TRIES)


def test_what_is_booked_is_what_the_provider_counted(desk, sdk):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(sdk.key)
