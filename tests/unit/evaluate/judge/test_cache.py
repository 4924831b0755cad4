"""Verdicts are kept at once, found again by another process, and counted once."""

import json
from pathlib import Path

import pytest
from judge_tasks import ABOUT

from nuggets_ray import io
from nuggets_ray.evaluate.judge.cache import KeptVerdicts, verdict_key
from nuggets_ray.evaluate.judge.judge import About
from nuggets_ray.evaluate.judge.prompts import Conversation
from nuggets_ray.records import Message
from nuggets_ray.run.layout import RunFolder


def conversation(text: str) -> Conversation:
    return (Message("user", text),)


def parts(out_dir: Path) -> list[Path]:
    return sorted(Path(RunFolder(str(out_dir)).evaluation.judge).glob("part-*.jsonl"))


def test_a_verdict_is_there_before_anything_else_happens(tmp_path: Path) -> None:
    KeptVerdicts(str(tmp_path)).keep("k", "é\u2028[[A]]\n", 12, "judge", ABOUT)
    found = KeptVerdicts(str(tmp_path))
    assert found.find("k") == "é\u2028[[A]]\n"
    assert (found.num_verdicts, found.num_requests, found.num_tokens) == (1, 1, 12)
    assert found.find("other") is None


def test_what_brought_nothing_costs_all_the_same(tmp_path: Path) -> None:
    kept = KeptVerdicts(str(tmp_path))
    kept.keep(None, None, 30, "judge", ABOUT)
    kept.keep("k", "[[A]]", None, "judge", ABOUT)
    for found in (kept, KeptVerdicts(str(tmp_path))):
        assert (found.num_verdicts, found.num_requests, found.num_tokens) == (1, 2, 30)


def test_compaction_changes_the_files_and_nothing_else(tmp_path: Path) -> None:
    kept = KeptVerdicts(str(tmp_path))
    for i in range(5):
        kept.keep(f"k{i}", f"v{i}", i, "judge", ABOUT)
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
        KeptVerdicts(str(tmp_path)).keep(f"k{i}", "v", 1, "judge", ABOUT)
    KeptVerdicts(str(tmp_path)).compact()
    assert len(parts(tmp_path)) == 1
    assert KeptVerdicts(str(tmp_path)).num_verdicts == 3


def test_a_kill_in_the_middle_of_compaction_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptVerdicts(str(tmp_path))
    for i in range(3):
        kept.keep(f"k{i}", "v", 2, "judge", ABOUT)

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


def test_a_verdict_says_whose_it_is(tmp_path: Path) -> None:
    about = About("alpaca_eval/koala", "7", 1, ("base", "golden"))
    KeptVerdicts(str(tmp_path)).keep("k", "[[B]]", 3, "my/judge", about)
    [line] = [json.loads(part.read_bytes()) for part in parts(tmp_path)]
    assert line["judge"] == "my/judge"
    assert line["about"] == {
        **{"prompt_set": "alpaca_eval/koala", "question_id": "7", "turn": 1},
        "models": ["base", "golden"],
    }


def test_verdicts_of_earlier_versions_are_read(tmp_path: Path) -> None:
    folder = Path(RunFolder(str(tmp_path)).evaluation.judge)
    folder.mkdir(parents=True)
    line = {"request_id": "r", "key": "k", "text": "v", "num_requests": 1, "num_tokens": 5}
    (folder / "part-old.jsonl").write_text(json.dumps(line) + "\n")
    found = KeptVerdicts(str(tmp_path))
    assert (found.find("k"), found.num_requests, found.num_tokens) == ("v", 1, 5)


def test_what_cost_nothing_is_kept_once_and_counts_nothing(tmp_path: Path) -> None:
    kept = KeptVerdicts(str(tmp_path))
    kept.keep("a", "paid", 9, "judge", ABOUT)
    kept.keep_free(
        {"a": "other", "b": "free", "c": "free too"}, "local", dict.fromkeys("abc", ABOUT)
    )
    kept.keep_free({"b": "again"}, "local", {"b": ABOUT})
    found = KeptVerdicts(str(tmp_path))
    assert [found.find(key) for key in "abc"] == ["paid", "free", "free too"]
    assert (found.num_requests, found.num_tokens, len(parts(tmp_path))) == (1, 9, 2)
