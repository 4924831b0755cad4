"""Did the selection help? The verdict with its caveats, the numbers behind it, and every result."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nuggets_ray import io
from nuggets_ray.config.keys import shell_command
from nuggets_ray.evaluate.results import ALL, Results, read_results
from nuggets_ray.evaluate.tables import interval_text, metric_text, number_text
from nuggets_ray.evaluate.verdict.evidence import ROW_DRAWS, TOKEN_DRAWS
from nuggets_ray.evaluate.verdict.paragraph import BETTER, WORSE
from nuggets_ray.evaluate.verdict.power import power_text
from nuggets_ray.report.chart import BLUE, GRAY, ORANGE, Chart, draw, label
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Grid, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Evaluation"
MAX_SUBSETS = 150
ADVICE = {
    "top_no_better_than_random": "Keep fewer rows, or anchors that look like the task that counts.",
    "bottom_no_worse_than_golden": "The order of rows is no help on these tasks: do not use it.",
    "explained_by_tokens": "Compare with random draws of as many answer tokens.",
    "unstable_across_anchors": "Take more anchors (anchors.num), of the task that counts.",
    "explained_by_length": "Look at Score and answer length, and compare with longest.",
}
"""What to do about each failure sign of the verdict."""


def results_of(material: Material) -> Results | None:
    """What results.json holds; None where nothing was evaluated."""
    uri = material.folder.evaluation.results
    return read_results(material.out_dir) if io.exists(uri) else None


def evaluation(material: Material) -> Section:
    """The verdict, its evidence, and all results."""
    results = results_of(material)
    if results is None:
        command = f"{shell_command('evaluate')} out_dir={shlex.quote(material.out_dir)}"
        absent = f"Nothing was evaluated, so there is no verdict: {command}"
        return Section("evaluation", TITLE, absent=absent)
    verdict = results.verdict
    picture = None if verdict is None else _arms(verdict["numbers"])
    whole = [r for r in results.results if r.subset == ALL]
    subsets = [r for r in results.results if r.subset != ALL]
    return Section(
        "evaluation",
        TITLE,
        {
            "verdict": None if verdict is None else large_verdict(verdict),
            "paragraph": "" if verdict is None else verdict["paragraph"],
            "signs": []
            if verdict is None
            else [(clause, ADVICE.get(name, "")) for name, clause in verdict["signs"].items()],
            "undecided": [] if verdict is None else list(verdict.get("undecided_signs", ())),
            "checked": [] if verdict is None else list(verdict.get("checked_signs", ())),
            "power": "" if verdict is None else _power(verdict["numbers"]),
            "primary": results.primary,
            "differences": None if verdict is None else _differences(verdict["numbers"]),
            "whole": _table(results, whole),
            "subsets": _table(results, subsets[:MAX_SUBSETS]) if subsets else None,
            "num_subsets": len(subsets),
        },
        () if picture is None else (picture,),
    )


def large_verdict(verdict: Mapping[str, Any]) -> dict[str, str]:
    """The verdict in a few words: {kind: better, worse or open; sign; sentence}."""
    outcome, numbers = verdict["outcome"], verdict["numbers"]
    golden, metric = numbers.get("golden", "golden"), numbers.get("metric", "")
    by = f" by {metric}" if metric else ""
    if outcome == BETTER:
        return {"kind": "better", "sign": "▲", "sentence": f"{golden} is better than random{by}."}
    if outcome == WORSE:
        return {"kind": "worse", "sign": "▼", "sentence": f"{golden} is worse than random{by}."}
    sentence = f"{golden} and random are not told apart{by}."
    return {"kind": "open", "sign": "◆", "sentence": sentence}


def _power(numbers: Mapping[str, Any]) -> str:
    kinds = {draws["kind"]: len(draws["arms"]) for draws in numbers.get("draws", ())}
    if not kinds:
        return ""
    return f"Power: {power_text(kinds.get(ROW_DRAWS, 0), kinds.get(TOKEN_DRAWS, 0))}."


def _differences(numbers: Mapping[str, Any]) -> Grid | None:
    rows = [
        [
            one["against"],
            number_text(one["value"], "+"),
            ""
            if one["low"] is None
            else f"[{number_text(one['low'], '+')}, {number_text(one['high'], '+')}]",
            f"{one['p_value']:.2g}",
            f"{one['p_holm']:.2g}",
        ]
        for one in numbers.get("differences", ())
    ]
    header = ("golden against", "difference", "95% interval", "p", "p after Holm's correction")
    return Grid(header, rows, f"Row by row over {numbers['num_rows']:,} rows") if rows else None


def _arms(numbers: Mapping[str, Any]) -> Chart | None:
    """Every arm's value, and where a further random draw of each kind would lie."""
    values = numbers.get("values", {})
    if len(values) < 2:
        return None
    names = sorted(values, key=lambda name: values[name])
    draws = numbers.get("draws", ())
    drawn = {arm for kind in draws for arm in kind["arms"]}

    def plot(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        for place, name in enumerate(names):
            is_golden = name == numbers.get("golden")
            colour = BLUE if is_golden else ORANGE if name in drawn else GRAY
            marker = "D" if is_golden else "o" if name in drawn else "s"
            axes.plot(values[name], place, marker, color=colour, markersize=8)
        for kind in draws:
            if kind["low"] is not None:
                axes.axvspan(kind["low"], kind["high"], color=ORANGE, alpha=0.15,
                             label=f"where a further draw would lie ({kind['kind']})")  # fmt: skip
        axes.set_yticks(range(len(names)), [label(name) for name in names])
        axes.set_xlabel(numbers.get("metric", "value"))
        axes.margins(y=0.15)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", fontsize=8)

    alt = (
        f"The {len(names)} models by {numbers.get('metric', 'the primary metric')}: golden a "
        "diamond, random draws circles, others squares."
    )
    return draw("verdict", alt, plot, height=1.4 + 0.28 * len(names))


def _table(results: Results, rows: Sequence[Any]) -> Grid:
    header = ("metric", "subset", "model", "against", "value", "95% interval", "rows")
    ordered = sorted(rows, key=lambda r: (not results.is_primary(r), r.benchmark))
    cells = [
        [
            metric_text(one) + (" (primary)" if results.is_primary(one) else ""),
            one.subset,
            one.model,
            one.against or "",
            number_text(one.value),
            interval_text(one),
            f"{one.n:,}",
        ]
        for one in ordered
    ]
    return Grid(header, cells)
