"""Answers of all models side by side, and the judge's words on the pairs that a model lost."""

import json
from collections.abc import Iterator
from typing import Any

from nuggets_ray import io
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Section
from nuggets_ray.run.row_text import cut

TITLE = "Answers side by side"
MAX_LOST = 20
MAX_ANSWERS = 20
TIE = 1.5
"""In annotations.json 1 is the reference, 2 the model."""


def answers(material: Material) -> Section:
    """Answers of all models side by side, and the judge's words on the pairs that were lost."""
    if not material.config.text:
        return Section("answers", TITLE, absent="Texts are left out (report.text=false).")
    shown, pages = read_side_by_side(material), read_pages(material)
    lost = read_lost(material)
    if not (shown or pages or lost):
        absent = "No answers were written: evaluate.show_answers=5, or a judged benchmark, does it."
        return Section("answers", TITLE, absent=absent)
    values = {"shown": shown[:MAX_ANSWERS], "lost": lost[:MAX_LOST], "num_lost": len(lost)}
    return Section("answers", TITLE, values | {"pages": pages})


def read_side_by_side(material: Material) -> list[dict[str, Any]]:
    """[{asked, own_answer, answers: {model: text}}] of all sets of prompts, texts cut."""
    folder, most = material.folder.evaluation, material.config.max_chars
    shown = []
    for uri in io.list_files(folder.path, ".json"):
        if not _is_of_answers(uri):
            continue
        for one in json.loads(io.read_bytes(uri)):
            texts = {name: cut(text, most) for name, text in one["answers"].items()}
            asked, own = cut(one["asked"], most), cut(one["own_answer"], most)
            shown.append({"asked": asked, "own_answer": own, "answers": texts})
    return shown


def read_pages(material: Material) -> list[str]:
    """The pages of answers of an earlier version, which wrote nothing for programs."""
    folder = material.folder.evaluation
    there = {uri.removesuffix(".json") for uri in io.list_files(folder.path, ".json")}
    pages = [uri for uri in io.list_files(folder.path, ".md") if _is_of_answers(uri)]
    texts = [io.read_bytes(uri).decode() for uri in pages if uri.removesuffix(".md") not in there]
    return [cut(text, MAX_ANSWERS * material.config.max_chars) for text in texts]


def _is_of_answers(uri: str) -> bool:
    return uri.rpartition("/")[2].startswith("answers")


def read_lost(material: Material) -> list[dict[str, Any]]:
    """Pairs that a model of the run lost, with both answers and the judge's words, golden's first:
    [{model, against, judge, asked, answer, reference, words: [text, text]}].
    """
    most = material.config.max_chars
    lost = []
    for row in _annotations(material):
        if row.get("preference") is None or row["preference"] >= TIE:
            continue
        texts = {
            **{"asked": row["instruction"], "answer": row["output_2"]},
            "reference": row["output_1"],
        }
        lost.append(
            {
                **{"model": row["generator_2"], "against": row["generator_1"]},
                "judge": row["annotator"],
                **{key: cut(str(text), most) for key, text in texts.items()},
                "words": [cut(str(text), most) for text in row.get("raw_completion") or ()],
            }
        )
    golden = "" if material.main is None else material.main.name
    return sorted(lost, key=lambda one: one["model"] != golden)


def _annotations(material: Material) -> Iterator[dict[str, Any]]:
    """Every verdict of a judge on a pair, of all sets of prompts and models."""
    folder = material.folder.evaluation
    for prompts in io.list_folders(folder.all_alpaca_eval):
        for model in io.list_folders(io.join(folder.all_alpaca_eval, prompts)):
            for judge in io.list_folders(io.join(folder.all_alpaca_eval, prompts, model)):
                yield from json.loads(io.read_bytes(folder.annotations(prompts, model, judge)))
