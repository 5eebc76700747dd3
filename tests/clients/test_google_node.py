"""The official Node SDK of Google (@google/genai): every call, every code, and its tries."""

import pytest

from desk import BREAKING, CASES, name_of
from javascript import Javascript
from sdks import Program

DIALECT = "gemini"
ANSWERS = {
    "content": {
        "said": "one two",
        "finish": "STOP",
        "input": 2,
        "output": 2,
        "cost": "0.000006",
        "named": True,
    },
    "under_v1beta": "one two",
    "stream": {"said": "one two", "total": 4},
    "chat": {"said": "three", "input": 5},
    "tool": [{"name": "say", "args": {"text": "one two"}}],
    "tool_in_a_stream": [{"text": "one two"}],
    "thoughts": [True, "hm hm hm", "one two", 3],
    "count_tokens": 2,
    "embeddings": [8, 8],
    "models": {"lists": True, "name": "models/echo-1"},
}


@pytest.fixture(scope="module")
def sdk(desk):
    with Javascript("google.mjs") as running:
        yield Program(desk, running, DIALECT)


@pytest.mark.parametrize("call", ANSWERS)
def test_an_answer_is_what_the_provider_said(sdk, call):
    assert sdk.answers(call) == ANSWERS[call]


def test_who_asks_for_tries_gets_them(desk, sdk):
    desk.script("status=500;times=1")
    assert sdk.value("asks_for_tries") == "one two"
    assert sdk.statuses() == [502, 200]
    assert sdk.call("asks_for_tries", "no-budget")["thrown"]["status"] == 402
    assert sdk.statuses() == [402]


def test_what_the_provider_refuses_comes_down_as_it_is(sdk):
    error = sdk.refused_by_provider("content")
    assert (error["status"], error["error"]["message"]) == (422, "scripted")


@pytest.mark.parametrize("model", BREAKING)
def test_a_stream_that_breaks_off_is_an_error_and_is_not_tried_again(desk, sdk, model):
    error = sdk.value("broken", "plain", model=model)
    assert error == {"kind": "ApiError", "status": 502, "told": True}
    assert len(desk.counters[0].take()) == 1


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_code_has_its_exception_and_one_try(sdk, case):
    """This SDK tries only once, unless it is asked for more."""
    answer, (seen,) = sdk.provoke(case)
    error = answer["thrown"]
    assert (error["kind"], error["status"]) == ("ApiError", case.status)
    reason, *rest = error["error"]["details"]
    assert (reason["reason"], reason["domain"]) == (case.code.upper(), "turnpike.dev")
    assert reason["metadata"]["retryable"] == str(case.again).lower()
    assert seen.status == case.status
    # The SDK drops the headers, so that the body names the request too.
    (named,) = [each["requestId"] for each in rest if each["@type"].endswith("RequestInfo")]
    assert named == seen.request


def test_what_is_booked_is_what_the_provider_counted(desk, sdk):
    """The last test here: all that the key did, to the nano-USD."""
    desk.books(sdk.key)
