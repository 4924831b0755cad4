"""Every other number of a row beside its golden score: rank correlation, and how many of the best
rows by one are among the best by the other.

Legend: N scored rows, M measures.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nuggets_ray.report.chart import Chart, draw, gain_colours, label
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Grid, Section
from nuggets_ray.report.scores import NO_SCORES, rank_correlation
from nuggets_ray.run import measures as run_measures
from nuggets_ray.run.measures import known_signals
from nuggets_ray.signals.names import OF_MATRIX

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Golden beside other signals"
GOLDEN = "golden_score"
TOP_SHARE = 0.1
MIN_ROWS = 3
MAX_MEASURES = 12


def signals(material: Material) -> Section:
    """The section: a line a measure, and the correlations of all with all."""
    if material.joined is None:
        return Section("signals", TITLE, absent=NO_SCORES)
    measures = read_measures(material)
    known = int((~np.isnan(measures[GOLDEN])).sum())
    if known < MIN_ROWS:
        return Section("signals", TITLE, absent="Too few rows have a golden score yet.")
    top_k = _top_k(material, known)
    return Section(
        "signals",
        TITLE,
        {"table": _table(measures, material.ranked_N[:top_k]), "top_k": top_k},
        (_correlations(measures),),
    )


def read_measures(material: Material) -> dict[str, np.ndarray]:
    """{name: (N,) value a row, NaN for none}, golden first."""
    measures = {
        GOLDEN: material.golden_N,
        "mean_delta": material.column("mean_delta"),
        "num_answer_tokens": material.column("num_answer_tokens"),
    }
    if material.posterior_N is not None:
        measures["posterior_score"] = material.posterior_N
    if material.anchors[0]:
        names = [*OF_MATRIX, *known_signals(material.out_dir)]
        told = run_measures.read_measures(material.out_dir, material.table, names).values
        measures |= {name: told[name] for name in names if not np.isnan(told[name]).all()}
    return measures


def _top_k(material: Material, known: int) -> int:
    main = material.main
    num = int(main.is_kept_N.sum()) if main is not None else 0
    return num if 0 < num < known else max(1, round(known * TOP_SHARE))


def top_rows(measure_N: np.ndarray, num: int) -> np.ndarray:
    """The rows with the `num` highest values, NaN last; ties in order of the rows."""
    return np.argsort(np.where(np.isnan(measure_N), np.inf, -measure_N), kind="stable")[:num]


def _table(measures: Mapping[str, np.ndarray], top_K: np.ndarray) -> Grid:
    """A line a measure; `top_K`: the best rows by golden score."""
    golden_N, top_k = measures[GOLDEN], len(top_K)
    rows = []
    for name, measure_N in measures.items():
        if name == GOLDEN:
            continue
        both_N = ~np.isnan(golden_N) & ~np.isnan(measure_N)
        correlation = rank_correlation(golden_N[both_N], measure_N[both_N])
        highest = top_rows(measure_N, top_k)
        lowest = top_rows(-measure_N, top_k)
        rows.append(
            [
                name,
                f"{int(both_N.sum()):,}",
                "no spread" if correlation is None else f"{correlation:+.2f}",
                f"{len(np.intersect1d(top_K, highest)) / top_k:.0%}",
                f"{len(np.intersect1d(top_K, lowest)) / top_k:.0%}",
            ]
        )
    header = (
        *("signal", "rows", "rank correlation with golden", f"among the highest {top_k:,}"),
        f"among the lowest {top_k:,}",
    )
    by_chance = top_k / max(1, int((~np.isnan(golden_N)).sum()))
    caption = f"How many of the best {top_k:,} other signals pick too; by chance {by_chance:.0%}"
    return Grid(header, rows, caption)


def _correlations(measures: Mapping[str, np.ndarray]) -> Chart:
    names = list(measures)[:MAX_MEASURES]
    square = np.full((len(names), len(names)), np.nan)
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            both_N = ~np.isnan(measures[one]) & ~np.isnan(measures[other])
            correlation = rank_correlation(measures[one][both_N], measures[other][both_N])
            square[i, j] = np.nan if correlation is None else correlation

    def plot(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        image = axes.imshow(square, cmap=gain_colours(), vmin=-1, vmax=1)
        axes.grid(False)
        axes.set_xticks(range(len(names)), [label(name) for name in names], rotation=30, ha="right")
        axes.set_yticks(range(len(names)), [label(name) for name in names])
        for (i, j), value in np.ndenumerate(square):
            if not np.isnan(value):
                colour = "#ffffff" if abs(value) > 0.6 else "#202125"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour)
        figure.colorbar(image, ax=axes, label="rank correlation")

    alt = "Rank correlations of golden scores and the other signals, each with each."
    return draw("signals", alt, plot, 6.4, 2.0 + 0.42 * len(names))
