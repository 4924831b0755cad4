"""Signals of a scoring run as a user asks for them: beside the scores, afterwards, in a race."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from score_runs import read_scores, result_of, run_job, score_overrides, write_rows

from nuggets_ray import open_run
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.model.load import load_model, load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.signals import read_column, signal_parts

ASKED = "signals=[perplexity,ifd,rds]"
NUM_ROWS = 14


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_ROWS)


@pytest.fixture(scope="module")
def asked(
    data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, shared_ray: None
) -> Path:
    """A run that was asked for every signal, in two parts."""
    out_dir = tmp_path_factory.mktemp("asked")
    overrides = score_overrides(data, tiny_model, out_dir, "score.block_rows=4", ASKED)
    result_of(run_job("score", *overrides, "data.limit=9"))
    result_of(run_job("score", *overrides))
    return out_dir


@pytest.fixture(scope="module")
def plain(
    data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, shared_ray: None
) -> Path:
    """The same without any signal, as an old folder is."""
    out_dir = tmp_path_factory.mktemp("plain")
    overrides = score_overrides(data, tiny_model, out_dir, "signals=[]")
    result_of(run_job("score", *overrides, "data.limit=9"))  # so that the anchors are the same
    result_of(run_job("score", *overrides))
    assert signal_parts(str(out_dir)) == []
    return out_dir


def rows_of(out_dir: Path) -> dict[str, dict[str, Any]]:
    rows = open_run(out_dir).signals().to_pylist()
    return {row["example_id"]: row for row in rows}


@torch.inference_mode()
def loss(model: Any, prompt_ids: np.ndarray, answer_ids: np.ndarray) -> float:
    """Mean loss of an answer after a prompt, by the model's own forward."""
    ids = torch.from_numpy(np.concatenate([prompt_ids, answer_ids]))[None]
    log_probs = model(input_ids=ids).logits[0].log_softmax(-1)
    before = range(len(prompt_ids) - 1, ids.shape[1] - 1)
    return -float(np.mean([log_probs[t, ids[0, t + 1]].item() for t in before]))


def test_the_numbers_are_those_of_the_plain_model(asked: Path, tiny_model: Path) -> None:
    config = ModelConfig(str(tiny_model))
    model = load_model(config, "float32", "cpu")
    prompt = make_prompt(load_tokenizer(config), PromptConfig("alpaca"))
    signals = rows_of(asked)
    rows = open_run(asked).scores(with_rows=True).to_pylist()
    for row in rows[:3]:
        fields = {name: row[name] for name in ("instruction", "input", "output")}
        shown = prompt.demonstration(Rules("alpaca", {}, {}).parse(fields))
        start = int(np.argmax(shown.answer_mask))
        answer_ids = shown.token_ids[shown.answer_mask]
        after = loss(model, shown.token_ids[:start], answer_ids)
        alone = loss(model, prompt.unasked_ids, answer_ids)
        told = signals[row["example_id"]]
        assert told["perplexity"] == pytest.approx(np.exp(after), rel=1e-3)
        assert told["ifd"] == pytest.approx(after / alone, abs=1e-4)
        assert told["ifd_perplexity"] == pytest.approx(np.exp(after - alone), abs=1e-4)
        assert told["is_ifd_above_1"] == (after > alone)


def test_every_row_has_every_signal_once_and_its_score_is_what_it_was(
    asked: Path, plain: Path
) -> None:
    assert read_column(str(asked), "rds").num_rows == NUM_ROWS
    signals = rows_of(asked)
    assert len(signals) == NUM_ROWS
    for row in signals.values():
        assert all(row[name] is not None for name in ("perplexity", "ifd", "rds", "loss_ratio"))
        assert -1 <= row["rds"] <= 1
    scores, without = read_scores(asked), read_scores(plain)
    for example_id, row in scores.items():
        assert row["one_shot_logprob"] == without[example_id]["one_shot_logprob"]


def test_a_finished_run_is_asked_afterwards_and_no_score_is_made_anew(
    asked: Path, plain: Path, data: Path, tiny_model: Path
) -> None:
    parts = {path.name: path.read_bytes() for path in (plain / "scores").iterdir()}
    overrides = score_overrides(data, tiny_model, plain, ASKED, "score.block_rows=4")
    result_of(run_job("score", *overrides))
    assert {path.name: path.read_bytes() for path in (plain / "scores").iterdir()} == parts
    expected, found = rows_of(asked), rows_of(plain)
    for example_id, row in found.items():
        for name in ("perplexity", "ifd", "rds"):
            assert row[name] == pytest.approx(expected[example_id][name], abs=1e-4), name
    told = signal_parts(str(plain))
    again = run_job("score", *overrides)
    assert "scored already" not in again.stderr and signal_parts(str(plain)) == told


def test_by_default_the_perplexity_passes_by_and_old_rows_are_left_alone(
    data: Path, tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    overrides = score_overrides(data, tiny_model, tmp_path)
    result_of(run_job("score", *overrides, "signals=[]", "data.limit=8"))
    result_of(run_job("score", *overrides))
    table = open_run(tmp_path).signals()
    assert table["perplexity"].null_count == 8
    assert table["ifd"].null_count == NUM_ROWS
    refused = run_job("select_topk", f"out_dir={tmp_path}", "select.by=ifd")
    assert refused.returncode == 2
    assert "'signals=[ifd]'" in refused.stderr and f"out_dir={tmp_path}" in refused.stderr


def test_rows_are_chosen_by_a_signal_a_blend_and_a_file(asked: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    rows = [{"row_number": n, "quality": n} for n in range(NUM_ROWS - 2)]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = {}
    for name, by in (
        ("rds", "rds"),
        ("blend", "{golden_score: 1, ifd_perplexity: 0.5}"),
        ("quality", "quality"),
    ):
        made = run_job(
            *("select_topk", f"out_dir={asked}", "select=top_k", "select.k=3"),
            *(f"select.by={by}", f"select.scores_path={other}"),
        )
        assert result_of(made)["name"] == name
        lines = (asked / "selections" / name / "selected.jsonl").read_text().splitlines()
        chosen[name] = [json.loads(line)["tag"] for line in lines]
    assert chosen["quality"] == [11, 10, 9]
    assert len(set(chosen["rds"])) == 3


@pytest.mark.slow
def test_in_a_race_every_row_tells_its_signals_the_first_time(
    tiny_model: Path, tmp_path: Path, shared_ray: None
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 420)
    race = ("schedule=race", "race.top_k=12", "anchors.num=48", "score.block_s=2", ASKED)
    out_dir = tmp_path / "raced"
    result_of(run_job("score", *score_overrides(rows, tiny_model, out_dir, *race)))
    table = open_run(out_dir).signals()
    assert table["golden_score"].null_count > 0, "some were left behind"
    assert [table[name].null_count for name in ("perplexity", "ifd", "rds")] == [0, 0, 0]
