"""Evaluation as a user runs it: what a pipeline ends with, the benchmarks' files, kills."""

import importlib.util
import json
import math
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
from evaluate_runs import (
    evaluate_overrides,
    make_model,
    pipeline_overrides,
    read_lines,
    results_of,
    write_alpaca_prompts,
    write_questions,
)
from score_runs import command, environment, result_of, run_job, write_rows
from train_jobs import family, kill, wait_for

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.results import Result
from nuggets_ray.finetune.selections import beside_golden
from nuggets_ray.finetune.source import find_source
from nuggets_ray.run.select import select_candidates

MODELS = ("base", "golden", "random-0", "random-1-tokens")
NUM_HELD_OUT = 12
COLUMNS = ("example_id", "num_answer_tokens")


@dataclass(frozen=True)
class Ended:
    """The run folder of a pipeline, and what it printed."""

    out_dir: Path
    stdout: str


@pytest.fixture(scope="module")
def ended(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("pipeline")
    model = make_model(tiny_model, folder / "model")
    data = write_rows(folder / "rows.jsonl", 60)
    job = run_job("pipeline", *pipeline_overrides(data, model, folder / "out"))
    assert set(result_of(job)["wrote"]) >= {str(folder / "out" / "evaluation" / "results.json")}
    return Ended(folder / "out", job.stdout)


@pytest.fixture
def out_dir(ended: Ended, tmp_path: Path) -> Path:
    """A copy of the run, to evaluate in."""
    shutil.copytree(ended.out_dir, tmp_path / "run")
    return tmp_path / "run"


def evaluate(out_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_job("evaluate", *evaluate_overrides(out_dir, *more))


def parts(out_dir: Path, model: str) -> dict[str, bytes]:
    """{file: content} of a model's answers."""
    folder = out_dir / "evaluation" / "answers" / model
    return {path.name: path.read_bytes() for path in folder.glob("part-*.jsonl")}


def answers(out_dir: Path, model: str) -> dict[str, dict[str, Any]]:
    """{key: row} of a model's answers, each of which was made once."""
    rows = [
        json.loads(line)
        for part in parts(out_dir, model).values()
        for line in part.split(b"\n")
        if line
    ]
    found = {row["key"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_results_are_of_the_schema(ended: Ended) -> None:
    content = results_of(ended.out_dir)
    assert list(content) == ["schema_version", "primary", "pins", "results", "verdict"]
    assert (content["schema_version"], content["primary"]) == (1, "likelihood/mean_logprob")
    names = [item.name for item in fields(Result)]
    assert all(list(row) == [*names, "primary"] for row in content["results"])
    assert {row["model"] for row in content["results"]} == set(MODELS)
    assert {row["benchmark"] for row in content["results"]} == {"likelihood"}
    whole = [row for row in content["results"] if row["subset"] == "all"]
    assert all(row["n"] == NUM_HELD_OUT for row in whole if row["metric"] == "win_rate")
    primary = [row for row in content["results"] if row["primary"]]
    assert content["pins"] == {
        **{"data": primary[0]["data"], "judge": None, "prompt_version": None},
        **{"generation": None, "seed": 0},
    }
    assert primary == [row for row in whole if row["metric"] == "mean_logprob"]
    compared = {(row["model"], row["against"]) for row in whole if row["metric"] == "win_rate"}
    assert compared == {
        *((model, "base") for model in MODELS[1:]),
        *(("golden", "random-0"), ("golden", "random-1-tokens")),
    }
    for row in content["results"]:
        assert set(row["data"]) == {"held_out", "rows"}
        if row["low"] is not None:
            assert row["low"] <= row["value"] <= row["high"]
    logprob, perplexity = (
        {row["model"]: row["value"] for row in whole if row["metric"] == metric}
        for metric in ("mean_logprob", "perplexity")
    )
    assert perplexity == {
        model: pytest.approx(math.exp(-value)) for model, value in logprob.items()
    }
    assert logprob["base"] < min(logprob[model] for model in MODELS[1:]), "training helped"


def test_two_draws_claim_nothing(ended: Ended) -> None:
    verdict = results_of(ended.out_dir)["verdict"]
    assert verdict["outcome"] == "not told apart"
    assert verdict["paragraph"].startswith("2 random draws cannot tell whether golden")
    draws = {draws["kind"]: draws["arms"] for draws in verdict["numbers"]["draws"]}
    assert draws == {
        "random draws matched in rows": ["random-0"],
        "random draws matched in tokens": ["random-1-tokens"],
    }
    assert "held out of the pool that was selected from" in verdict["paragraph"]
    assert "golden is higher" not in verdict["paragraph"].partition("against the other models")[0]
    assert f"Verdict (likelihood/mean_logprob): {verdict['paragraph']}" in ended.stdout
    page = (ended.out_dir / "evaluation" / "results.md").read_text(encoding="utf-8")
    assert page.startswith("# Results\n") and verdict["paragraph"] in page
    assert all(f"| {model} " in page for model in MODELS)


def test_no_training_row_is_held_out(ended: Ended) -> None:
    own = ended.out_dir / "holdout.parquet"
    done = json.loads((ended.out_dir / "models" / "golden" / "finetune.json").read_bytes())
    assert done["settings"]["held_out"] == io.sha256(str(own))
    told = json.loads((ended.out_dir / "evaluation" / "held_out.json").read_bytes())
    assert told == {
        "path": str(own),
        "num_rows": NUM_HELD_OUT,
        "num_used": NUM_HELD_OUT,
        "left_out": [],
    }


def test_a_model_keeps_how_it_was_trained(ended: Ended) -> None:
    kept = json.loads((ended.out_dir / "models" / "golden" / "finetune.json").read_bytes())
    folder = ended.out_dir / "selections" / "golden"
    selection, rows = kept["selection"], read_lines(folder / "selected.jsonl")
    assert selection["settings"] == json.loads((folder / "selection.json").read_bytes())["settings"]
    assert (selection["settings"]["by"], selection["num_rows"]) == ("golden_score", len(rows))
    assert selection["sha256"] == io.sha256(str(folder / "selected.jsonl"))
    candidates = io.read_table(io.list_files(str(ended.out_dir / "candidates"), ".parquet")[0])
    lengths = dict(zip(*(candidates[c].to_pylist() for c in COLUMNS), strict=True))
    expected = Counter(str(lengths[row["example_id"]]) for row in rows)
    assert selection["num_answer_tokens"] == expected
    begun = ended.out_dir / "finetune" / "golden" / "selection.json"
    assert json.loads(begun.read_bytes()) == selection


def test_selections_of_a_run_again(out_dir: Path) -> None:
    """The pipeline makes the same ones again; other rows do not take the place of a model's."""
    names = [model for model in MODELS if model != "base"]
    paths = [out_dir / "selections" / name / "selected.jsonl" for name in names]
    before = [path.read_bytes() for path in paths]
    finetune = FinetuneConfig(selections=names)
    config = Config(str(out_dir), select=SelectConfig("top_k", k=4), finetune=finetune)
    golden = select_candidates(config)
    for other in beside_golden(
        config.select, names, golden["num_rows"], golden["mean_answer_tokens"]
    ):
        select_candidates(replace(config, select=other))
    assert [path.read_bytes() for path in paths] == before
    with pytest.raises(UserError, match="select.name=golden: models/golden came from"):
        select_candidates(replace(config, select=SelectConfig("top_k", k=3)))
    assert [path.read_bytes() for path in paths] == before


def test_a_partial_selection_is_refused_once_more_is_scored(out_dir: Path) -> None:
    uri = out_dir / "selections" / "golden" / "selection.json"
    made = json.loads(uri.read_bytes())
    uri.write_text(json.dumps(made | {"partial": True, "num_scored": made["num_scored"] - 1}))
    config = Config(str(out_dir), finetune=FinetuneConfig(selection="golden"))
    with pytest.raises(
        UserError, match=r"finetune.selection=golden was made while .*allow_partial"
    ):
        find_source(config)
    allowed = replace(config.finetune, allow_partial=True)
    assert find_source(replace(config, finetune=allowed)).selection == "golden"


def test_the_same_command_computes_nothing_anew(out_dir: Path) -> None:
    """Nor does a selection written anew say how the models were trained."""
    before = results_of(out_dir)
    anew = SelectConfig("top_k", k=3, by="longest", name="golden", replace=True)
    select_candidates(Config(str(out_dir), select=anew))
    kept = out_dir / "evaluation" / "likelihood"
    times = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    job = evaluate(out_dir)
    assert result_of(job)["models"] == list(MODELS)
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == times
    assert set(times) == {f"{model}.json" for model in MODELS}
    assert results_of(out_dir) == before
    assert "Verdict (likelihood/mean_logprob): 2 random draws" in job.stdout


def test_alpaca_eval_answers_in_its_format(out_dir: Path, tmp_path: Path, test_data: Path) -> None:
    reference = test_data / "evaluation" / "alpaca_eval_805_outputs_text_davinci_003.json"
    job = evaluate(
        out_dir,
        *("evaluate=alpaca_eval", f"evaluate.prompts_path={reference}", "evaluate.limit=2"),
        "evaluate.models=[base,golden]",
    )
    assert result_of(job)["models"] == ["base", "golden"]
    expected = json.loads(reference.read_bytes())[:2]
    for model in ("base", "golden"):
        name = "alpaca_eval_805_outputs_text_davinci_003-first-2"
        path = out_dir / "evaluation" / "alpaca_eval" / name / model / "model_outputs.json"
        assert_alpaca_outputs(path, expected, model)


def assert_alpaca_outputs(path: Path, prompts: list[dict[str, str]], model: str) -> None:
    rows = json.loads(path.read_bytes())
    assert len(rows) == len(prompts)
    for row, prompt in zip(rows, prompts, strict=True):
        assert list(row) == ["dataset", "instruction", "output", "generator"]
        assert (row["dataset"], row["instruction"]) == (prompt["dataset"], prompt["instruction"])
        assert row["generator"] == model and isinstance(row["output"], str)


def test_mt_bench_answers_in_its_format(out_dir: Path, tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "question.jsonl", 3)
    overrides = ("evaluate=mt_bench", f"evaluate.prompts_path={questions}")
    result_of(evaluate(out_dir, *overrides, "evaluate.models=[golden]"))
    assert_model_answers(out_dir, "golden", read_lines(questions))
    assert len(answers(out_dir, "golden")) == 2 * 3
    told = [row for row in results_of(out_dir)["results"] if row["benchmark"] == "mt_bench"]
    assert [(row["metric"], row["n"]) for row in told] == [("mean_answer_tokens", 6)]
    assert told[0]["generation"]["max_tokens"] == 12 and told[0]["details"]["num_cut"] <= 6
    assert told[0]["name"] == "question"
    assert told[0]["generation"]["temperature"] == {"math": 0.0, "writing": 0.7, "coding": 0.0}


def assert_model_answers(
    out_dir: Path, model: str, questions: list[dict[str, Any]], like: dict[str, Any] | None = None
) -> None:
    [path] = (out_dir / "evaluation" / "mt_bench").glob(f"*/model_answer/{model}.jsonl")
    rows = read_lines(path)
    assert [row["question_id"] for row in rows] == [q["question_id"] for q in questions]
    for row, question in zip(rows, questions, strict=True):
        assert list(row) == ["question_id", "answer_id", "model_id", "choices", "tstamp"]
        [choice] = row["choices"]
        assert list(choice) == ["index", "turns"] and choice["index"] == 0
        assert len(choice["turns"]) == len(question["turns"])
        assert row["model_id"] == model and isinstance(row["tstamp"], float)
        if like is not None:
            assert shape(row) == shape(like)


def shape(value: object) -> object:
    """Keys in order, and types."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


def test_mt_bench_files_are_shaped_as_the_reference(out_dir: Path, test_data: Path) -> None:
    folder = test_data / "evaluation"
    questions = folder / "mt_bench_question.jsonl"
    overrides = ("evaluate=mt_bench", f"evaluate.prompts_path={questions}", "evaluate.limit=2")
    result_of(evaluate(out_dir, *overrides, "evaluate.models=[base]"))
    like = read_lines(folder / "mt_bench_reference_gpt4.jsonl")[0]
    assert_model_answers(out_dir, "base", read_lines(questions)[:2], like)


def test_a_killed_run_goes_on_from_the_answers_that_are_there(
    out_dir: Path, tmp_path: Path
) -> None:
    num_prompts = 64
    prompts = write_alpaca_prompts(tmp_path / "prompts.json", num_prompts)
    overrides = evaluate_overrides(
        out_dir,
        *("evaluate=alpaca_eval", f"evaluate.prompts_path={prompts}", "evaluate.models=[golden]"),
        "generate.max_tokens=150",
    )
    with open(tmp_path / "stderr.txt", "wb") as errors:
        process = subprocess.Popen(
            command("evaluate", *overrides),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            env=environment(),
        )
    wait_for(lambda: len(parts(out_dir, "golden")) >= 2, process)
    kill(family(process))
    process.wait()
    before = parts(out_dir, "golden")
    num_before = len(answers(out_dir, "golden"))
    assert 0 < num_before < num_prompts
    job = run_job("evaluate", *overrides)
    result_of(job)
    assert f"model golden: {num_before} answers are there already" in job.stderr
    after = parts(out_dir, "golden")
    assert before.items() <= after.items()
    assert len(answers(out_dir, "golden")) == num_prompts
    path = out_dir / "evaluation" / "alpaca_eval" / "prompts" / "golden" / "model_outputs.json"
    assert_alpaca_outputs(path, json.loads(prompts.read_bytes()), "golden")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_vllm_and_transformers_answer_alike(out_dir: Path, tmp_path: Path) -> None:
    prompts = write_alpaca_prompts(tmp_path / "prompts.json", 10)
    texts = {}
    for backend in ("vllm", "transformers"):
        more = ["generate.vllm={max_model_len: 1024}"] if backend == "vllm" else []
        job = evaluate(
            out_dir,
            *("evaluate=alpaca_eval", f"evaluate.prompts_path={prompts}"),
            *("evaluate.models=[golden]", f"generate.backend={backend}", *more),
            *("generate.stop=[e]", f"evaluate.name={backend}"),
        )
        result_of(job)
        path = out_dir / "evaluation" / "alpaca_eval" / backend / "golden" / "model_outputs.json"
        # half a character at the end is shown by transformers alone
        rows = json.loads(path.read_bytes())
        texts[backend] = [row["output"].rstrip("\ufffd").rstrip() for row in rows]
        told = results_of(out_dir)["results"][-1]
        texts[backend].append(f"{told['value']} tokens, {told['details']}")
    assert texts["vllm"] == texts["transformers"]
    assert len(set(texts["vllm"])) > 5
