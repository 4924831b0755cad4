"""The distribution of golden scores with the cut, scores by rank, and what length has to do with
it.

Legend: N scored rows, B bins of length.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nuggets_ray.report.chart import BLUE, GRAY, ORANGE, Chart, draw
from nuggets_ray.report.material import POINTS, ChosenRows, Material, evenly
from nuggets_ray.report.page import Grid, Section
from nuggets_ray.run.score_histogram import format_ties

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_BINS = 10
RANK_POINTS = 400
MANY_POINTS = 600
"""More points than this are drawn as an image."""
NO_SCORES = "No row is scored yet: the scoring brings this."


def scores(material: Material) -> Section:
    """Golden scores: their distribution, and their intervals by rank."""
    if material.joined is None:
        return Section("scores", "Golden scores", absent=NO_SCORES)
    golden_N = material.golden_N
    if np.isnan(golden_N).all():
        return Section("scores", "Golden scores", absent="No row met every anchor yet.")
    main = material.main
    num_left = int(np.isnan(golden_N).sum())
    return Section(
        "scores",
        "Golden scores",
        {
            "main": None if main is None else main.name,
            "cut": _cut_text(material, main),
            "num_left": num_left,
            "figures": _figures(golden_N),
        },
        (_histogram(material, main), _by_rank(material, main)),
    )


def lengths(material: Material) -> Section:
    """Score against answer length, and the selection within rows of like length."""
    title = "Score and answer length"
    if material.joined is None or np.isnan(material.golden_N).all():
        return Section("lengths", title, absent=NO_SCORES)
    main = material.main
    table, shared = _by_length(material, main)
    return Section(
        "lengths",
        title,
        {"table": table, "shared": shared, "correlation": _correlation(material)},
        (_scatter(material, main),),
    )


def _figures(golden_N: np.ndarray) -> list[tuple[str, str]]:
    known = golden_N[~np.isnan(golden_N)]
    quantiles = np.quantile(known, [0.05, 0.25, 0.5, 0.75, 0.95])
    names = ("5%", "25%", "median", "75%", "95%")
    told = [(name, f"{value:.3f}") for name, value in zip(names, quantiles, strict=True)]
    return [("rows with a golden score", f"{len(known):,}"), ("mean", f"{known.mean():.3f}"), *told]


def cut_interval(material: Material, main: ChosenRows) -> tuple[float, float, float] | None:
    """(score, low, high) of the last kept row, None for what was not chosen by golden score."""
    settings = main.record.get("settings", {})
    cutoff = main.record.get("cutoff")
    if settings.get("by") != "golden_score" or cutoff is None:
        return None
    at_cut = np.flatnonzero(main.is_kept_N & (np.abs(material.golden_N - cutoff) < 1e-12))
    if not len(at_cut):
        return None
    low, high = (material.column(name)[at_cut[-1]] for name in ("score_low", "score_high"))
    return float(cutoff), float(low), float(high)


def _cut_text(material: Material, main: ChosenRows | None) -> str:
    if main is None:
        return "There is no selection yet, so no cut is shown."
    cut = cut_interval(material, main)
    if cut is None:
        return f"{main.name} was not chosen by golden score, so it has no cut here."
    score, low, high = cut
    text = format_ties(material.golden_N, main.is_kept_N, score)
    if np.isnan(low):
        return text
    golden_N = material.golden_N
    inside = int(((golden_N >= low) & (golden_N <= high)).sum())
    return (
        f"{text} The score there has the 95% interval [{low:.2f}, {high:.2f}], in which "
        f"{inside:,} rows lie ({inside / int((~np.isnan(golden_N)).sum()):.0%}): with other "
        "anchors of the same kind, many of them might have been on the other side of the cut."
    )


def _histogram(material: Material, main: ChosenRows | None) -> Chart:
    golden_N = material.golden_N
    known_N = ~np.isnan(golden_N)
    num_anchors = max(1, int(np.nanmax(material.column("num_anchors"))))
    edges = np.linspace(0, 1, min(num_anchors + 1, 41))
    kept_N = np.zeros(len(golden_N), bool) if main is None else main.is_kept_N

    def plot(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        axes.hist(golden_N[known_N], edges, color=GRAY, alpha=0.55, label="all scored rows")
        if main is not None and kept_N.any():
            label = f"kept in {main.name}"
            axes.hist(golden_N[known_N & kept_N], edges, color=BLUE, label=label)
            _draw_cut(axes, cut_interval(material, main))
        axes.set_xlabel("golden score")
        axes.set_ylabel("rows")
        axes.legend()

    kept = f", {int(kept_N.sum()):,} of them kept" if main is not None else ""
    alt = f"Histogram of the golden scores of {int(known_N.sum()):,} rows{kept}."
    return draw("scores", alt, plot)


def _draw_cut(axes: Any, cut: tuple[float, float, float] | None) -> None:
    if cut is None:
        return
    score, low, high = cut
    axes.axvline(score, color=ORANGE, linestyle="--", label=f"cut at {score:.2f}")
    if not np.isnan(low):
        axes.axvspan(low, high, color=ORANGE, alpha=0.15, label="its 95% interval")


def _by_rank(material: Material, main: ChosenRows | None) -> Chart:
    ranked_N = material.ranked_N[~np.isnan(material.golden_N[material.ranked_N])]
    places = evenly(len(ranked_N), RANK_POINTS)
    rows = ranked_N[places]
    low, high = (material.column(name)[rows] for name in ("score_low", "score_high"))

    def plot(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        axes.fill_between(places + 1, low, high, color=BLUE, alpha=0.2, label="95% interval")
        axes.plot(places + 1, material.golden_N[rows], color=BLUE, label="golden score")
        if main is not None and cut_interval(material, main) is not None:
            last = int(main.is_kept_N.sum())
            axes.axvline(last, color=ORANGE, linestyle="--", label=f"last kept: rank {last:,}")
        axes.set_xlabel("rank")
        axes.set_ylabel("golden score")
        axes.set_ylim(0, 1)
        axes.legend()

    return draw("ranks", "Golden scores by rank, with the 95% interval of each.", plot)


def _scatter(material: Material, main: ChosenRows | None) -> Chart:
    known = np.flatnonzero(~np.isnan(material.golden_N))
    shown = known[evenly(len(known), POINTS)]
    tokens_N, golden_N = material.column("num_answer_tokens"), material.golden_N
    kept = np.zeros(len(shown), bool) if main is None else main.is_kept_N[shown]
    centre_B, median_B = _medians(tokens_N[known], golden_N[known])

    def plot(figure: "Figure") -> None:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        axes: Any = figure.subplots()
        for rows, colour, marker, size, name in (
            (shown[~kept], GRAY, "o", 12, "left out" if kept.any() else "rows"),
            (shown[kept], BLUE, "^", 28, "kept"),
        ):
            if len(rows):
                axes.scatter(
                    *(np.maximum(tokens_N[rows], 1), golden_N[rows]),
                    **{"s": size, "c": colour, "marker": marker, "alpha": 0.7, "label": name},
                    **{"linewidths": 0, "rasterized": len(shown) > MANY_POINTS},
                )
        axes.plot(centre_B, median_B, color=ORANGE, linewidth=2, label="median of like length")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("answer tokens")
        axes.set_ylabel("golden score")
        axes.legend()

    some = f" ({len(shown):,} of {len(known):,} drawn)" if len(shown) < len(known) else ""
    return draw("lengths", f"Golden score against answer length, a point a row{some}.", plot)


def length_bins(tokens_N: np.ndarray) -> np.ndarray:
    """The tenth of the rows by answer length that each row is in, fewer where lengths are few."""
    edges = np.unique(np.quantile(tokens_N, np.linspace(0, 1, NUM_BINS + 1)))
    return np.clip(np.searchsorted(edges, tokens_N, side="right") - 1, 0, max(0, len(edges) - 2))


def _medians(tokens_N: np.ndarray, golden_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bin_N = length_bins(tokens_N)
    bins = np.unique(bin_N)
    centre_B = np.array([np.median(tokens_N[bin_N == one]) for one in bins])
    return np.maximum(centre_B, 1), np.array([np.median(golden_N[bin_N == one]) for one in bins])


def _correlation(material: Material) -> str:
    known_N = ~np.isnan(material.golden_N)
    correlation = rank_correlation(
        material.golden_N[known_N], material.column("num_answer_tokens")[known_N]
    )
    return "" if correlation is None else f"{correlation:+.2f}"


def rank_correlation(one_N: np.ndarray, other_N: np.ndarray) -> float | None:
    """Spearman's, None where there is no spread or are too few rows."""
    from scipy import stats

    if len(one_N) < 3 or np.ptp(one_N) == 0 or np.ptp(other_N) == 0:
        return None
    return float(stats.spearmanr(one_N, other_N).statistic)


