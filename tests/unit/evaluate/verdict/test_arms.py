"""Which model is which arm, and what the scores behind the golden one show."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.evaluate.verdict.arms import (
    golden_names,
    make_arms,
    score_signs,
    verdict_of_run,
)
from nuggets_ray.evaluate.verdict.evidence import BOTTOM, GOLDEN, OTHER, RANDOM
from nuggets_ray.io import write_json
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.anchors import write_anchors
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.scores import SCORE_SCHEMA
from nuggets_ray.run.select import select_candidates
from nuggets_ray.run.selections import begin_record
from nuggets_ray.run.trained_on import trained_selections

NUM_ROWS, NUM_ANCHORS = 24, 8
RANDOM_K = SelectConfig("top_k", k=4, by="random")
SELECTIONS = {
    "golden": SelectConfig("top_k", k=4),
    "golden-10": SelectConfig("top_fraction", fraction=0.1, name="golden-10"),
    "bottom": SelectConfig("top_k", k=4, order="bottom"),
    "longest": SelectConfig("top_k", k=4, by="longest"),
    "random-0": RANDOM_K,
    "random-1-tokens": SelectConfig("top_tokens", tokens=60, by="random", draw=1),
}


@pytest.fixture(scope="module")
def out_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A scored run whose best rows are its longest, with a selection and a model for each of
    SELECTIONS, and a model that was trained on a file.
    """
    out_dir = str(tmp_path_factory.mktemp("arms") / "run")
    ids = [f"c{n:02d}" for n in range(NUM_ROWS)]
    write_candidates(out_dir, ids)
    write_scores(out_dir, ids)
    encoding = Encoding(np.zeros(2, np.int64), np.array([False, True]))
    anchors = [Anchor(f"a{n}", f"a{n}", "random", f"a{n}", encoding) for n in range(NUM_ANCHORS)]
    write_anchors(io.join(out_dir, "anchors.parquet"), anchors, np.full(NUM_ANCHORS, -2.0))
    for name, select in SELECTIONS.items():
        select_candidates(Config(out_dir, select=select))
        train(out_dir, name, name)
    train(out_dir, "full", None)
    return out_dir


def train(out_dir: str, name: str, selection: str | None) -> None:
    """What a training leaves of how it was made."""
    config = Config(out_dir, finetune=FinetuneConfig(selection=selection))
    write_config(out_dir, f"finetune-{name}", config)
    record = begin_record(out_dir, io.join(out_dir, "finetune", name), selection, False)
    hashes = [record["sha256"] if record else "of a file"]
    done = {"settings": {"rows": {"sha256": hashes}}, "selection": record}
    write_json(io.join(out_dir, "models", name, "finetune.json"), done)


def copy_of(out_dir: str, tmp_path: Path) -> str:
    shutil.copytree(out_dir, tmp_path / "run")
    return str(tmp_path / "run")


def make_it_older(out_dir: str, name: str) -> None:
    """As before finetune.json kept the selection."""
    uri = io.join(out_dir, "models", name, "finetune.json")
    done = json.loads(io.read_bytes(uri))
    del done["selection"]
    write_json(uri, done)


def write_candidates(out_dir: str, ids: list[str]) -> None:
    rows = [
        {
            **{"example_id": name, "content_id": name, "source_path": "rows.jsonl"},
            **{"row_number": number, "row_json": f'{{"number": {number}}}'},
            "num_answer_tokens": 10 + number,
        }
        for number, name in enumerate(ids)
    ]
    io.write_table(io.join(out_dir, "candidates", "part-0.parquet"), pa.Table.from_pylist(rows))


def write_scores(out_dir: str, ids: list[str]) -> None:
    """Candidate n wins the more anchors, all by the same delta, the higher n is."""
    rows = [
        {
            **{"example_id": name, "content_id": name, "num_anchors": NUM_ANCHORS},
            **{"golden_score": n / NUM_ROWS, "mean_delta": n / 100, "num_answer_tokens": 10 + n},
            "one_shot_logprob": [-2.0 + (n - 12) / 10] * NUM_ANCHORS,
        }
        for n, name in enumerate(ids)
    ]
    table = pa.Table.from_pylist(rows, schema=SCORE_SCHEMA)
    io.write_table(io.join(out_dir, "scores", "part-0.parquet"), table)


def values(*names: str) -> dict[str, np.ndarray]:
    return {name: np.full(3, float(index)) for index, name in enumerate(names)}


VALUES = values("golden", "bottom")


def test_the_kind_is_that_of_the_selection_not_of_the_name(out_dir: str) -> None:
    names = ("base", "golden", *SELECTIONS, "full", "elsewhere")
    arms = make_arms(trained_selections(out_dir, names), values(*names))
    assert {arm.name: arm.kind for arm in arms} == {
        "base": OTHER,
        "golden": GOLDEN,
        "golden-10": OTHER,
        "bottom": BOTTOM,
        "longest": OTHER,
        "random-0": RANDOM,
        "random-1-tokens": RANDOM,
        "full": OTHER,
        "elsewhere": OTHER,
    }
    assert [arm.name for arm in arms if arm.matched_in_tokens] == ["random-1-tokens"]
    assert [arm.value_N[0] for arm in arms] == sorted(arm.value_N[0] for arm in arms)


