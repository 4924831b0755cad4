"""Answers side by side, and the judge's words on lost pairs."""

from pathlib import Path

from reported_run import choose, evaluate, material, scored

from nuggets_ray import io
from nuggets_ray.io import write_json
from nuggets_ray.report.answers import answers, read_lost
from nuggets_ray.run.layout import RunFolder


def annotation(model: str, preference: float | None) -> dict[str, object]:
    return {
        **{"instruction": "Why?", "output_1": "reference", "generator_1": "gpt"},
        **{"output_2": "own", "generator_2": model, "annotator": "judge"},
        **{"preference": preference, "raw_completion": ["A is better", "B is better"]},
    }


def test_answers_of_all_models(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    evaluate(out_dir)
    (shown,) = answers(material(out_dir, max_chars=3)).values["shown"]
    assert shown == {"asked": "Wh…", "own_answer": "So.", "answers": {"base": "?", "golden": "So!"}}


def test_pairs_that_were_lost_golden_first(tmp_path: Path) -> None:
    out_dir = choose(scored(str(tmp_path)))
    folder = RunFolder(out_dir).evaluation
    for model, preferences in {"base": (1.0,), "golden": (1.25, 1.5, 2.0, None)}.items():
        rows = [annotation(model, one) for one in preferences]
        write_json(folder.annotations("set", model, "judge"), rows)
    lost = read_lost(material(out_dir))
    assert [(one["model"], one["against"]) for one in lost] == [("golden", "gpt"), ("base", "gpt")]
    assert lost[0]["words"] == ["A is better", "B is better"]


def test_pages_of_an_earlier_version(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    folder = RunFolder(out_dir).evaluation
    io.write_bytes(folder.answers_page("old"), b"## Why?")
    evaluate(out_dir)
    io.write_bytes(folder.answers_page("set"), b"## Why, again?")
    assert answers(material(out_dir)).values["pages"] == ["## Why?"]


def test_no_answers_and_private_ones(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    assert "No answers were written" in answers(material(out_dir)).absent
    evaluate(out_dir)
    assert "report.text=false" in answers(material(out_dir, text=False)).absent
