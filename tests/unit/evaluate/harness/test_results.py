"""The harness's numbers as results: every metric, its rows, and an interval that can be."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nuggets_ray.evaluate.harness.results import to_results
from nuggets_ray.evaluate.harness.tasks import TaskSettings
from nuggets_ray.evaluate.results import Result
from nuggets_ray.evaluate.stats import bootstrap_interval, share_interval
from nuggets_ray.score.golden import wilson_interval

SETTINGS = TaskSettings(
    task="places",
    limit=50,
    num_fewshot=2,
    chat_template=False,
    fewshot_as_multiturn=False,
    system_instruction=None,
    gen_kwargs={},
    seed=0,
    tasks_sha256=None,
)


def samples(metric: str, values: Sequence[Any], filter_name: str = "none") -> list[dict[str, Any]]:
    return [{"filter": filter_name, metric: value} for value in values]


def results_of(
    results: dict[str, dict[str, Any]],
    rows: dict[str, list[dict[str, Any]]],
    groups: dict[str, list[str]] | None = None,
) -> dict[str, Result]:
    found = {
        "results": results,
        "group_subtasks": groups or {},
        "versions": dict.fromkeys(results, 3.0),
        "n-shot": dict.fromkeys(results, 2),
        "task_hashes": {task: f"hash-{task}" for task in rows},
        "lm_eval_version": "0.4.13",
    }
    return {one.metric: one for one in to_results("golden", SETTINGS, found, rows, "float32")}


def test_every_metric_is_a_result_with_what_made_it() -> None:
    right = [1.0] * 25 + [0.0] * 25
    values = {"acc,none": 0.5, "acc_stderr,none": 0.07, "exact_match,strict": 0.5, "sample_len": 50}
    rows = samples("acc", right) + samples("exact_match", right, "strict")
    found = results_of({"capitals": {"alias": "capitals", **values}}, {"capitals": rows})
    assert list(found) == ["capitals/acc", "capitals/exact_match,strict"]
    accuracy = found["capitals/acc"]
    assert (accuracy.model, accuracy.benchmark, accuracy.value) == ("golden", "lm_eval", 0.5)
    assert (accuracy.n, accuracy.data) == (50, {"capitals": "hash-capitals"})
    assert accuracy.details == {"version": 3.0, "num_fewshot": 2, "lm_eval": "0.4.13"}
    assert accuracy.generation is not None
    assert (accuracy.generation["limit"], accuracy.generation["dtype"]) == (50, "float32")
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson_interval(25, 50))
    assert found["capitals/exact_match,strict"].low == accuracy.low


@pytest.mark.parametrize("num_right", [0, 1, 24, 25])
def test_the_interval_of_a_share_stays_within_0_and_1(num_right: int) -> None:
    right = np.array([1.0] * num_right + [0.0] * (25 - num_right))
    error = float(right.std(ddof=1) / 5)
    values = {"acc,none": float(right.mean()), "acc_stderr,none": error}
    [accuracy] = results_of({"t": values}, {"t": samples("acc", right.tolist())}).values()
    assert accuracy.low is not None and accuracy.high is not None
    assert 0 <= accuracy.low < accuracy.high <= 1
    assert (accuracy.low, accuracy.high) == pytest.approx(share_interval(right))


def test_a_group_counts_the_rows_of_all_its_tasks_those_of_groups_within_it_too() -> None:
    rows = {"a": [1.0] * 8 + [0.0] * 2, "b": [1.0] * 15 + [0.0] * 5, "c": [1.0] * 30}
    groups = {"all": ["some", "c"], "some": ["a", "b"], "a": [], "b": [], "c": []}
    of_all = {"acc,none": 53 / 60, "acc_stderr,none": 0.0418}
    tasks = {task: {"acc,none": float(np.mean(one))} for task, one in rows.items()}
    found = results_of(
        {"all": of_all, "some": {"acc,none": 23 / 30, "acc_stderr,none": 0.0785}, **tasks},
        {task: samples("acc", one) for task, one in rows.items()},
        groups,
    )
    assert {metric: one.n for metric, one in found.items()} == {
        "all/acc": 60, "some/acc": 30, "a/acc": 10, "b/acc": 20, "c/acc": 30,
    }  # fmt: skip
    whole = found["all/acc"]
    effective = (53 / 60) * (7 / 60) / 0.0418**2
    assert (whole.low, whole.high) == pytest.approx(wilson_interval(effective * 53 / 60, effective))
    assert set(whole.data) == {"a", "b", "c"}


def test_other_means_have_the_bootstrap_s_interval_and_none_below_30_rows() -> None:
    value_N = np.random.default_rng(0).exponential(2.0, 40)
    values = {"length,none": float(value_N.mean()), "length_stderr,none": 0.3}
    [length] = results_of({"t": values}, {"t": samples("length", value_N.tolist())}).values()
    assert (length.low, length.high) == bootstrap_interval(value_N, 0)
    few = value_N[:20]
    values = {"length,none": float(few.mean()), "length_stderr,none": 0.3}
    [length] = results_of({"t": values}, {"t": samples("length", few.tolist())}).values()
    assert (length.low, length.high, length.n) == (None, None, 20)
    assert length.details["no_interval"] == "too few for an interval"


def test_what_is_no_mean_has_the_harness_s_error_within_its_range() -> None:
    values = {"f1,none": 0.98, "f1_stderr,none": 0.05, "bleu,none": 30.0, "bleu_stderr,none": 4.0}
    rows = samples("f1", [(1, 1)] * 40) + samples("bleu", [("a", "b")] * 40)
    found = results_of({"t": {**values, "perplexity,none": 9.0}}, {"t": rows})
    assert (found["t/f1"].low, found["t/f1"].high) == pytest.approx((0.98 - 1.959964 * 0.05, 1.0))
    assert found["t/bleu"].high == pytest.approx(30 + 1.959964 * 4)
    assert (found["t/perplexity"].low, found["t/perplexity"].high) == (None, None), "no error known"
    few = {"t": samples("f1", [(1, 1)] * 29)}
    [one] = results_of({"t": {"f1,none": 0.98, "f1_stderr,none": 0.05}}, few).values()
    assert one.low is None and one.n == 29
