"""Which model is which arm, and what the scores behind the golden one show."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io, score_table
from nuggets_ray.anchors.table import write_anchors
from nuggets_ray.config import Config, SelectConfig
from nuggets_ray.evaluate.arms import golden_names, make_arms, score_signs
from nuggets_ray.evaluate.evidence import BOTTOM, GOLDEN, OTHER, RANDOM
from nuggets_ray.finetune_config import FinetuneConfig
from nuggets_ray.manifest import write_config
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.stages.select import select_candidates

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
    """A scored run whose best rows are its longest, with a selection and a model's settings for
    each of SELECTIONS, and a model that was trained on a file.
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
        trained = Config(out_dir, finetune=FinetuneConfig(selection=name))
        write_config(out_dir, f"finetune-{name}", trained)
    write_config(out_dir, "finetune-full", Config(out_dir))
    return out_dir


def write_candidates(out_dir: str, ids: list[str]) -> None:
    rows = [
        {
            **{"example_id": name, "content_id": name, "source_path": "rows.jsonl"},
            **{"row_number": number, "row_json": f'{{"number": {number}}}'},
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
    table = pa.Table.from_pylist(rows, schema=score_table.SCHEMA)
    io.write_table(io.join(out_dir, "scores", "part-0.parquet"), table)


def values(*names: str) -> dict[str, np.ndarray]:
    return {name: np.full(3, float(index)) for index, name in enumerate(names)}


def test_the_kind_is_that_of_the_selection_not_of_the_name(out_dir: str) -> None:
    arms = make_arms(out_dir, values("base", "golden", *SELECTIONS, "full", "elsewhere"))
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


def test_the_first_golden_one_is_judged(out_dir: str) -> None:
    assert golden_names(out_dir, ["base", "golden-10", "golden"]) == ("golden-10", "golden")
    arms = make_arms(out_dir, values("golden-10", "golden"))
    assert [(arm.name, arm.kind) for arm in arms] == [("golden-10", GOLDEN), ("golden", OTHER)]


def test_without_a_golden_one_there_is_nothing_to_judge(out_dir: str) -> None:
    assert make_arms(out_dir, values("base", "random-0", "bottom")) == []
    assert make_arms(out_dir, {}) == []
    assert golden_names(out_dir, ["base", "full"]) == ()


def test_a_model_whose_selection_is_gone_is_of_no_kind(out_dir: str, tmp_path: Path) -> None:
    lost = str(tmp_path / "run")
    trained = Config(lost, finetune=FinetuneConfig(selection="golden"))
    write_config(lost, "finetune-golden", trained)
    assert golden_names(lost, ["golden"]) == ()


def test_signs_of_the_scores(out_dir: str) -> None:
    stability, length = score_signs(out_dir, "golden", seed=0)
    assert stability is not None and length is not None
    assert stability.reliability == pytest.approx(1.0), "all anchors agree"
    assert length.auc == 1.0, "the four best rows are the four longest"
    _, of_bottom = score_signs(out_dir, "bottom", seed=0)
    assert of_bottom is not None and of_bottom.auc == 0.0
