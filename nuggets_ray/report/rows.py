"""The table of rows: the best, the worst, those at the border of a selection, and a sample; each
with its turns and the anchors that it helped and hurt most. All rows, where there are few.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray.config.report import ReportConfig
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Section
from nuggets_ray.report.scores import NO_SCORES
from nuggets_ray.run.row_text import cut, one_line
from nuggets_ray.run.shown_rows import AnchorDelta, ShownRow, read_shown

GROUPS = {
    "best": "the best",
    "worst": "the worst",
    "border": "at the border of the selection",
    "sample": "drawn at random",
}
SHARES = {"best": 0.35, "worst": 0.25, "border": 0.2}
"""Of the rows shown; the rest is the sample."""
LINE_CHARS = 110
ANCHOR_CHARS = 160


@dataclass(frozen=True, slots=True)
class RowLine:
    """A row of the table: `groups` and `kept_in` are the names that it can be filtered by."""

    rank: int
    shown: ShownRow
    groups: tuple[str, ...]
    kept_in: tuple[str, ...]
    source: int
    asked: str
    answered: str
    turns: tuple[tuple[str, str], ...]
    helped: tuple[AnchorDelta, ...]
    hurt: tuple[AnchorDelta, ...]

    @property
    def numbers(self) -> Mapping[str, Any]:
        return self.shown.numbers


def choose_groups(material: Material, num_rows: int) -> dict[int, tuple[str, ...]]:
    """{row index: the groups it is shown in}, best first."""
    ranked_N = material.ranked_N
    rank_N = np.empty(len(ranked_N), np.int64)
    rank_N[ranked_N] = np.arange(len(ranked_N))
    if len(ranked_N) <= num_rows:
        taken = {"sample": ranked_N}
    else:
        known = ranked_N[~np.isnan(material.measure_N[ranked_N])]
        num = {name: max(1, int(num_rows * share)) for name, share in SHARES.items()}
        taken = {"best": known[: num["best"]], "worst": known[::-1][: num["worst"]]}
        taken["border"] = _border(material, ranked_N, num["border"])
        left = num_rows - len(np.unique(np.concatenate(list(taken.values()))))
        taken["sample"] = material.some_rows(max(0, left)) if left > 0 else ranked_N[:0]
    groups: dict[int, list[str]] = {}
    for name, rows in taken.items():
        for row in rows.tolist():
            groups.setdefault(row, []).append(name)
    return {row: tuple(groups[row]) for row in sorted(groups, key=lambda row: int(rank_N[row]))}


def _border(material: Material, ranked_N: np.ndarray, num: int) -> np.ndarray:
    """The last kept and the first left out, of a selection in the order of the ranking."""
    main = material.main
    if main is None or main.record.get("settings", {}).get("by") != "golden_score":
        return ranked_N[:0]
    is_kept_R = main.is_kept_N[ranked_N]
    kept, left = ranked_N[is_kept_R], ranked_N[~is_kept_R]
    if main.record["settings"].get("order") == "bottom":
        kept, left = kept[::-1], left[::-1]
    return np.concatenate([kept[max(0, len(kept) - num // 2) :], left[: num - num // 2]])


def rows(material: Material, num_rows: int) -> Section:
    """The section, with at most `num_rows` rows."""
    if material.joined is None:
        return Section("rows", "Rows", absent=NO_SCORES)
    groups = choose_groups(material, num_rows)
    lines = _lines(material, groups)
    sources = material.sources
    used = sorted({line.source for line in lines if line.source >= 0})
    num_scored = material.table.num_rows
    return Section(
        "rows",
        "Rows",
        {
            "lines": lines,
            "with_text": material.config.text,
            "source_name": "" if sources is None else sources.name,
            "sources": [] if sources is None else [(i, sources.values[i]) for i in used],
            "source_values": () if sources is None else sources.values,
            "groups": {
                name: words
                for name, words in GROUPS.items()
                if len(lines) < num_scored and any(name in line.groups for line in lines)
            },
            "selections": [n for n in material.selections if any(n in r.kept_in for r in lines)],
            "num_scored": num_scored,
            "is_sample": len(lines) < num_scored,
        },
    )


def _lines(material: Material, groups: Mapping[int, tuple[str, ...]]) -> list[RowLine]:
    places = list(groups)
    config, sources = material.config, material.sources
    rank_N = np.empty(material.table.num_rows, np.int64)
    rank_N[material.ranked_N] = np.arange(1, material.table.num_rows + 1)
    lines = []
    all_shown = read_shown(material.out_dir, material.table, places)
    for place, shown in zip(places, all_shown, strict=True):
        kept_in = [name for name, one in material.selections.items() if one.is_kept_N[place]]
        num = config.num_anchors
        lines.append(
            RowLine(
                rank=int(rank_N[place]),
                shown=shown,
                groups=groups[place],
                kept_in=tuple(kept_in),
                source=-1 if sources is None else int(sources.value_N[place]),
                **_texts(shown, config),
                helped=tuple(_anchor(d, config.text) for d in shown.deltas[:num] if d.delta > 0),
                hurt=tuple(
                    _anchor(d, config.text) for d in shown.deltas[::-1][:num] if d.delta < 0
                ),
            )
        )
    return lines


def _texts(shown: ShownRow, config: ReportConfig) -> dict[str, Any]:
    """What is asked first and answered last on a line each, and all turns, cut; none of it where
    texts are left out.
    """
    if not config.text:
        return {"asked": "", "answered": "", "turns": ()}
    asked = next((text for role, text in shown.turns if role != "system"), "")
    answered = shown.turns[-1][1] if len(shown.turns) > 1 else ""
    return {
        "asked": one_line(asked, LINE_CHARS),
        "answered": one_line(answered, LINE_CHARS),
        "turns": tuple((role, cut(text, config.max_chars)) for role, text in shown.turns),
    }


def _anchor(delta: AnchorDelta, with_text: bool) -> AnchorDelta:
    text = one_line(delta.text, ANCHOR_CHARS) if with_text else ""
    return AnchorDelta(delta.anchor_id, text, delta.delta)