def test_a_bottom_of_a_race_is_of_the_lowest_posterior_scores(out_dir: str) -> None:
    selections = trained_selections(out_dir, SELECTIONS)
    bottom = selections["bottom"]
    by_posterior = replace(bottom, settings={**bottom.settings, "by": "posterior_score"})
    for trained, is_raced in ((bottom, False), (by_posterior, True)):
        told = {arm.name: arm for arm in make_arms(selections | {"bottom": trained}, VALUES)}
        assert told["bottom"].kind == BOTTOM and told["bottom"].by_posterior is is_raced


def test_the_first_golden_one_is_judged(out_dir: str) -> None:
    selections = trained_selections(out_dir, SELECTIONS)
    assert golden_names(selections, ["base", "golden-10", "golden"]) == ("golden-10", "golden")
    arms = make_arms(selections, values("golden-10", "golden"))
    assert [(arm.name, arm.kind) for arm in arms] == [("golden-10", GOLDEN), ("golden", OTHER)]


def test_without_a_golden_one_there_is_nothing_to_judge(out_dir: str) -> None:
    selections = trained_selections(out_dir, [*SELECTIONS, "full"])
    assert make_arms(selections, values("base", "random-0", "bottom")) == []
    assert make_arms(selections, {}) == []
    assert golden_names(selections, ["base", "full"]) == ()


def told(out_dir: str) -> object:
    """All that a verdict takes from how models were trained."""
    selections = trained_selections(out_dir, SELECTIONS)
    arms = make_arms(selections, values("base", *SELECTIONS))
    kinds = [(arm.name, arm.kind, arm.matched_in_tokens) for arm in arms]
    lengths = {name: list(one.num_answer_tokens_K) for name, one in selections.items()}
    return kinds, lengths, score_signs(out_dir, selections["golden"], 0)


def test_a_selection_written_anew_changes_nothing_of_what_was_trained(
    out_dir: str, tmp_path: Path
) -> None:
    before = told(out_dir)
    out_dir = copy_of(out_dir, tmp_path)
    longest = SelectConfig("top_k", k=2, by="longest", order="bottom", name="golden", replace=True)
    select_candidates(Config(out_dir, select=longest))
    assert told(out_dir) == before
    io.delete(io.join(out_dir, "selections"))
    io.delete(io.join(out_dir, "config"))
    assert told(out_dir) == before


def test_the_lengths_are_those_of_the_rows(out_dir: str) -> None:
    selections = trained_selections(out_dir, SELECTIONS)
    assert list(selections["golden"].num_answer_tokens_K) == [30, 31, 32, 33]
    assert list(selections["bottom"].num_answer_tokens_K) == [10, 11, 12, 13]


def test_a_key_that_is_not_recorded_counts_as_its_default(out_dir: str, tmp_path: Path) -> None:
    out_dir = copy_of(out_dir, tmp_path)
    uri = io.join(out_dir, "models", "golden", "finetune.json")
    done = json.loads(io.read_bytes(uri))
    done["selection"]["settings"] = {"rule": "top_k", "k": 4}
    write_json(uri, done)
    assert golden_names(trained_selections(out_dir, ["golden"]), ["golden"]) == ("golden",)


def test_an_older_model_is_told_of_by_the_selection_with_a_warning(
    out_dir: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, out_dir = told(out_dir), copy_of(out_dir, tmp_path)
    assert caplog.text == ""
    make_it_older(out_dir, "golden")
    assert told(out_dir) == before
    assert "models/golden: finetune.json does not say how selections/golden" in caplog.text
    assert "may have changed since" in caplog.text
    make_it_older(out_dir, "full")
    assert trained_selections(out_dir, ["full"]) == {}


def test_an_older_model_whose_selection_has_other_rows_now_is_of_no_kind(
    out_dir: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out_dir = copy_of(out_dir, tmp_path)
    make_it_older(out_dir, "golden")
    select_candidates(Config(out_dir, select=SelectConfig("top_k", k=2, replace=True)))
    assert trained_selections(out_dir, ["golden"]) == {}
    assert "selections/golden, which it was trained on, holds other rows since" in caplog.text
    io.delete(io.join(out_dir, "selections", "golden"))
    assert trained_selections(out_dir, ["golden"]) == {}
    assert "selections/golden, which it was trained on, is gone" in caplog.text


def test_a_verdict_needs_a_golden_model(out_dir: str) -> None:
    selections = trained_selections(out_dir, SELECTIONS)
    metric = "likelihood/mean_logprob"
    assert verdict_of_run(out_dir, metric, selections, values("base", "random-0"), None, 0) is None
    given = values("golden", "random-0", "bottom")
    verdict = verdict_of_run(out_dir, metric, selections, given, np.ones(3), 0)
    assert verdict is not None and verdict["numbers"]["metric"] == metric
    assert verdict["numbers"]["values"] == {"golden": 0.0, "random-0": 1.0, "bottom": 2.0}
    assert verdict["numbers"]["stability"]["reliability"] == pytest.approx(1.0)
    uneven = given | {"golden": np.array([0.0, 2.0, 6.0])}
    weighted = verdict_of_run(out_dir, metric, selections, uneven, np.array([1.0, 2.0, 1.0]), 0)
    assert weighted is not None and weighted["numbers"]["values"]["golden"] == 2.5


def test_signs_of_the_scores(out_dir: str) -> None:
    selections = trained_selections(out_dir, SELECTIONS)
    stability, length = score_signs(out_dir, selections["golden"], seed=0)
    assert stability is not None and length is not None
    assert stability.reliability == pytest.approx(1.0), "all anchors agree"
    assert length.auc == 1.0, "the four best rows are the four longest"
    _, of_bottom = score_signs(out_dir, selections["bottom"], seed=0)
    assert of_bottom is not None and of_bottom.auc == 0.0
