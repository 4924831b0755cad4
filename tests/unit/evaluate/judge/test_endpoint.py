"""A judge behind an endpoint that fails: what is asked again, kept, paid for, and how it ends."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faulty_endpoint import (
    BROKEN,
    CUT,
    RUBBISH,
    TOO_MANY,
    FaultyEndpoint,
    Reply,
    Request,
    completion,
    echo,
    error,
)
from judge_tasks import tasks

from nuggets_ray.config.schema import JudgeConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.judge import endpoint
from nuggets_ray.evaluate.judge.cache import KeptVerdicts
from nuggets_ray.evaluate.judge.endpoint import EndpointJudge, backoff_s

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", KEY)


def make(
    server: FaultyEndpoint,
    out_dir: Path,
    waits: list[float] | None = None,
    **changed: object,
) -> EndpointJudge:
    """A judge that does not sleep, but writes into `waits` how long it would have."""
    settings = {"model": "m", "url": server.url, "api_key_env": "JUDGE_KEY", **changed}
    waits = [] if waits is None else waits
    return EndpointJudge(JudgeConfig(**settings), str(out_dir), wait=waits.append)  # type: ignore[arg-type]


def test_texts_come_in_order_and_each_is_asked_once(tmp_path: Path) -> None:
    texts = [str(i) for i in range(30)] + ["0", "1"]
    with FaultyEndpoint() as server:
        judge = make(server, tmp_path)
        assert judge(tasks(*texts)) == [f"re: {text}" for text in texts]
        assert len(server.requests) == 30
        assert judge(tasks("7", "new", "3")) == ["re: 7", "re: new", "re: 3"]
        assert len(server.requests) == 31
        assert make(server, tmp_path)(tasks(*texts)) == [f"re: {text}" for text in texts]
        assert len(server.requests) == 31
        make(server, tmp_path, max_tokens=7)(tasks("0"))
        make(server, tmp_path, model="n")(tasks("0"))
        assert len(server.requests) == 33


def test_as_many_requests_are_under_way_as_allowed(tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def answer(request: Request) -> Reply:
        together.wait(timeout=60)
        return echo(request)

    with FaultyEndpoint(answer=answer) as server:
        texts = make(server, tmp_path, concurrency=3)(tasks(*"abcdef"))
    assert texts == [f"re: {text}" for text in "abcdef"]


def test_faults_are_tried_again(tmp_path: Path) -> None:
    waits: list[float] = []
    after_9 = error(429, "wait", **{"Retry-After": "9"})
    with FaultyEndpoint([TOO_MANY, BROKEN, after_9, CUT, RUBBISH]) as server:
        judge = make(server, tmp_path, waits, concurrency=1)
        assert judge(tasks("a")) == ["re: a"]
    assert len(server.requests) == 6
    assert 0.5 <= waits[0] <= 1.5
    assert 1 <= waits[1] <= 3
    assert 9 + 2 <= waits[2] <= 9 + 6
    assert 4 <= waits[3] <= 12
    # refused requests cost nothing, lost ones may have been paid
    assert judge.kept.num_requests == 3


def test_back_off_doubles_up_to_a_minute_with_jitter() -> None:
    for attempt, seconds in [(0, 1.0), (3, 8.0), (20, 60.0), (2000, 60.0)]:
        found = {backoff_s(attempt, None) for _ in range(50)}
        assert 0.5 * seconds <= min(found) < max(found) <= 1.5 * seconds


def test_an_endpoint_that_stays_broken_ends_and_what_is_there_is_kept(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return BROKEN if request.body["messages"][-1]["content"] == "bad" else echo(request)

    with FaultyEndpoint(answer=answer) as server:
        judge = make(server, tmp_path, concurrency=1, max_retries=2)
        with pytest.raises(UserError) as caught:
            judge(tasks("a", "b", "bad", "c"))
        assert len(server.requests) == 5
    message = str(caught.value)
    assert f"judge.url={server.url} gave no verdict in 3 tries" in message
    assert "out of order" in message and "2 verdicts are kept" in message
    assert KeptVerdicts(str(tmp_path)).num_verdicts == 2


def test_the_budget_of_requests_holds_over_runs(tmp_path: Path) -> None:
    with FaultyEndpoint([TOO_MANY, BROKEN]) as server:
        with pytest.raises(UserError) as caught:
            make(server, tmp_path, budget_requests=4)(tasks(*"abcdefgh"))
        assert len(server.requests) == 4 + 2
        message = str(caught.value)
        assert "judge.budget_requests=4 is spent" in message
        assert "4 of 8 verdicts are there and kept" in message
        assert "raise judge.budget_requests" in message
        with pytest.raises(UserError, match="4 of 8 verdicts"):
            make(server, tmp_path, budget_requests=4)(tasks(*"abcdefgh"))
        assert len(server.requests) == 4 + 2
        make(server, tmp_path, budget_requests=8)(tasks(*"abcdefgh"))
        assert len(server.requests) == 8 + 2


def test_lost_requests_are_within_the_budget_too(tmp_path: Path) -> None:
    with FaultyEndpoint([RUBBISH, CUT]) as server:
        with pytest.raises(UserError, match="judge.budget_requests=3 is spent"):
            make(server, tmp_path, budget_requests=3, concurrency=1)(tasks("a", "b"))
        assert len(server.requests) == 3
        assert KeptVerdicts(str(tmp_path)).num_requests == 3


def test_the_budget_of_tokens_is_never_exceeded(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return completion("[[A]]", num_tokens=60)

    with FaultyEndpoint(answer=answer) as server:
        judge = make(server, tmp_path, budget_tokens=400, max_tokens=100)
        with pytest.raises(UserError, match="judge.budget_tokens=400 is spent"):
            judge(tasks(*"abcdefghij"))
    assert 60 <= judge.kept.num_tokens <= 400
    assert judge.kept.num_tokens == 60 * len(server.requests)


def test_a_budget_of_tokens_needs_an_endpoint_that_counts_them(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return completion("[[A]]", num_tokens=None)

    with FaultyEndpoint(answer=answer) as server:
        with pytest.raises(UserError, match=r"judge.budget_tokens=9999: .*does not say how many"):
            make(server, tmp_path, budget_tokens=9999, concurrency=1)(tasks("a", "b"))
        assert len(server.requests) == 1
        assert make(server, tmp_path)(tasks("a", "b")) == ["[[A]]", "[[A]]"]
        assert len(server.requests) == 2


def test_requests_are_spread_over_a_minute(tmp_path: Path) -> None:
    waits: list[float] = []
    with FaultyEndpoint() as server:
        make(server, tmp_path, waits, requests_per_minute=1, concurrency=1)(tasks(*"abc"))
    # nothing really waits here, so the second pause is the longer one
    [first, second] = waits
    assert 0 < first <= 60 < second <= 120


class ForgetfulExecutor(ThreadPoolExecutor):
    """As ThreadPoolExecutor is of a thread during whose start an interrupt came."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=cancel_futures)


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ForgetfulExecutor])
def test_an_interrupt_keeps_what_is_under_way_and_asks_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: type[ThreadPoolExecutor]
) -> None:
    monkeypatch.setattr(endpoint, "ThreadPoolExecutor", executor)
    # a shell starts background jobs with Ctrl-C ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    both_sent = threading.Barrier(2)

    def answer(request: Request) -> Reply:
        both_sent.wait(timeout=60)
        if request.body["messages"][-1]["content"] == "a":
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
        stopped.wait(timeout=60)
        return echo(request)

    with FaultyEndpoint(answer=answer) as server:
        judge = make(server, tmp_path, concurrency=2)
        stopped = judge.stopped
        with pytest.raises(KeyboardInterrupt):
            judge(tasks(*"abcdef"))
    signal.signal(signal.SIGINT, before)
    assert len(server.requests) == 2
    kept = KeptVerdicts(str(tmp_path))
    assert kept.num_verdicts == 2


def test_the_key_is_written_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    replies = [error(429, KEY), error(500, KEY), Reply(body=KEY.encode()), error(400, KEY)]
    with FaultyEndpoint(replies) as server, caplog.at_level("DEBUG"):
        with pytest.raises(UserError) as caught:
            make(server, tmp_path, concurrency=1)(tasks("a"))
        make(server, tmp_path, concurrency=1)(tasks("a"))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "***" in str(caught.value) and KEY not in str(caught.value)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("nuggets")]
    assert len(ours) >= 4 and not any(KEY in text for text in ours)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not any(KEY in path.read_text("utf-8") for path in files)
