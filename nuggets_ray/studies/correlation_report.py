"""correlation as it is told: the sentences, the tables and the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.errors import UserError
from nuggets_ray.studies.arms import GROUP
from nuggets_ray.studies.correlation import (
    ArmResult,
    ArmSummary,
    Correlation,
    correlate,
    lead,
    summarise,
)
from nuggets_ray.studies.correlation_pictures import arms_picture, groups_picture
from nuggets_ray.studies.page import Report, Table

MATCHED = {"random": "as many rows", "random-tokens": "as many answer tokens"}


def correlation_report(
    results: Sequence[ArmResult],
    left_out: Sequence[str],
    missing: Sequence[str],
    config: StudyConfig,
    ran: Mapping[str, str],
) -> Report:
    """`results` of the trainings that are known, `left_out` the labels of the others, `missing`
    the signals that the run lacks. Raises UserError where the trainings are of unlike held-out
    rows, or none is known."""
    _check_comparable(results)
    arms = summarise(results)
    found = correlate(results, config.groups)
    return Report(
        title=f"Does a model learn more from rows with a higher {config.by}?",
        ran={**ran, "groups by": config.by, "trainings": str(len(results))},
        meaning=[
            _of_groups(found, arms, config),
            _of_random(results, arms, config),
            _of_length(found, arms),
        ],
        tables=[_arm_table(arms), *([_test_table(found)] if found else [])],
        pictures=[groups_picture(results, arms, config.by), arms_picture(results, arms)],
        numbers=[
            *({"part": "training", **asdict(result)} for result in results),
            *({"part": "arm", **asdict(arm)} for arm in arms),
            *([{"part": "correlation", **_flat(found)}] if found else []),
        ],
        remarks=_remarks(left_out, missing, config),
    )


def _check_comparable(results: Sequence[ArmResult]) -> None:
    if not results:
        raise UserError("study=correlation: no arm has been trained yet, so there is no page")
    first = results[0]
    for result in results:
        if result.held_out != first.held_out:
            raise UserError(
                f"study=correlation: {result.name} of seed {result.seed} was evaluated on other "
                f"held-out rows than {first.name}: remove its file under studies/correlation/arms/"
            )


def _flat(found: Correlation) -> dict[str, Any]:
    return {**asdict(found), "by_seed": list(found.by_seed)}


def _of_groups(found: Correlation | None, arms: Sequence[ArmSummary], config: StudyConfig) -> str:
    if found is None:
        num = sum(arm.kind == GROUP for arm in arms)
        return (
            f"{num} of {config.groups} groups are trained so far, so nothing is said of a "
            f"correlation of {config.by} with the gain yet."
        )
    is_shown = found.p < 0.05
    direction = "rises" if found.r > 0 else "falls"
    claim = (
        f"Over {found.num_groups} groups of rising {config.by} the gain {direction} with it"
        if is_shown
        else f"No relation of {config.by} and the gain is shown by {found.num_groups} groups"
    )
    interval = (
        "" if found.low is None else f", over seeds {found.low:.2f} to {found.high:.2f} (95%)"
    )
    return (
        f"{claim}: r = {found.r:.2f}{interval}, Spearman {found.rho:.2f}, exact p = {found.p:.3f} "
        f"(the least that such {found.num_groups} groups can give is {found.least_p:.3f})."
    )


def _of_random(
    results: Sequence[ArmResult], arms: Sequence[ArmSummary], config: StudyConfig
) -> str:
    top = f"group-{config.groups}"
    sentences = []
    for name, matched in MATCHED.items():
        difference = lead(results, top, name)
        if difference is None:
            continue
        mean, low, high = difference
        if low > 0:
            verdict = "is better than"
        elif high < 0:
            verdict = "is worse than"
        else:
            verdict = "is not shown to be better than"
        sentences.append(
            f"The top group {verdict} random rows of {matched}: {mean:+.4f} nats per answer token "
            f"({low:+.4f} to {high:+.4f})."
        )
    if not sentences:
        return "The top group and the random rows are not trained often enough to be compared."
    best = max(arms, key=lambda arm: arm.gain)
    return " ".join([*sentences, f"The largest gain is that of {best.name} ({best.gain:+.4f})."])


def _of_length(found: Correlation | None, arms: Sequence[ArmSummary]) -> str:
    groups = [arm for arm in arms if arm.kind == GROUP]
    if found is None or not groups:
        return "Whether length explains the gain cannot be told before every group is trained."
    shortest = min(arm.num_answer_tokens for arm in groups)
    longest = max(arm.num_answer_tokens for arm in groups)
    return (
        f"The groups hold {shortest:,.0f} to {longest:,.0f} answer tokens, and the gain's "
        f"correlation with that is {found.of_tokens:.2f}: where it is as large as that with the "
        "signal, these groups cannot tell the two apart."
    )


def _remarks(left_out: Sequence[str], missing: Sequence[str], config: StudyConfig) -> list[str]:
    remarks = [
        "a gain is the mean log-prob of the held-out answers less that of the base model, in nats "
        "per answer token; the arms' rows are in selections/study-*",
        f"the bottom rows, of as many rows, are group-1; groups by {config.by} say nothing of "
        "another signal, whose groups these confound",
    ]
    if missing:
        remarks.append(f"left out, as the run does not have the signal: {', '.join(missing)}")
    if left_out:
        remarks.append(f"not trained yet: {', '.join(left_out)}")
    return remarks


def _arm_table(arms: Sequence[ArmSummary]) -> Table:
    rows = []
    for arm in arms:
        interval = "-" if arm.low is None else f"{arm.low:+.4f} to {arm.high:+.4f}"
        rows.append(
            [
                arm.name,
                str(arm.num_seeds),
                f"{arm.num_rows:,.0f}",
                f"{arm.num_answer_tokens:,.0f}",
                f"{arm.mean_signal:.3f}",
                f"{arm.gain:+.4f}",
                "-" if arm.sd is None else f"{arm.sd:.4f}",
                interval,
            ]
        )
    header = ["arm", "seeds", "rows", "answer tokens", "mean signal", "gain", "sd", "95%"]
    return Table("**The arms**, means over seeds", header, rows)


def _test_table(found: Correlation) -> Table:
    by_seed = ", ".join(f"{r:.2f}" for r in found.by_seed)
    rows = [
        ["r of group means", f"{found.r:.3f}"],
        ["r of each seed", by_seed],
        ["Spearman", f"{found.rho:.3f}"],
        ["exact p", f"{found.p:.4f}"],
        ["least p", f"{found.least_p:.4f}"],
        ["r of answer tokens and gain", f"{found.of_tokens:.3f}"],
    ]
    return Table("**Signal and gain** over the groups", ["", "value"], rows)