def _by_length(material: Material, main: ChosenRows | None) -> tuple[Grid, str]:
    """A line a tenth of the rows by length, and how much of the selection would stay if as many
    were kept of each.
    """
    golden_N, tokens_N = material.golden_N, material.column("num_answer_tokens")
    known = np.flatnonzero(~np.isnan(golden_N))
    golden_K, tokens_K = golden_N[known], tokens_N[known]
    bin_K = length_bins(tokens_K)
    kept_K = np.zeros(len(known), bool) if main is None else main.is_kept_N[known]
    rows = []
    for one in np.unique(bin_K):
        is_in_K = bin_K == one
        ends = f"{tokens_K[is_in_K].min():,.0f} to {tokens_K[is_in_K].max():,.0f}"
        cells = [ends, f"{is_in_K.sum():,}", f"{golden_K[is_in_K].mean():.3f}"]
        kept = [f"{kept_K[is_in_K].sum():,}", f"{kept_K[is_in_K].mean():.1%}"]
        rows.append(cells if main is None else cells + kept)
    header = ["answer tokens", "rows", "mean golden score"]
    header += [] if main is None else [f"kept in {main.name}", "share kept"]
    grid = Grid(header, rows, "Tenths of the rows by answer length")
    if main is None or not kept_K.any():
        return grid, ""
    matched = length_matched(golden_K, material.column("mean_delta")[known], bin_K, kept_K.sum())
    stays = int(kept_K[matched].sum())
    return grid, (
        f"Length-matched view: had the best of every tenth been kept, {kept_K.sum():,} rows in "
        f"all, {stays:,} of them ({stays / kept_K.sum():.0%}) would be rows of {main.name}."
    )


def length_matched(
    golden_N: np.ndarray, mean_delta_N: np.ndarray, bin_N: np.ndarray, num: int
) -> np.ndarray:
    """The `num` rows that are best among those of like length, as many of each bin as it has a
    share of the rows: (num,) indices.
    """
    place_N = np.empty(len(golden_N))
    for one in np.unique(bin_N):
        inside = np.flatnonzero(bin_N == one)
        order = inside[np.lexsort((-mean_delta_N[inside], -golden_N[inside]))]
        place_N[order] = (np.arange(len(order)) + 0.5) / len(order)
    best: np.ndarray = np.lexsort((-golden_N, place_N))[:num]
    return best
