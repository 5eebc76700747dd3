"""What official SDKs of every language are asked at the desk, and how often they may try."""

import pytest

from desk import MANY_TOKENS, MAX_BODY_BYTES


class Program:
    """An SDK for Node at the desk; its key is the one that is looked at in the end."""

    def __init__(self, desk, running, dialect):
        self.desk, self.running, self.dialect = desk, running, dialect
        self.key = f"books-{dialect}"

    def _as(self, key=None, gateway=0):
        self.desk.counters[gateway].take()
        return {"url": self.desk.url(gateway), "key": self.desk.secret(key or self.key)}

    def value(self, call, key=None, **options):
        """What a call that must succeed returns."""
        return self.running.value(call, **self._as(key), **options)

    def call(self, call, key=None, **options):
        """What a call returns or throws, with its waits."""
        return self.running.call(call, **self._as(key), **options)

    def statuses(self):
        """Of every try since the last call was begun."""
        return [seen.status for seen in self.desk.counters[0].take()]

    def answers(self, call):
        """What a call returns, all of whose tries were answered well."""
        value = self.value(call)
        assert set(self.statuses()) == {200}
        return value

    def is_tried_again(self, call, script):
        """Whether one failure of the provider is made up for; what the call returns."""
        self.desk.script(script)
        answer = self.call(call)
        assert self.statuses() == [502, 200]
        assert len(answer["waits"]) == 1
        return answer["value"]

    def refused_by_provider(self, call):
        """What is thrown where the provider refuses the request itself."""
        self.desk.script("status=422;times=1")
        return self.call(call)["thrown"]

    def provoke(self, case):
        """What the request of a case ends with, and its tries."""
        with self.desk.prepared(case, self.dialect):
            answer = self.running.call(
                "provoke",
                **self._as(self.desk.key_of(case, self.dialect), case.gateway),
                model=self.desk.model_of(case, self.dialect),
                how=case.how,
                tokens=MANY_TOKENS,
                bytes=MAX_BODY_BYTES,
            )
        return answer, self.desk.counters[case.gateway].take()

    def provokes(self, case, kind, tries):
        """The exception of a case, with what all that are thrown have in common; its tries."""
        answer, seen = self.provoke(case)
        error = answer["thrown"]
        assert (error["kind"], error["status"]) == (kind, case.status)
        assert error["code"] == error["headers"]["x-turnpike-error-code"] == case.code
        assert error["request"] == error["headers"]["x-turnpike-request-id"]
        assert error["metadata"]["retryable"] is case.again
        tried(case, seen, answer["waits"], error["headers"], tries)

    def comes_down_as_it_is(self, call):
        """What the provider refuses is thrown as it said it, and not as ours."""
        error = self.refused_by_provider(call)
        assert (error["kind"], error["message"]) == ("UnprocessableEntityError", "scripted")
        assert "x-turnpike-error-code" not in error["headers"]


def tried(case, seen, waits, headers, tries):
    """A case is tried as often as it may be, after the waits that the answers name."""
    assert [each.status for each in seen] == [case.status] * (tries if case.again else 1)
    assert len(waits) == len(seen) - 1
    if "retry-after" in headers:
        assert waits[-1] == pytest.approx(float(headers["retry-after"]), abs=1)
