"""bench=engine without Ray and Hydra, its command line, its tables."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_bench import Machine, make_plan

from nuggets_ray.bench import engine, engine_tables
from nuggets_ray.bench.measure import measure
from nuggets_ray.bench.plan import BenchResults, Contender
from nuggets_ray.bench.session import check_request, finish, make_task
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config, ModelConfig
from nuggets_ray.errors import UserError

TREE = Contender("tree", "tree", "bfloat16", "made fast")
PLAIN = Contender("plain", "plain", "bfloat16", "")
BLOCKED = """
import sys
for name in ("ray", "hydra", "omegaconf"):
    sys.modules[name] = None  # import raises ModuleNotFoundError
from nuggets_ray.bench import engine
for arguments in (["--cases", "cut-9"], ["--model", sys.argv[1]], ["--help"]):
    sys.argv = ["engine", *arguments]
    print("exit code", engine.main(), file=sys.stderr)
"""


@pytest.mark.long
def test_its_command_line_works_with_ray_and_hydra_blocked(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BLOCKED, str(tmp_path / "nowhere")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and "--num-anchors" in ended.stdout, ended.stderr
    assert ended.stderr.count("exit code 2") == 2 and "Traceback" not in ended.stderr
    assert "error: bench.cases: cut-9 is not known" in ended.stderr
    assert "error: model.path=" in ended.stderr


def test_the_command_line_is_the_configuration() -> None:
    arguments = ["--model", "m", "--cases", "cut-50", "cut-200", "--repeats", "2", "--log", "x.md"]
    config, given = engine.parse_arguments([*arguments, "--max-pack-tokens", "300"])
    assert not given.gpu and not given.tiny
    wanted = BenchConfig(repeats=2, cases=["cut-50", "cut-200"], log="x.md")
    assert config.bench == wanted and config.model.path == "m"
    assert config.score.max_pack_tokens == 300
    with pytest.raises(UserError, match="bench.repeats=0"):
        engine.parse_arguments(["--repeats", "0"])


def test_what_signals_cost_is_told_beside_the_scores() -> None:
    with_signals = Contender("tree_signals", "tree_signals", "bfloat16", "")
    plan = replace(make_plan({"cut-200": [TREE, with_signals]}, repeats=3), with_rates=True)
    seconds = {"tree": 2.0, "tree_signals": 2.1}
    started = Machine(plan, seconds=lambda name, *_: seconds[name]).start
    results = measure(plan, started, checked=False)
    [compared] = engine_tables.of_signals(plan, results)
    assert compared.ratio == pytest.approx(1.05)
    text = engine_tables.text(plan, results, {}, "demo")
    assert "CPU seconds with signals over those without: cut-200 1.050." in text


def test_shares_are_useful_flop_over_the_matrix_rate() -> None:
    plan = replace(make_plan({"cut-200": [TREE, PLAIN]}, repeats=1), with_rates=True)
    # 8 GFLOP in 2 CPU seconds; the made-up rate is 10 and 20 GFLOP/s around the run
    results = measure(plan, Machine(plan, seconds=lambda *_: 2.0).start, checked=False)
    (reading,) = [r for r in results.readings if r.contender == "tree"]
    assert engine_tables.share(reading, "mean", "cpu") == pytest.approx(4 / 15)
    assert engine_tables.share(reading, "in_turn", "cpu") == pytest.approx(4 / 5)
    assert engine_tables.flops(reading, "cuda") == pytest.approx(2e9)  # 4 wall seconds
    rows = engine_tables.share_rows(plan, results)
    found = {row["metric"]: row["value"] for row in rows if row["contender"] == "tree"}
    assert found["share"] == pytest.approx(4 / 15) and found["useful_flop"] == 8e9
    text = engine_tables.text(plan, results, {"attention": 1.0, "matrix products": 3.0}, "demo")
    (line,) = [line for line in text.splitlines() if line.startswith("| cut-200 | tree")]
    assert [cell.strip() for cell in line.split("|")[8:10]] == ["26.7%", "80.0%"]
    assert "| attention       | 1 | 25.0% |" in text
    assert text.count("not measured: no GPU here") == 2  # 7B and 1B


def test_on_a_gpu_three_shares_are_told_and_the_bar_is_on_the_dense_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "NVIDIA H100 80GB HBM3")
    plan = replace(make_plan({"cut-200": [TREE]}, repeats=1), with_rates=True)
    task = replace(plan.task, device="cuda", model_path="llama-7b-random")
    plan = replace(plan, task=task)
    # 8 GFLOP in 4 wall seconds; 20 GFLOP/s dense, 5 in turn
    results = measure(plan, Machine(plan, seconds=lambda *_: 2.0).start, checked=False)
    found = {row["metric"]: row["value"] for row in engine_tables.share_rows(plan, results)}
    assert found["share_of_dense"] == pytest.approx(0.1)
    assert found["share_in_turn"] == pytest.approx(0.4)
    assert found["mfu"] == pytest.approx(2e9 / 989.4e12)
    text = engine_tables.text(plan, results, {}, "llama-7b-random")
    assert "| llama-7b-random, cut-200 | 78%" in text and "| 10.0%" in text
    assert "| llama-1b-random          | 62%" in text and "set model.path" in text


def test_one_that_failed_is_in_the_table_with_its_reason() -> None:
    plan = make_plan({"cut-200": [TREE]}, repeats=1)
    text = engine_tables.text(plan, BenchResults(reasons={"tree": "failed: no luck"}), {}, "demo")
    assert "| cut-200 | tree   | failed" in text and "* tree: failed: no luck" in text


def test_requests_are_checked_before_anything_is_measured(tmp_path: Path) -> None:
    def config(**bench: object) -> Config:
        return Config(bench=BenchConfig(**bench))  # type: ignore[arg-type]

    check_request(config(cases=["a"], contenders=["x"], out="rows.json"), ["a"], ["x"])
    with pytest.raises(UserError, match="bench.contenders: y is not known: take some of x"):
        check_request(config(contenders=["y"]), ["a"], ["x"])
    for key in ("out", "log"):
        with pytest.raises(UserError, match=f"bench.{key}=.*folder"):
            check_request(config(**{key: str(tmp_path / "nowhere" / "file")}), ["a"], ["x"])
    with pytest.raises(UserError, match="llama-7b-random is for a GPU"):
        make_task(Config(model=ModelConfig(path="llama-7b-random")), "cpu")


def test_an_interrupted_bench_is_printed_and_written_but_not_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, log = tmp_path / "rows.json", tmp_path / "log.md"
    config = Config(bench=BenchConfig(out=str(out), log=str(log)))
    with pytest.raises(KeyboardInterrupt, match="what was measured"):
        finish(config, "| table |", [], BenchResults(interrupted=True))
    assert "| table |" in capsys.readouterr().out and out.exists() and not log.exists()
    assert finish(config, "| table |", [], BenchResults())["wrote"] == [str(out), str(log)]
    assert "| table |" in log.read_text()
