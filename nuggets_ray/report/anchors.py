"""The anchors: how hard each is, how many rows help it, and the matrix of what each row gains.

Legend: S rows of the sample, A anchors.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nuggets_ray.evaluate.verdict.reliability import split_half
from nuggets_ray.report.chart import MARKERS, SERIES, Chart, draw, gain_colours, label
from nuggets_ray.report.material import Material, Sampled, evenly
from nuggets_ray.report.page import Grid, Section
from nuggets_ray.run.row_text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Anchors"
MAP_ROWS = 240
SETTLED = 0.02
"""An anchor that fewer rows than this share help, or hurt, tells hardly any rows apart."""
NUM_LISTED = 5
TEXT_CHARS = 140


def anchors(material: Material) -> Section:
    """The section: difficulty, the win matrix, and the anchors at each end."""
    if not material.anchors[0]:
        return Section("anchors", TITLE, absent="No anchors are chosen yet: the scoring does it.")
    sample = None if material.joined is None else material.sample
    if sample is None:
        return Section("anchors", TITLE, absent="No row met every anchor yet.")
    helped_A = helped_share(sample)
    known = [len(sample.rows_S), int((~np.isnan(material.golden_N)).sum())]
    return Section(
        "anchors",
        TITLE,
        {
            "num_anchors": len(helped_A),
            "is_sample": known[0] < known[1],
            "num_sampled": known[0],
            "stability": _stability(material, sample),
            "settled": int(((helped_A < SETTLED) | (helped_A > 1 - SETTLED)).sum()),
            "table": _table(material, helped_A),
        },
        (_difficulty(material, helped_A), _matrix(material, sample)),
    )


def helped_share(sample: Sampled) -> np.ndarray:
    """The share of the rows that help each anchor, but for the row that it is: (A,)."""
    is_known_SA = np.isfinite(sample.delta_SA)
    wins_A = ((sample.delta_SA > 0) & is_known_SA).sum(axis=0)
    share_A: np.ndarray = wins_A / np.maximum(1, is_known_SA.sum(axis=0))
    return share_A


def _stability(material: Material, sample: Sampled) -> str:
    zero_shot_A = material.anchors[1]
    one_shot_SA = np.where(np.isfinite(sample.delta_SA), sample.one_shot_SA, np.nan)
    halves = split_half(one_shot_SA, zero_shot_A, seed=0)
    if halves is None:
        return ""
    told = (
        f"Reliability {halves.reliability:.2f}: golden scores on one half of the anchors agree "
        f"with those on the other with rank correlation {halves.rank_correlation:.2f} (mean of "
        f"{halves.num_splits} splits)."
    )
    more = " Below 0.7 the order of rows is mostly chance: take more anchors."
    return told + (more if halves.is_unstable else "")


def _table(material: Material, helped_A: np.ndarray) -> Grid:
    listed, zero_shot_A = material.anchors
    order = np.argsort(helped_A, kind="stable")
    few = min(NUM_LISTED, len(order) // 2)
    chosen = order if few == 0 else [*order[::-1][:few], *order[:few]]
    rows = [
        [
            f"{helped_A[a]:.0%}",
            f"{zero_shot_A[a]:.3f}",
            str(listed[a].encoding.num_answer_tokens),
            one_line(material.anchor_texts[a], TEXT_CHARS)
            if material.config.text
            else listed[a].anchor_id,
        ]
        for a in chosen
    ]
    header = ("rows that help it", "log-prob without a row", "answer tokens", "anchor")
    return Grid(header, rows, "The anchors that most rows help, and those that fewest do")


def _difficulty(material: Material, helped_A: np.ndarray) -> Chart:
    zero_shot_A = material.anchors[1]
    sets = list(dict.fromkeys(anchor.anchor_set for anchor in material.anchors[0]))

    def plot(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        for place, name in enumerate(sets):
            is_in_A = np.array([anchor.anchor_set == name for anchor in material.anchors[0]])
            axes.scatter(
                *(zero_shot_A[is_in_A], helped_A[is_in_A]),
                **{"s": 22, "c": SERIES[place % len(SERIES)], "alpha": 0.75, "linewidths": 0},
                **{"marker": MARKERS[place % len(MARKERS)], "label": label(name)},
            )
        if len(sets) > 1:
            axes.legend(title="anchor set")
        axes.set_xlabel("log-prob of the answer without a row (nats per token; left is harder)")
        axes.set_ylabel("share of rows that help")
        axes.set_ylim(-0.03, 1.03)

    alt = f"Each of the {len(helped_A)} anchors: how hard it is, and how many rows help it."
    return draw("anchors", alt, plot)


def _matrix(material: Material, sample: Sampled) -> Chart:
    """Rows by golden score, anchors by difficulty; blue: the row helps, orange: it hurts."""
    order_S = np.argsort(-material.golden_N[sample.rows_S], kind="stable")
    places = evenly(len(order_S), MAP_ROWS)
    order_A = np.argsort(material.anchors[1], kind="stable")
    delta = sample.delta_SA[order_S[places]][:, order_A]
    limit = float(np.nanquantile(np.abs(delta), 0.95)) or 1e-6

    def plot(figure: "Figure") -> None:
        from matplotlib.ticker import MaxNLocator

        axes: Any = figure.subplots()
        image = axes.imshow(
            delta,
            **{"aspect": "auto", "cmap": gain_colours(), "vmin": -limit, "vmax": limit},
            interpolation="nearest",
        )
        axes.grid(False)
        axes.set_xlabel("anchors, hardest first")
        axes.set_ylabel("rows, best first")
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.colorbar(image, ax=axes, label="delta (nats per answer token)")

    rows = (
        f"{len(places):,} rows" if len(places) == len(order_S) else f"{len(places):,} rows, spread"
    )
    alt = f"The win matrix: {rows} by {delta.shape[1]:,} anchors; blue helps, orange hurts."
    return draw("matrix", alt, plot, height=4.2)
