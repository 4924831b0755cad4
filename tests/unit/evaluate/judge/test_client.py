"""One request to an endpoint that answers, refuses, loses answers and leaks what it is told."""

import email.utils
import time

import httpx
import pytest
from faulty_endpoint import (
    BROKEN,
    CUT,
    DRIPS,
    HELD,
    RUBBISH,
    TOO_MANY,
    FaultyEndpoint,
    Reply,
    completion,
    error,
)

from nuggets_ray.config.schema import JudgeConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.judge import client
from nuggets_ray.evaluate.judge.client import (
    Completion,
    Endpoint,
    LostError,
    RefusedError,
    request_settings,
    retry_after_s,
)
from nuggets_ray.evaluate.judge.prompts import Conversation
from nuggets_ray.records import Message

CONVERSATION = (Message("system", "Judge."), Message("user", "Which é?"))
KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.delenv("NO_KEY", raising=False)


def ask(
    *replies: Reply, conversation: Conversation = CONVERSATION, **changed: object
) -> tuple[FaultyEndpoint, Completion]:
    """The completion of the last of as many requests as replies."""
    with FaultyEndpoint(list(replies)) as server:
        config = JudgeConfig(
            model="judge", url=server.url, api_key_env="JUDGE_KEY", timeout_s=30, **changed
        )
        with Endpoint(config) as endpoint:
            for _ in replies:
                found = endpoint.complete(conversation)
    return server, found


def test_what_is_sent() -> None:
    server, found = ask(completion("[[A]]", num_tokens=7))
    assert found == Completion("[[A]]", 7)
    [request] = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "judge",
        "messages": [
            {"role": "system", "content": "Judge."},
            {"role": "user", "content": "Which é?"},
        ],
        "temperature": 0,
        "max_tokens": 1024,
    }


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    server, _ = ask(completion("[[A]]"))
    assert "authorization" not in server.requests[0].headers


def test_judge_body_has_the_last_word_but_on_what_is_asked() -> None:
    body = {"max_tokens": None, "max_completion_tokens": 9, "seed": 1, "model": "x", "messages": []}
    server, _ = ask(completion("[[A]]"), body=body)
    sent = server.requests[0].body
    assert sent.pop("messages")[0]["content"] == "Judge."
    assert sent == {"model": "judge", "temperature": 0, "max_completion_tokens": 9, "seed": 1}
    assert request_settings(JudgeConfig(body={"temperature": None}, max_tokens=3)) == {
        "max_tokens": 3
    }


def test_an_address_may_name_the_method() -> None:
    with FaultyEndpoint() as server:
        config = JudgeConfig(model="m", url=f"{server.url}/chat/completions/")
        with Endpoint(config) as endpoint:
            endpoint.complete(CONVERSATION)
    assert server.requests[0].path == "/v1/chat/completions"


def test_an_answer_of_nothing_is_an_empty_text() -> None:
    assert ask(completion(None, num_tokens=None))[1] == Completion("", None)


@pytest.mark.parametrize(
    "reply, reason, retry_after",
    [
        (TOO_MANY, "answers 429: slow down", 0.0),
        (error(429, "wait", **{"Retry-After": "7"}), "answers 429: wait", 7.0),
        (BROKEN, "answers 500: out of order", None),
        (Reply(503, b"busy"), "answers 503: busy", None),
        (error(408, "too late"), "answers 408: too late", None),
    ],
)
def test_refused(reply: Reply, reason: str, retry_after: float | None) -> None:
    with pytest.raises(RefusedError) as caught:
        ask(reply)
    assert str(caught.value) == reason
    assert caught.value.retry_after_s == retry_after


@pytest.mark.parametrize(
    "reply, reason",
    [
        (CUT, "the connection was cut"),
        (RUBBISH, "the answer is no completion: <html>"),
        (Reply(body=b""), "the answer is no completion"),
        (Reply(body=b"[1]"), "the answer is no completion"),
        (Reply(body=b'{"choices": []}'), "the answer is no completion"),
        (Reply(body=b'{"choices": [{"message": {"content": 3}}]}'), "the answer is no completion"),
        (error(200, "in disguise"), "the answer is no completion: in disguise"),
    ],
)
def test_lost(reply: Reply, reason: str) -> None:
    with pytest.raises(LostError, match=reason):
        ask(reply)


