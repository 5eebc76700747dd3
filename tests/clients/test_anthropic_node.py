"""The official Node SDK of Anthropic: every call, every code, and how often each is tried."""

import pytest

from desk import BREAKING, CASES, MANY_TOKENS, MAX_BODY_BYTES, name_of
from javascript import Javascript

DIALECT = "anthropic"
KEY = f"books-{DIALECT}"
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
def sdk():
    with Javascript("anthropic.mjs") as running:
        yield running


def caller(desk, key=KEY, gateway=0):
    desk.counters[gateway].take()
    return {"url": desk.url(gateway), "key": desk.secret(key)}


@pytest.mark.parametrize("call", ANSWERS)
def test_an_answer_is_what_the_provider_said(desk, sdk, call):
    assert sdk.value(call, **caller(desk)) == ANSWERS[call]
    assert {seen.status for seen in desk.counters[0].take()} == {200}


def test_a_provider_that_fails_once_is_tried_again(desk, sdk):
    desk.script("status=529;times=1")
    answer = sdk.call("message", **caller(desk))
    assert answer["value"]["said"] == "one two"
    assert [seen.status for seen in desk.counters[0].take()] == [502, 200]
    assert len(answer["waits"]) == 1


def test_what_the_provider_refuses_comes_down_as_it_is(desk, sdk):
    desk.script("status=422;times=1")
    error = sdk.call("message", **caller(desk))["thrown"]
    assert (error["kind"], error["message"]) == ("UnprocessableEntityError", "scripted")
    assert "x-turnpike-error-code" not in error["headers"]


@pytest.mark.parametrize("model", BREAKING)
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, sdk, model):
    answer = sdk.call("broken", **caller(desk, "plain"), model=model)
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


def test_what_is_booked_is_what_the_provider_counted(desk):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(KEY)
