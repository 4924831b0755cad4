"""The profile of a selection as text."""

import numpy as np

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.run.profile_text import format_profile
from nuggets_ray.run.selection_profile import NearDuplicates, make_profile
from nuggets_ray.select import Scores

GOLDEN = np.linspace(0, 1, 10)
IDS = np.array([f"c{number}" for number in range(10)])
SCORES = Scores(IDS, IDS, GOLDEN, GOLDEN / 10, np.arange(10, 20))


def text(*sources: Sources, near: NearDuplicates | None = None) -> str:
    config = SelectConfig("top_k", k=2)
    return format_profile(make_profile(SCORES, np.array([9, 8]), config, 0, sources, near))


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_kept_rows_stand_beside_all() -> None:
    figures = {name: numbers for name, *numbers in cells(text())}
    assert figures["rows"] == ["2", "10"]
    assert figures["mean golden score"] == ["0.944", "0.500"]
    assert figures["answer tokens"] == ["37", "145"]
    assert figures["answer tokens, 10% / half / 90%"] == [
        "18.1 / 18.5 / 18.9",
        "10.9 / 14.5 / 18.1",
    ]


def test_what_the_rows_share_and_by_chance_would() -> None:
    assert "Of the 2 kept rows 2 (100%) are in as many of golden, 2 (100%) are in as many" in text()
    assert "by chance it would be 0.4 (20%)." in text()


def test_near_duplicates_are_counted_or_said_not_to_be() -> None:
    near = NearDuplicates(1, 2, 0.8)
    assert "Of the 2 best of them 1 are near-duplicates of a better one" in text(near=near)
    assert "Near-duplicates among them are not counted." in text()


def test_the_most_frequent_sources_are_shown() -> None:
    kinds = Sources("category", ("maths", "trivia"), np.array([0] * 5 + [1] * 4 + [0]))
    table = text(kinds).split("\n\n")[1]
    assert cells(table)[0] == ["category", "kept", "all scored"]
    assert cells(table)[2:] == [["maths", "1 (50%)", "6 (60%)"], ["trivia", "1 (50%)", "4 (40%)"]]
    many = Sources("file", tuple(f"f{n}" for n in range(12)), np.arange(10))
    assert "(4 more)" in text(many)