@pytest.mark.parametrize("reply", [HELD, DRIPS])
def test_an_answer_that_does_not_come_is_lost(reply: Reply) -> None:
    with (
        FaultyEndpoint([reply]) as server,
        Endpoint(JudgeConfig(model="m", url=server.url, timeout_s=0.3)) as endpoint,
        pytest.raises(LostError, match="within judge.timeout_s=0.3"),
    ):
        endpoint.complete(CONVERSATION)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_and_not_shown(status: int) -> None:
    with pytest.raises(UserError) as caught:
        ask(error(status, f"wrong key: {KEY[:8]}***"))
    message = str(caught.value)
    assert f"answers {status} to the key in the environment variable JUDGE_KEY" in message
    assert KEY[:8] not in message


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(UserError, match="environment variable JUDGE_KEY is not set"):
        ask(error(401, "who are you?"))


def test_another_4xx_says_what_the_endpoint_says() -> None:
    with pytest.raises(
        UserError, match=r"answers 404 to judge.model=judge: no model \*\*\* here: check"
    ):
        ask(error(404, f"no model\n{KEY} here"))
    with pytest.raises(UserError, match="answers 301"):
        ask(Reply(301, headers={"Location": "http://127.0.0.1:1/"}))


def test_a_key_that_an_endpoint_repeats_is_kept_nowhere() -> None:
    _, found = ask(completion(f"[[A]] {KEY}"))
    assert found.text == "[[A]] ***"
    with pytest.raises(LostError, match=r"no completion: \*\*\*") as caught:
        ask(Reply(body=KEY.encode()))
    assert KEY not in str(caught.value)


def test_a_placeholder_for_a_key_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "EMPTY")
    assert ask(completion("EMPTY"))[1].text == "EMPTY"


def test_a_reply_that_is_made_to_break_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LostError, match="no completion"):
        ask(Reply(body=b"[" * 100_000))
    _, found = ask(Reply(body=b'{"choices": [{"message": {"content": "\\ud800"}}]}'))
    assert found.text == "?"
    monkeypatch.setattr(client, "MAX_REPLY_BYTES", 1000)
    with pytest.raises(LostError, match="longer than 1000 bytes"):
        ask(completion("a" * 1001))


def test_an_endpoint_that_is_not_there() -> None:
    with FaultyEndpoint() as server:
        url = server.url
    with (
        Endpoint(JudgeConfig(model="m", url=url)) as endpoint,
        pytest.raises(UserError, match=f"judge.url={url} cannot be reached .*refused"),
    ):
        endpoint.complete(CONVERSATION)


def test_an_endpoint_that_goes_away_is_asked_again() -> None:
    with FaultyEndpoint() as server:
        endpoint = Endpoint(JudgeConfig(model="m", url=server.url))
        endpoint.complete(CONVERSATION)
    with endpoint, pytest.raises(RefusedError, match="cannot be reached"):
        endpoint.complete(CONVERSATION)


@pytest.mark.parametrize("url", ["", "host:8000/v1", "ftp://host/v1", "http://", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="judge.url=.*give an address such as"):
        Endpoint(JudgeConfig(model="m", url=url))


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError) as caught:
        Endpoint(JudgeConfig(model="m", url="http://me:hunter2@host/v1"))
    assert "judge.url holds" in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_key_that_is_none_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\nexport")
    with pytest.raises(UserError) as caught:
        Endpoint(JudgeConfig(model="m", url="http://host/v1", api_key_env="JUDGE_KEY"))
    assert "JUDGE_KEY" in str(caught.value) and KEY not in str(caught.value)


def test_a_line_break_after_the_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\n")
    server, _ = ask(completion("[[A]]"))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "value, seconds",
    [("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("inf", 3600.0), ("soon", None), ("", None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after_s(httpx.Headers({"Retry-After": value})) == seconds


def test_retry_after_as_a_date() -> None:
    def found(moment: float) -> float | None:
        return retry_after_s({"retry-after": email.utils.formatdate(moment, usegmt=True)})

    assert retry_after_s({}) is None
    assert found(time.time() - 100) == 0.0
    assert found(time.time() + 1e6) == 3600.0
    seconds = found(time.time() + 2000)
    assert seconds is not None and 0 < seconds <= 2000
