"""Verdicts are kept at once, found again by another process, and counted once."""

from pathlib import Path

import pytest

from nuggets_ray import io
from nuggets_ray.evaluate.judge.cache import KeptVerdicts, verdict_key
from nuggets_ray.evaluate.judge.prompts import Conversation
from nuggets_ray.records import Message
from nuggets_ray.run.layout import RunFolder


def conversation(text: str) -> Conversation:
    return (Message("user", text),)


def parts(out_dir: Path) -> list[Path]:
    return sorted(Path(RunFolder(str(out_dir)).evaluation.judge).glob("part-*.jsonl"))


def test_a_verdict_is_there_before_anything_else_happens(tmp_path: Path) -> None:
    KeptVerdicts(str(tmp_path)).keep("k", "é\u2028[[A]]\n", 12)
    found = KeptVerdicts(str(tmp_path))
    assert found.find("k") == "é\u2028[[A]]\n"
    assert (found.num_verdicts, found.num_requests, found.num_tokens) == (1, 1, 12)
    assert found.find("other") is None


def test_what_brought_nothing_costs_all_the_same(tmp_path: Path) -> None:
    kept = KeptVerdicts(str(tmp_path))
    kept.keep(None, None, 30)
    kept.keep("k", "[[A]]", None)
    for found in (kept, KeptVerdicts(str(tmp_path))):
        assert (found.num_verdicts, found.num_requests, found.num_tokens) == (1, 2, 30)


def test_compaction_changes_the_files_and_nothing_else(tmp_path: Path) -> None:
    kept = KeptVerdicts(str(tmp_path))
    for i in range(5):
        kept.keep(f"k{i}", f"v{i}", i)
    assert len(parts(tmp_path)) == 5
    kept.compact()
    assert len(parts(tmp_path)) == 1
    kept.compact()
    assert len(parts(tmp_path)) == 1
    found = KeptVerdicts(str(tmp_path))
    assert [found.find(f"k{i}") for i in range(5)] == [f"v{i}" for i in range(5)]
    assert (found.num_requests, found.num_tokens) == (5, 10)


def test_parts_that_a_kill_left_are_compacted_by_the_next_run(tmp_path: Path) -> None:
    for i in range(3):
        KeptVerdicts(str(tmp_path)).keep(f"k{i}", "v", 1)
    KeptVerdicts(str(tmp_path)).compact()
    assert len(parts(tmp_path)) == 1
    assert KeptVerdicts(str(tmp_path)).num_verdicts == 3


def test_a_kill_in_the_middle_of_compaction_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptVerdicts(str(tmp_path))
    for i in range(3):
        kept.keep(f"k{i}", "v", 2)

    def killed(uri: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(io, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            kept.compact()
    assert len(parts(tmp_path)) == 4
    found = KeptVerdicts(str(tmp_path))
    assert (found.num_verdicts, found.num_requests, found.num_tokens) == (3, 3, 6)


def test_a_key_is_that_of_model_prompt_and_settings() -> None:
    def key(model: str, text: str, **settings: object) -> str:
        return verdict_key(model, conversation(text), settings)

    same = {key("m", "q", a=1, b=2), key("m", "q", b=2, a=1)}
    others = {key("n", "q", a=1, b=2), key("m", "p", a=1, b=2), key("m", "q", a=2, b=2)}
    assert len(same) == 1 and len(others - same) == 3
    assert verdict_key("m", (Message("system", "q"),), {}) != key("m", "q")
