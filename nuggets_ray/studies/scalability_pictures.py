"""The pictures of the scalability study."""

from collections.abc import Mapping, Sequence

from nuggets_ray.studies.page import Picture
from nuggets_ray.studies.pictures import COLOURS, MARKS, figure, key, name, png
from nuggets_ray.studies.scalability import MEASURED, MODELLED, REHEARSED, CostPoint

NO_TOKENS = 0.0
ALL_SOURCES = (MEASURED, REHEARSED, MODELLED)


def time_picture(points: Sequence[CostPoint]) -> Picture:
    """Hours of one worker by candidates: filled marks measured, hollow ones rehearsed without a
    model, dashed lines modelled."""
    made, (panel,) = figure()
    made.set_size_inches(10.0, 6.4)
    drawn = [point for point in points if point.tokens > NO_TOKENS]
    for index, selector in enumerate(dict.fromkeys(point.selector for point in drawn)):
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        of_selector = [point for point in drawn if point.selector == selector]
        x, y = _curve(of_selector, ALL_SOURCES)
        panel.plot(x, y, linestyle="--", linewidth=2.2, color=colour, label=selector)
        for source, face in ((MEASURED, colour), (REHEARSED, "white")):
            x, y = _curve(of_selector, (source,))
            panel.plot(
                x, y, mark, color=colour, markerfacecolor=face, markersize=9, linestyle="none"
            )
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("candidates")
    panel.set_ylabel("hours of one worker")
    name(panel, "filled: measured; hollow: rehearsed; dashed: modelled")
    key(panel, "upper left")
    return Picture(
        "time", "hours of one worker by number of candidates, a line a selector", png(made)
    )


def passes_picture(
    points: Sequence[CostPoint], num_candidates: int, others: Mapping[str, float]
) -> Picture:
    """Passes over the pool of each selector at one number of candidates, beside those of `others`
    {tool: passes}."""
    made, (panel,) = figure()
    ours = {
        point.selector: point.pool_passes
        for point in points
        if point.num_candidates == num_candidates and point.source == MODELLED
    }
    bars = [(passes, tool, COLOURS[0]) for tool, passes in ours.items() if passes > 0]
    bars += [(passes, tool, COLOURS[1]) for tool, passes in others.items()]
    made.set_size_inches(11.0, 0.5 * len(bars) + 1.6)
    for place, (passes, _, colour) in enumerate(sorted(bars)):
        hatch = "" if colour == COLOURS[0] else "//"
        panel.barh(place, passes, color=colour, hatch=hatch, edgecolor="white")
        panel.annotate(
            f"{passes:,.1f}", (passes, place), xytext=(6, -5), textcoords="offset points",
            fontsize=14,
        )  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlim(0.5, 3 * max(passes for passes, _, _ in bars))
    panel.set_yticks(range(len(bars)), [tool for _, tool, _ in sorted(bars)])
    panel.set_xlabel("passes over the pool of demonstrations")
    name(panel, f"at {num_candidates:,} candidates; hatched: other tools")
    return Picture("passes", "passes over the pool by selector and by other tools", png(made))


def _curve(points: Sequence[CostPoint], sources: Sequence[str]) -> tuple[list[int], list[float]]:
    chosen = sorted((p for p in points if p.source in sources), key=lambda p: p.num_candidates)
    return [p.num_candidates for p in chosen], [p.worker_s / 3600 for p in chosen]
