"""Cases: lengths, cuts, samples, and the way through JSON to a worker."""

import json
from pathlib import Path

import numpy as np
import pytest

from nuggets_ray.bench.workload import (
    ANCHOR_FILE,
    CANDIDATE_FILE,
    RandomPrompts,
    Texts,
    Workload,
    WorkloadSource,
    load_source,
    make_works,
    work_from_json,
)
from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Encoding


def example(number: int, length: int):
    row = {"instruction": f"Say {number}.", "input": "", "output": "word " * length}
    return Rules("alpaca").parse(row)


SOURCE = WorkloadSource(
    anchors=tuple(example(n, 2 + 30 * n) for n in range(3)),
    candidates=tuple(example(n, n) for n in range(1, 21)),
    note="made up",
)


@pytest.fixture(scope="module")
def prompts(tiny_model: Path):
    from nuggets_ray.config.schema import ModelConfig

    tokenizer = load_tokenizer(ModelConfig(path=str(tiny_model)))

    def make(max_anchor_tokens: int | None) -> Prompt:
        config = PromptConfig(template="official", max_anchor_tokens=max_anchor_tokens)
        return make_prompt(tokenizer, config)

    return make


def test_demonstrations_have_exactly_the_length_and_anchors_the_cut(prompts) -> None:
    work = make_works(["cut-60"], SOURCE, prompts, num_candidates=4)["cut-60"]
    assert [len(prefix) for prefix in work.prefixes] == [60] * 4
    assert max(anchor.num_tokens for anchor in work.anchors) == 200
    whole = make_works(["uncut-60"], SOURCE, prompts, num_candidates=4)["uncut-60"]
    assert [a.num_dropped_tokens for a in whole.anchors] == [0] * 3
    assert whole.num_anchor_tokens > work.num_anchor_tokens
    # the candidates that need the smallest cut come first
    lengths = sorted(prompts(None).demonstration(one).num_tokens for one in SOURCE.candidates)
    fits = next(length for length in lengths if length >= 60)
    rows = [prompts(None).demonstration(one).token_ids for one in SOURCE.candidates]
    nearest = next(row for row in rows if len(row) == fits)
    np.testing.assert_array_equal(work.prefixes[0], nearest[:60])


def test_rows_are_joined_where_none_is_long_enough(prompts) -> None:
    work = make_works(["uncut-500"], SOURCE, prompts, num_candidates=3)["uncut-500"]
    assert [len(prefix) for prefix in work.prefixes] == [500] * 3
    assert not np.array_equal(work.prefixes[0], work.prefixes[1])


def test_a_sample_is_spread_over_the_lengths() -> None:
    anchors = [Encoding(np.arange(n), np.arange(n) > 0) for n in (9, 2, 5, 7, 3)]
    texts = Texts(("p", "q"), tuple((str(n), "a") for n in range(5)))
    work = Workload("text-1", (np.arange(1), np.arange(1)), tuple(anchors), texts)
    sample = work.sample(3)
    assert [anchor.num_tokens for anchor in sample.anchors] == [2, 5, 9]
    assert sample.texts == Texts(("p",), (("1", "a"), ("2", "a"), ("0", "a")))
    assert len(sample.prefixes) == 1 and sample.name != work.name
    assert len(work.sample(50).anchors) == 5


def test_a_work_goes_through_json_unchanged(prompts) -> None:
    made = make_works(["cut-60"], SOURCE, prompts, num_candidates=2)["cut-60"]
    texts = Texts(("d", "e"), (("q", "a"),) * 3)
    work = Workload(made.name, made.prefixes, made.anchors, texts)
    back = work_from_json(json.loads(json.dumps(work.to_json())))
    assert (back.name, back.texts) == (work.name, texts)
    for ours, theirs in zip(work.anchors, back.anchors, strict=True):
        np.testing.assert_array_equal(ours.token_ids, theirs.token_ids)
        np.testing.assert_array_equal(ours.answer_mask, theirs.answer_mask)
    for mine, yours in zip(work.prefixes, back.prefixes, strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_a_model_without_a_tokenizer_gets_a_token_for_four_bytes() -> None:
    made = RandomPrompts(100, max_anchor_tokens=None).anchor(example(0, 40))
    assert made.num_answer_tokens == 1 + len(("word " * 40).strip()) // 4
    np.testing.assert_array_equal(
        made.token_ids, RandomPrompts(100, None).demonstration(example(0, 40)).token_ids
    )
    cut = RandomPrompts(100, max_anchor_tokens=20).anchor(example(0, 40))
    assert cut.num_tokens == 20 and made.token_ids.max() < 100


def test_without_the_test_data_the_demo_s_rows_are_taken_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUGGETS_TEST_DATA", str(tmp_path))
    monkeypatch.setenv("NUGGETS_CACHE", str(tmp_path / "cache"))
    source = load_source(4)
    assert len(source.anchors) == 4 and len(source.candidates) > 100
    assert "demo" in source.note and "first 4" in source.note
    with pytest.raises(UserError, match="16 rows"):
        load_source(100)


def test_the_official_anchors_are_taken_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"instruction": f"Say {n}.", "input": "", "output": "Yes."} for n in range(3)]
    for name in (ANCHOR_FILE, CANDIDATE_FILE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps([*rows, {"instruction": "x", "output": ""}][:3]))
    monkeypatch.setenv("NUGGETS_TEST_DATA", str(tmp_path))
    source = load_source(None)
    assert "official" in source.note and len(source.anchors) == len(source.candidates) == 3
