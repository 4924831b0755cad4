"""Judges against vLLM's own OpenAI server with a tiny model, behind an endpoint that fails as told.

The model is random: judge.body makes it choose among verdicts where verdicts are wanted.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from faulty_endpoint import (
    BROKEN,
    CUT,
    HELD,
    RUBBISH,
    FaultyEndpoint,
    Reply,
    Request,
    error,
)
from judge_tasks import tasks
from score_runs import ROOT

from nuggets_ray.config.schema import JudgeConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.alpaca_eval import win_rate_results
from nuggets_ray.evaluate.benchmarks.mt_bench import grade_results
from nuggets_ray.evaluate.judge.cache import KeptVerdicts
from nuggets_ray.evaluate.judge.endpoint import EndpointJudge
from nuggets_ray.evaluate.judge.judge import Answered, AnswerPair, grade, judge_pairs
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt
from nuggets_ray.run.layout import RunFolder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vllm is not installed"
)

KEY = "the-key-of-this-test"
CHAT_TEMPLATE = (
    "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}assistant: "
)
START_S = 300
TIMEOUT_S = 8.0

Forward = Callable[[Request], Reply]


@pytest.fixture(scope="module")
def judge_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, with a chat template and with heads that vLLM's attention takes on a CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("judge") / "model"
    shutil.copytree(tiny_model, folder)
    config = LlamaConfig.from_pretrained(tiny_model, head_dim=32)
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def forward(judge_model: Path) -> Iterator[Forward]:
    """Passes a request on to vLLM's server, on a socket file: no port that another could take."""
    with tempfile.TemporaryDirectory() as folder:
        socket, log = Path(folder) / "vllm", Path(folder) / "log"
        command = [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--uds", str(socket)),
            *("--model", str(judge_model), "--served-model-name", "judge", "--api-key", KEY),
            *("--enforce-eager", "--block-size", "32", "--max-model-len", "4096"),
            *("--kv-cache-memory-bytes", str(1 << 28)),
        ]
        environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
        with (
            log.open("w") as output,
            httpx.Client(
                transport=httpx.HTTPTransport(uds=str(socket)),
                base_url="http://vllm",
                timeout=None,
                trust_env=False,
            ) as client,
            subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, start_new_session=True
            ) as server,
        ):
            try:
                wait_for_health(client, server, log)
                yield lambda request: passed_on(client, request)
            finally:
                end(server)


def end(server: "subprocess.Popen[bytes]") -> None:
    """The server, and what it started: all are of its own process group."""
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(timeout=30)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def wait_for_health(client: httpx.Client, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.2)


def passed_on(client: httpx.Client, request: Request) -> Reply:
    headers = {k: v for k, v in request.headers.items() if k == "authorization"}
    answer = client.post(request.path, json=request.body, headers=headers)
    return Reply(answer.status_code, answer.content)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", KEY)


def make(endpoint: FaultyEndpoint, out_dir: Path, **changed: Any) -> EndpointJudge:
    settings = {"model": "judge", "api_key_env": "JUDGE_KEY", "max_tokens": 8, **changed}
    return EndpointJudge(JudgeConfig(url=endpoint.url, **settings), str(out_dir))


def test_pairs_are_judged_through_every_fault(forward: Forward, tmp_path: Path) -> None:
    body = {"structured_outputs": {"choice": ["[[A]]", "[[B]]", "[[C]]"]}}
    pairs = [
        AnswerPair(
            BenchmarkPrompt(str(i), (f"Question {i}?",), "koala"),
            f"a{i}",
            f"r{i}",
            "golden",
            "base",
        )
        for i in range(4)
    ]
    after_1 = error(429, "too many", **{"Retry-After": "1"})
    with FaultyEndpoint([after_1, BROKEN, CUT, HELD, RUBBISH], forward) as endpoint:
        judge = make(endpoint, tmp_path, body=body, timeout_s=TIMEOUT_S)
        verdicts = judge_pairs(judge, pairs, "alpaca_eval/own")
        num_requests = len(endpoint.requests)
        again = judge_pairs(make(endpoint, tmp_path, body=body), pairs, "alpaca_eval/own")
        assert len(endpoint.requests) == num_requests
    assert again == verdicts
    # slower answers than TIMEOUT_S are asked for again
    assert num_requests >= 8 + 5
    assert num_requests == judge.kept.num_requests + 2
    assert all(v.num_unparseable == 0 for v in verdicts)
    for request in endpoint.requests:
        assert request.body["temperature"] == 0 and request.body["max_tokens"] == 8
    overall = win_rate_results("golden", "base", verdicts, "judge", 0, num_known=2)[0]
    assert overall.n == 4 and overall.value is not None and 0 <= overall.value <= 100


