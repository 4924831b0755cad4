"""Scoring from Python: the same numbers as one pair at a time, and no row lost without a word."""

import doctest
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nuggets_ray import read_examples, score_rows
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.data.read import SkippedRow
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model, load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Example, Message
from nuggets_ray.score import library
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.replica import load_replica


def row(number: int) -> dict[str, str]:
    return {"instruction": f"Double {number}.", "output": f"It is {2 * number}."}


def anchor(number: int) -> dict[str, str]:
    return {"instruction": f"Add 1 to {number}.", "output": f"{number + 1}"}


ROWS = [row(number) for number in range(4)]
ANCHORS = [anchor(number) for number in (3, 5, 8)]


def score(model: Path, rows: Any = ROWS, anchors: Any = ANCHORS, **more: Any) -> list[Any]:
    return score_rows(rows, anchors=anchors, model=model, dtype="float32", **more)


def example(fields: dict[str, str]) -> Example:
    return Example((Message("user", fields["instruction"]), Message("assistant", fields["output"])))


def test_the_doctest_runs(tiny_model: Path) -> None:
    [test] = doctest.DocTestFinder(recurse=False).find(library, extraglobs={"model": tiny_model})
    assert doctest.DocTestRunner().run(test) == doctest.TestResults(failed=0, attempted=6)


def test_scores_are_those_of_one_pair_at_a_time(tiny_model: Path) -> None:
    config = ModelConfig(str(tiny_model))
    prompt = make_prompt(load_tokenizer(config), PromptConfig())
    anchors = [prompt.anchor(example(fields)) for fields in ANCHORS]
    prefixes = [prompt.demonstration(example(fields)).token_ids for fields in ROWS]
    expected = reference_log_probs(
        load_model(config, "float32", "cpu"), anchors, [prompt.zero_shot_prefix, *prefixes]
    )
    scores = score(tiny_model)
    assert [s.content_id for s in scores] == [example(fields).content_id for fields in ROWS]
    found = np.array([s.one_shot_logprob for s in scores])
    np.testing.assert_allclose(found, expected[1:], atol=1e-4)
    wins = (expected[1:] > expected[0]).sum(axis=1).tolist()
    assert [s.num_wins for s in scores] == wins and len(set(wins)) > 1
    assert [s.golden_score for s in scores] == [num / 3 for num in wins]


def test_files_dicts_and_what_was_read_before_score_alike(tiny_model: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "rows.jsonl", tmp_path / "anchors.jsonl"]
    for path, rows in zip(paths, (ROWS, ANCHORS), strict=True):
        path.write_text("".join(json.dumps(fields) + "\n" for fields in rows), encoding="utf-8")
    columns = {"instruction": "q", "output": "a"}
    renamed = [{"q": fields["instruction"], "a": fields["output"]} for fields in ANCHORS]
    given = [
        (ROWS, ANCHORS),
        (paths[0], str(paths[1])),
        (read_examples(ROWS), read_examples(renamed, columns=columns)),
    ]
    scores = [[s.golden_score for s in score(tiny_model, *pair)] for pair in given]
    assert scores[0] == scores[1] == scores[2]


def test_copies_and_anchors_among_the_rows(tiny_model: Path) -> None:
    scores = score(tiny_model, [row(0), ANCHORS[1], row(0), row(1)])
    first, of_anchor, copy, _ = scores
    assert copy.example_id == f"{first.example_id}-2" and copy.content_id == first.content_id
    assert copy.golden_score == first.golden_score
    assert (of_anchor.self_anchor_index, of_anchor.num_anchors) == (1, 2)
    assert (first.self_anchor_index, first.num_anchors) == (None, 3)


def test_rows_without_a_score_are_told(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(0), {**row(3), "output": ""}, {**row(1), "output": "long " * 200}, row(2)]
    left_out: list[SkippedRow] = []
    limits = {"max_demonstration_tokens": 300, "on_skipped": left_out.append}
    scores = score(tiny_model, rows, **limits)
    assert [s.content_id for s in scores] == [example(rows[n]).content_id for n in (0, 3)]
    assert left_out == [
        SkippedRow(None, 1, "empty_answer"),
        SkippedRow(None, 2, "too_long"),
    ]
    [warning] = [r for r in caplog.records if r.levelno == logging.WARNING]
    text = "2 of 4 rows have no score: 1 empty_answer, 1 too_long"
    assert warning.getMessage() == text
    [_, cut, _] = score(tiny_model, rows, **limits, on_too_long="truncate")
    assert cut.num_dropped_tokens > 0


