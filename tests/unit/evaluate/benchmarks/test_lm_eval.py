"""The harness as a library: tasks looked at before a model loads, its numbers as results, and a
task of our own on a tiny model.
"""

import json
from pathlib import Path

import pytest
import torch

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.lm_eval import (
    check_tasks_given,
    check_tasks_known,
    run_tasks,
    to_results,
)
from nuggets_ray.model.load import load_model, load_tokenizer

pytest.importorskip("lm_eval")

TASK = """
task: capitals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
metadata:
  version: 3.0
"""
CHOICES = ["ab", "cd", "ef"]
FOUND = {
    "results": {
        "capitals": {
            "alias": "capitals",
            "sample_len": 50,
            "acc,none": 0.5,
            "acc_stderr,none": 0.1,
            "exact_match,strict": 0.25,
            "exact_match_stderr,strict": "N/A",
        },
        "group": {"alias": "group", "acc,none": 0.75, "acc_stderr,none": 0.0},
    },
    "versions": {"capitals": 3.0},
    "n-shot": {"capitals": 2},
    "n-samples": {"capitals": {"original": 100, "effective": 50}},
    "lm_eval_version": "0.4.13",
}


def test_every_metric_is_a_result() -> None:
    results = {result.metric: result for result in to_results("golden", FOUND, {"data": "hash"})}
    assert list(results) == ["capitals/acc", "capitals/exact_match,strict", "group/acc"]
    accuracy = results["capitals/acc"]
    assert (accuracy.model, accuracy.benchmark, accuracy.value) == ("golden", "lm_eval", 0.5)
    assert accuracy.low == pytest.approx(0.5 - 1.959964 * 0.1)
    assert accuracy.high == pytest.approx(0.5 + 1.959964 * 0.1)
    assert (accuracy.n, accuracy.data) == (50, {"data": "hash"})
    assert accuracy.details == {"version": 3.0, "num_fewshot": 2, "lm_eval": "0.4.13"}
    unknown = results["capitals/exact_match,strict"]
    assert (unknown.value, unknown.low, unknown.high) == (0.25, None, None)
    assert (results["group/acc"].n, results["group/acc"].low) == (0, 0.75)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one task, whose questions are told apart by a tiny model as chance has it."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": f"q{i}: ", "choices": CHOICES, "answer": i % 3} for i in range(12)]
    data = folder / "capitals.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "capitals.yaml").write_text(TASK.format(data=data))
    return folder


@pytest.mark.long
def test_tasks_are_looked_at_before_a_model_loads(tasks: Path, tmp_path: Path) -> None:
    both = EvaluateConfig(tasks=["capitals", "arc_easy"], tasks_path=str(tasks))
    check_tasks_given(both)
    check_tasks_known(both)
    with pytest.raises(UserError, match="evaluate.tasks is missing"):
        check_tasks_given(EvaluateConfig())
    with pytest.raises(UserError, match="evaluate.tasks=capitals: the harness has no such task"):
        check_tasks_known(EvaluateConfig(tasks=["arc_easy", "capitals"]))
    nowhere = str(tmp_path / "none")
    with pytest.raises(UserError, match=f"evaluate.tasks_path={nowhere} is no folder"):
        check_tasks_given(EvaluateConfig(tasks=["capitals"], tasks_path=nowhere))


def likeliest(model: Path, question: str) -> int:
    """The choice with the highest log-prob, by the model itself."""
    config = ModelConfig(str(model))
    loaded, tokenizer = load_model(config, "float32", "cpu"), load_tokenizer(config)
    sums = []
    for choice in CHOICES:
        ids = torch.tensor([tokenizer(question + choice)["input_ids"]])
        start = len(tokenizer(question)["input_ids"])
        log_probs_TV = loaded(ids).logits[0, :-1].log_softmax(-1)
        sums.append(log_probs_TV.gather(1, ids[0, 1:, None])[start - 1 :].sum().item())
    return max(range(len(CHOICES)), key=lambda i: sums[i])


@pytest.mark.long
def test_a_task_of_our_own_on_a_tiny_model(
    tasks: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    evaluate = EvaluateConfig(tasks=["capitals"], tasks_path=str(tasks), num_fewshot=0, limit=9)
    found = run_tasks(ModelConfig(str(tiny_model)), evaluate, "float32", "cpu", seed=0)
    assert set(found) >= {"results", "versions", "n-shot", "n-samples"} and "samples" not in found
    json.dumps(found)
    [accuracy] = to_results("base", found, {})
    right = [likeliest(tiny_model, f"q{i}: ") == i % 3 for i in range(9)]
    assert (accuracy.metric, accuracy.n) == ("capitals/acc", 9)
    assert accuracy.value == pytest.approx(sum(right) / 9)
    assert accuracy.low is not None and accuracy.high is not None
    assert accuracy.low < accuracy.value < accuracy.high or len(set(right)) == 1