def test_grades_are_read_and_mumbling_is_counted(forward: Forward, tmp_path: Path) -> None:
    questions = [
        BenchmarkPrompt("81", ("Q1?", "Q2?"), "writing"),
        BenchmarkPrompt("101", ("Q3?", "Q4?"), "math"),
    ]
    texts, references = [("a1", "a2"), ("a3", "a4")], {"101": ("r3", "r4")}
    answered = [Answered("golden", q, turns) for q, turns in zip(questions, texts, strict=True)]
    with FaultyEndpoint(answer=forward) as endpoint:
        body = {"structured_outputs": {"choice": [f"[[{n}]]" for n in range(1, 11)]}}
        judge = make(endpoint, tmp_path, body=body)
        grades = grade(judge, answered, references, "mt_bench/own")
        results = grade_results("golden", grades, "judge", 0)
        mumbled = grade(make(endpoint, tmp_path), answered, references, "mt_bench/own")
    values = [result.value for result in results]
    assert len(values) == 9
    assert all(value is not None and 1 <= value <= 10 for value in values)
    assert [found.grade for found in mumbled] == [None] * 4


def test_tokens_are_those_that_vllm_counts(forward: Forward, tmp_path: Path) -> None:
    counted: list[int] = []

    def answer(request: Request) -> Reply:
        reply = forward(request)
        counted.append(json.loads(reply.body)["usage"]["total_tokens"])
        return reply

    with FaultyEndpoint(answer=answer) as endpoint:
        judge = make(endpoint, tmp_path, budget_tokens=150, concurrency=1)
        with pytest.raises(UserError, match="judge.budget_tokens=150 is spent") as caught:
            judge(tasks(*(f"question {i}" for i in range(20))))
    assert 1 < len(counted) < 20 and sum(counted) <= 150
    kept = KeptVerdicts(str(tmp_path))
    assert (kept.num_verdicts, kept.num_tokens) == (len(counted), sum(counted))
    assert f"{len(counted)} of 20 verdicts are there" in str(caught.value)


def test_what_vllm_refuses_is_the_user_s_error(
    forward: Forward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultyEndpoint(answer=forward) as endpoint:
        with pytest.raises(UserError, match="judge.model=other: .*`other` does not exist"):
            make(endpoint, tmp_path, model="other")(tasks("a"))
        with pytest.raises(UserError, match="answers 400 .*maximum context length"):
            make(endpoint, tmp_path)(tasks("long " * 5000))
        monkeypatch.setenv("JUDGE_KEY", "wrong-key")
        with pytest.raises(UserError, match="answers 401 to the key in .* JUDGE_KEY") as caught:
            make(endpoint, tmp_path)(tasks("a"))
        assert "wrong-key" not in str(caught.value)
        monkeypatch.delenv("JUDGE_KEY")
        with pytest.raises(UserError, match="variable JUDGE_KEY is not set"):
            make(endpoint, tmp_path)(tasks("a"))
        assert len(endpoint.requests) == 4


def test_a_killed_run_pays_for_nothing_twice(forward: Forward, tmp_path: Path) -> None:
    texts = [f"question {i}" for i in range(6)]

    def answer(request: Request) -> Reply:
        return forward(request) if len(endpoint.requests) <= 3 else HELD

    with FaultyEndpoint(answer=answer) as endpoint:
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "support" / "judge_child.py"),
             str(tmp_path), endpoint.url, *texts],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        folder = Path(RunFolder(str(tmp_path)).evaluation.judge)
        while len(list(folder.glob("part-*.jsonl"))) < 3 or len(endpoint.requests) < 5:
            assert child.poll() is None
            time.sleep(0.05)
        child.kill()
        assert child.wait() == -signal.SIGKILL
    kept = [json.loads(part.read_bytes())["text"] for part in folder.glob("part-*.jsonl")]
    with FaultyEndpoint(answer=forward) as endpoint:
        found = make(endpoint, tmp_path)(tasks(*texts))
        assert len(endpoint.requests) == 3
    assert len(kept) == 3 and set(kept) <= set(found) and len(found) == 6
    assert KeptVerdicts(str(tmp_path)).num_requests == 6
