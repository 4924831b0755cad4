"""anchor_robustness as it is told: the sentences, the tables and the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.anchor_robustness import GOLDEN, Cut, Robustness
from nuggets_ray.studies.matrix import DeltaMatrix
from nuggets_ray.studies.page import Report, Table
from nuggets_ray.studies.robustness_pictures import composition_picture, cut_picture, signal_picture

HEADER = (
    *("anchors", "", "linear", "Spearman", "Kendall", "standard error"),
)  # then a column a cut


def robustness_report(
    found: Robustness, matrix: DeltaMatrix, config: StudyConfig, ran: Mapping[str, str]
) -> Report:
    """`ran`: what is known of the run."""
    shares = [cut.share for cut in found.cuts]
    pictures = [signal_picture(found, matrix.num_anchors)]
    if shares:
        pictures.insert(0, cut_picture(found, matrix.num_anchors, shares))
    if found.composition:
        pictures.append(composition_picture(found))
    return Report(
        title="How much of a score is its anchors?",
        ran={**ran, **_rows_used(matrix), **_settings(config)},
        meaning=[_of_the_cut(found, matrix, config), _of_signals(found, matrix), _of_rules(found)],
        tables=list(_tables(found, shares)),
        pictures=pictures,
        numbers=list(_numbers(found, shares)),
        remarks=list(_remarks(found, matrix)),
    )


def cut_sentence(cut: Cut, num_anchors: int, min_overlap: float) -> str:
    """With m anchors the top 1% is repeatable to x; n anchors would give y."""
    text = (
        f"With {num_anchors} anchors the top {cut.share:.3g} of the rows is repeatable to "
        f"{cut.overlap:.2f} (+- {cut.error:.2f}); {10 * num_anchors:,} anchors would give "
        f"{cut.overlap_of_ten_times:.2f}"
    ).replace(f"top {cut.share:.3g} of the rows", f"top {100 * cut.share:g}%")
    if cut.is_enough:
        return f"{text}."
    wanted = (
        f"{min_overlap:g} takes about {cut.wanted_anchors:,}"
        if cut.wanted_anchors is not None
        else "half of the anchors agree no better than chance, so no number is foreseen to help"
    )
    return f"{text}: too small a set for this cut ({wanted})."


def _of_the_cut(found: Robustness, matrix: DeltaMatrix, config: StudyConfig) -> str:
    if not found.cuts:
        return (
            f"No cut of study.cuts keeps rows enough of these {matrix.num_rows} to tell how "
            "repeatable it is."
        )
    sentences = [cut_sentence(cut, matrix.num_anchors, config.min_overlap) for cut in found.cuts]
    return " ".join([*sentences, _reliability_sentence(found, matrix)])


def _reliability_sentence(found: Robustness, matrix: DeltaMatrix) -> str:
    all_of_them = found.point(GOLDEN, matrix.num_anchors).agreement
    half = found.point(GOLDEN, matrix.num_anchors // 2).agreement
    return (
        f"Over all rows the golden score has a reliability of {all_of_them.linear:.2f} "
        f"(Spearman-Brown of halves that correlate {half.linear:.2f}), which says nothing of a "
        f"cut, and a standard error of {all_of_them.error:.3f}."
    )


def _of_signals(found: Robustness, matrix: DeltaMatrix) -> str:
    """Which measure repeats best, and which says most of a golden score on other anchors."""
    half = matrix.num_anchors // 2
    at_half = [point for point in found.points if point.num_anchors == half and point.is_measured]
    if len({point.measure for point in at_half}) < 2:
        return "Only one signal could be compared."
    own = {point.measure: point.agreement.spearman for point in at_half}
    of_golden = {
        point.measure: point.golden.spearman for point in at_half if point.golden is not None
    }
    best, best_of_golden = max(own, key=own.__getitem__), max(of_golden, key=of_golden.__getitem__)
    listed = ", ".join(f"{name} {value:.2f}" for name, value in own.items())
    return (
        f"On {half} anchors against {half} others, {best} ranks the rows most alike (Spearman: "
        f"{listed}), and {best_of_golden} says most of the others' golden score "
        f"({of_golden[best_of_golden]:.2f}, golden_score itself {of_golden[GOLDEN]:.2f})."
    )


def _of_rules(found: Robustness) -> str:
    if not found.composition:
        return "There are too few anchors to compare ways of choosing them."
    largest = max(point.num_anchors for point in found.composition)
    points = {one.rule: one for one in found.composition if one.num_anchors == largest}
    best = max(points.values(), key=lambda one: one.agreement.spearman)
    drawn = points["random"]
    lead = best.agreement.spearman - drawn.agreement.spearman
    is_lead = lead > drawn.spread
    listed = ", ".join(f"{one.rule} {one.agreement.spearman:.2f}" for one in points.values())
    end = (
        f"so {best.rule} is ahead of a random draw by more than draws differ ({drawn.spread:.2f})"
        if is_lead
        else f"no more apart than random draws are among themselves ({drawn.spread:.2f})"
    )
    return (
        f"How the anchors are chosen: {largest} of half of them tell the golden score on the other "
        f"half with a Spearman correlation of {listed}, {end}."
    )


def _rows_used(matrix: DeltaMatrix) -> dict[str, str]:
    which = f"{matrix.num_rows:,} of {matrix.num_complete:,} that met every anchor"
    if matrix.is_pilot:
        which += ": the pilot of the race, drawn at random; the other complete rows are the good"
        which += " ones and would flatter every number"
    return {"rows": which, "anchors": f"{matrix.num_anchors:,}"}


def _settings(config: StudyConfig) -> dict[str, str]:
    return {
        "draws of anchor sets": str(config.draws),
        "too small is": f"a second set keeps fewer than {config.min_overlap:g} of the kept rows",
    }


def _remarks(found: Robustness, matrix: DeltaMatrix) -> list[str]:
    remarks = [
        "a second set is one of the same kind, another draw from where these anchors are from",
        "overlaps above half of the anchors are those of a bivariate normal; its correlation is "
        "the one that the measured overlap has at that cut, carried on by Spearman-Brown, and the "
        "check below holds such a prediction against what was measured",
        "the linear correlation of two sets of n anchors is the reliability of a score on n",
    ]
    if matrix.is_partial:
        remarks.append("the scoring has not ended: these are the rows so far")
    if found.too_few_rows:
        shares = ", ".join(f"{100 * share:g}%" for share in sorted(found.too_few_rows))
        remarks.append(
            f"too few rows for the top {shares}: score more rows, or give study.cuts that keep more"
        )
    if found.without_posterior:
        remarks.append(
            "no posterior_score: it takes 100 rows and 40 anchors in each half (80 in all)"
        )
    return remarks


def _tables(found: Robustness, shares: Sequence[float]) -> list[Table]:
    cuts = [f"top {100 * share:g}%" for share in shares]
    tables = []
    for measure in dict.fromkeys(point.measure for point in found.points):
        rows = []
        for point in (one for one in found.points if one.measure == measure):
            one = point.agreement
            numbers = (one.linear, one.spearman, one.kendall, one.error, *one.overlaps)
            how = "measured" if point.is_measured else "predicted"
            rows.append([f"{point.num_anchors:,}", how, *(f"{value:.3f}" for value in numbers)])
        tables.append(Table(f"**{measure}**: two sets of so many anchors", [*HEADER, *cuts], rows))
    if found.cuts:
        tables.append(_ties(found.cuts))
    if found.checks:
        tables.append(_check_table(found))
    if found.composition:
        tables.append(_composition_table(found, cuts))
    return tables


def _ties(cuts: Sequence[Cut]) -> Table:
    rows = [
        [f"{100 * cut.share:g}%", str(cut.num_kept), str(cut.num_tied), f"{cut.overlap:.2f}"]
        for cut in cuts
    ]
    caption = "**The cuts** under golden_score, with all of the anchors"
    return Table(caption, ["top", "rows kept", "rows tied at the cut", "repeatable to"], rows)


def _check_table(found: Robustness) -> Table:
    rows = [
        [
            one.measure,
            f"{100 * one.share:g}%",
            *(f"{value:.3f}" for value in (one.measured, one.predicted, one.by_all_rows)),
        ]
        for one in found.checks
    ]
    caption = (
        "**Check**: the overlap at half of the anchors, predicted from a quarter; the last column "
        "is what the correlation of all rows would have said"
    )
    return Table(caption, ["signal", "top", "measured", "predicted", "by all rows"], rows)


def _composition_table(found: Robustness, cuts: Sequence[str]) -> Table:
    rows = []
    for point in found.composition:
        one = point.agreement
        numbers = (one.spearman, point.spread, one.kendall, *one.overlaps)
        rows.append([str(point.num_anchors), point.rule, *(f"{value:.3f}" for value in numbers)])
    held_out = found.composition[0].num_held_out
    caption = (
        f"**Composition**: what so many anchors, chosen from one half, say of the golden score on "
        f"the {held_out} of the other half (rows that the rule did not look at)"
    )
    header = ["anchors", "rule", "Spearman", "sd over draws", "Kendall", *cuts]
    return Table(caption, header, rows)


def _numbers(found: Robustness, shares: Sequence[float]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for point in found.points:
        named = {"part": "size", "signal": point.measure, "num_anchors": point.num_anchors}
        one = {**named, "is_measured": point.is_measured, "num_draws": point.num_draws}
        rows.append(one | _flat(point.agreement, shares))
        if point.golden is not None:
            of_golden = {**one, "part": "golden_score_of_others"}
            rows.append(of_golden | _flat(point.golden, shares))
    for composition in found.composition:
        rows.append(
            {
                "part": "composition",
                "rule": composition.rule,
                "num_anchors": composition.num_anchors,
                "num_held_out": composition.num_held_out,
                "is_measured": True,
                "spearman_sd": composition.spread,
            }
            | _flat(composition.agreement, shares)
        )
    rows += [
        {"part": "check", "signal": one.measure} | _without(one, "measure") for one in found.checks
    ]
    rows += [{"part": "cut", "signal": GOLDEN} | asdict(cut) for cut in found.cuts]
    return rows


def _without(record: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in asdict(record).items() if key != name}


def _flat(agreement: Any, shares: Sequence[float]) -> dict[str, Any]:
    """An agreement as columns, a column a cut."""
    flat = _without(agreement, "overlaps")
    return flat | {
        f"overlap_top_{share:g}": value
        for share, value in zip(shares, agreement.overlaps, strict=True)
    }
