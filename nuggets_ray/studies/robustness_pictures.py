"""The pictures of anchor_robustness."""

from collections.abc import Sequence
from typing import Any

from nuggets_ray.studies.anchor_robustness import GOLDEN, Robustness, SizePoint
from nuggets_ray.studies.page import Picture
from nuggets_ray.studies.pictures import COLOURS, MARKS, figure, key, name, png

MIN_RATIO = 1.7
"""Between two numbers at a logarithmic axis."""


def cut_picture(found: Robustness, num_anchors: int, shares: Sequence[float]) -> Picture:
    """The overlap of the kept rows by number of anchors, a line a cut."""
    made, (panel,) = figure()
    for index, share in enumerate(shares):
        curve = [
            (point.num_anchors, point.agreement.overlaps[index], point.is_measured)
            for point in found.points
            if point.measure == GOLDEN
        ]
        _line(panel, curve, index, f"top {100 * share:g}%")
    _mark_run(panel, num_anchors)
    _log_ticks(panel, [point.num_anchors for point in found.points])
    panel.set_ylim(0, 1.02)
    panel.set_xlabel("anchors (each set)")
    panel.set_ylabel("share of kept rows that\nanother set keeps too")
    name(panel, "filled: measured; hollow, dashed: predicted")
    key(panel)
    return Picture("cuts", "overlap of the kept rows by number of anchors", png(made))


def signal_picture(found: Robustness, num_anchors: int) -> Picture:
    """How alike two sets rank all rows, and what one says of the other's golden score."""
    made, (alike, golden) = figure(2)
    for index, measure in enumerate(dict.fromkeys(point.measure for point in found.points)):
        points = [point for point in found.points if point.measure == measure]
        _line(alike, [_spearman(point) for point in points], index, measure)
        told = [
            (point.num_anchors, point.golden.spearman, True)
            for point in points
            if point.golden is not None
        ]
        _line(golden, told, index, measure)
    _mark_run(alike, num_anchors)
    name(alike, "each signal against itself on other anchors")
    name(golden, "each signal against golden_score on others")
    _log_ticks(alike, [point.num_anchors for point in found.points])
    _log_ticks(golden, [point.num_anchors for point in found.points if point.is_measured])
    for panel in (alike, golden):
        panel.set_ylim(0, 1.02)
        panel.set_xlabel("anchors (each set)")
        panel.set_ylabel("Spearman correlation")
    key(alike)
    return Picture("signals", "rank correlation by number of anchors, a line a signal", png(made))


def composition_picture(found: Robustness) -> Picture:
    """What small sets chosen by a rule say of the golden score on other anchors."""
    made, (panel,) = figure()
    for index, rule in enumerate(dict.fromkeys(point.rule for point in found.composition)):
        points = [point for point in found.composition if point.rule == rule]
        panel.errorbar(
            [point.num_anchors * (1 + 0.03 * (index - 1)) for point in points],
            [point.agreement.spearman for point in points],
            yerr=[point.spread for point in points],
            color=COLOURS[index], marker=MARKS[index], markersize=9, linewidth=2, capsize=4,
            label=rule,
        )  # fmt: skip
    _log_ticks(panel, [point.num_anchors for point in found.composition])
    panel.set_xlabel("anchors, chosen from half of the run's")
    panel.set_ylabel("Spearman correlation with the\ngolden score on the other half")
    name(panel, "bars: standard deviation over draws")
    key(panel)
    return Picture("composition", "small anchor sets by the rule that chose them", png(made))


def _spearman(point: SizePoint) -> tuple[int, float, bool]:
    return point.num_anchors, point.agreement.spearman, point.is_measured


def _line(panel: Any, curve: Sequence[tuple[int, float, bool]], index: int, label: str) -> None:
    """(anchors, value, is measured): a solid line with filled marks, then a dashed hollow one."""
    colour, mark = COLOURS[index], MARKS[index]
    measured = [(x, y) for x, y, is_measured in curve if is_measured]
    predicted = [(x, y) for x, y, is_measured in curve if not is_measured]
    style = {"color": colour, "marker": mark, "markersize": 9, "linewidth": 2.2}
    panel.plot(*zip(*measured, strict=True), label=label, **style)
    if predicted:
        joined = [measured[-1], *predicted]
        panel.plot(
            *zip(*joined, strict=True), linestyle="--", markerfacecolor="white", markevery=range(
                1, len(joined)
            ), **style,
        )  # fmt: skip


def _log_ticks(panel: Any, sizes: Sequence[int]) -> None:
    """A logarithmic axis with the sizes written at it, but where they would touch."""
    from matplotlib.ticker import NullLocator

    ticks: list[int] = []
    for size in sorted(set(sizes)):
        if not ticks or size >= MIN_RATIO * ticks[-1]:
            ticks.append(size)
    panel.set_xscale("log")
    panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())


def _mark_run(panel: Any, num_anchors: int) -> None:
    panel.axvline(num_anchors, color="#666666", linestyle=":", linewidth=2)
    panel.annotate(
        f"this run: {num_anchors}", (num_anchors, 0.02), xytext=(-6, 4), color="#444444",
        textcoords="offset points", fontsize=14, horizontalalignment="right",
    )  # fmt: skip