def test_what_does_not_fit_the_context_is_told(tiny_model: Path) -> None:
    rows = [row(0), {**row(1), "output": "long " * 1000}]
    left_out: list[SkippedRow] = []
    [_] = score(tiny_model, rows, max_demonstration_tokens=8000, on_skipped=left_out.append)
    assert left_out == [SkippedRow(None, 1, "too_long_for_context")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": []}, "there are no rows: give at least one"),
        ({"rows": row(0)}, "a single row: give a list of rows"),
        ({"rows": "nowhere.jsonl"}, "^rows=nowhere.jsonl: there is no such file"),
        (
            {"rows": [{"a": 1}]},
            r"^format=auto: no format fits .*: a\): set format, or .*columns=",
        ),
        ({"anchors": []}, "there are no rows: give at least one"),
        ({"anchors": "nowhere.jsonl"}, "^anchors=nowhere.jsonl: there is no such file"),
        (
            {"anchors": [{"a": 1}]},
            r"^format of the anchors=auto: .* give anchors=read_examples\(anchors, format=",
        ),
        (
            {"anchors": [*ANCHORS * 9, {"instruction": "none"}]},
            r"row 28 \(counted from 1\) of the given rows cannot be an anchor \(missing_field:outp",
        ),
        ({"dtype": "float8"}, "^dtype=float8: take one of auto, bfloat16, float32"),
        ({"prompt": "none"}, "^prompt=none"),
        ({"max_demonstration_tokens": 0}, "^max_demonstration_tokens=0: must be at least 1"),
        ({"max_demonstration_tokens": 3}, r"none of the 4 rows can be scored \(4 too_long\)"),
        ({"on_too_long": "cut"}, "^on_too_long=cut"),
        ({"gpu_attention": "fast"}, "^gpu_attention=fast: take one of auto, merge, gather, flex"),
        (
            {"compile_head": True, "engine": "plain"},
            "^compile_head=True is for engine=tree: .* instead of engine=plain",
        ),
        ({"device": "tpu"}, "device=tpu: give cpu, cuda"),
        ({"device": "cuda:99"}, "device=cuda:99: torch sees . GPUs here"),
        ({"model": "nowhere/at/all"}, "^model=nowhere/at/all does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(changes: dict[str, Any], message: str, tiny_model: Path) -> None:
    settings: dict[str, Any] = {"rows": ROWS, "anchors": ANCHORS, "model": tiny_model}
    with pytest.raises(UserError, match=message):
        score_rows(**{**settings, "dtype": "float32", **changes})


def test_a_bad_row_among_anchors_that_were_read_is_named(tiny_model: Path) -> None:
    anchors = read_examples([*ANCHORS, {"instruction": "none"}], "alpaca")
    with pytest.raises(UserError, match=r"row 4 \(counted from 1\) .*missing_field:output"):
        score(tiny_model, anchors=anchors)


def test_products_are_fused_where_it_is_asked_for(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = []

    def load(*given: Any, speed: Any, **settings: Any) -> Any:
        speeds.append(speed)
        return load_replica(*given, speed=speed, **settings)

    monkeypatch.setattr(library, "load_replica", load)
    plain, fused = score(tiny_model), score(tiny_model, fuse_products=True)
    assert [speed.fuse_products for speed in speeds] == [False, True]
    for one, other in zip(plain, fused, strict=True):
        np.testing.assert_allclose(one.one_shot_logprob, other.one_shot_logprob, atol=1e-5)


def test_threads_are_those_asked_for_and_the_former_ones_afterwards(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during = torch.get_num_threads(), []

    def load(*arguments: Any, **keywords: Any) -> Any:
        during.append(torch.get_num_threads())
        return load_replica(*arguments, **keywords)

    monkeypatch.setattr(library, "load_replica", load)
    torch.set_num_threads(2)
    try:
        score(tiny_model, num_threads=1)
        assert (during, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
    with pytest.raises(UserError, match="^num_threads=0: must be at least 1"):
        score(tiny_model, num_threads=0)


def test_progress_is_shown_where_it_is_asked_for(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(tiny_model)
    assert "scoring" not in capsys.readouterr().err, "not off a terminal"
    score(tiny_model, progress=True)
    shown = capsys.readouterr().err
    assert "scoring" in shown and "4/4" in shown
    score(tiny_model, progress=False)
    assert "scoring" not in capsys.readouterr().err
