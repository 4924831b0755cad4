"""The pictures of the correlation study: a small mark a training, a large one an arm's mean."""

from collections.abc import Sequence
from typing import Any

from nuggets_ray.studies.arms import GROUP
from nuggets_ray.studies.correlation import ArmResult, ArmSummary
from nuggets_ray.studies.page import Picture
from nuggets_ray.studies.pictures import COLOURS, figure, key, name, png

BESIDE = ("random", "random-tokens")
GAIN = "gain (nats per answer token)"


def groups_picture(
    results: Sequence[ArmResult], arms: Sequence[ArmSummary], signal: str
) -> Picture:
    """Gain by the mean signal of a group, with what random rows gain."""
    made, (panel,) = figure()
    groups = [arm for arm in arms if arm.kind == GROUP]
    single = [result for result in results if result.kind == GROUP]
    _marks(panel, [one.mean_signal for one in single], [one.gain for one in single], COLOURS[0])
    x, y = [arm.mean_signal for arm in groups], [arm.gain for arm in groups]
    panel.plot(x, y, "o-", color=COLOURS[0], markersize=12, linewidth=2, label="groups")
    for index, random in enumerate(arm for arm in arms if arm.name in BESIDE):
        panel.axhline(
            random.gain, color=COLOURS[index + 1], linestyle=("--", ":")[index], linewidth=2.5,
            label=random.name,
        )  # fmt: skip
    panel.set_xlabel(f"mean {signal} of the rows")
    panel.set_ylabel(GAIN)
    name(panel, "small: a training, large: the mean")
    key(panel, "best")
    return Picture("groups", "gain of each group by its mean signal", png(made))


def arms_picture(results: Sequence[ArmResult], arms: Sequence[ArmSummary]) -> Picture:
    """Every arm's gain, lowest first."""
    made, (panel,) = figure()
    made.set_size_inches(9.0, max(4.0, 0.45 * len(arms) + 1.5))
    ordered = sorted(arms, key=lambda arm: arm.gain)
    for place, arm in enumerate(ordered):
        kinds = (GROUP, "random")
        colour = COLOURS[kinds.index(arm.kind)] if arm.kind in kinds else COLOURS[2]
        gains = [result.gain for result in results if result.name == arm.name]
        _marks(panel, gains, [place] * len(gains), colour)
        panel.plot([arm.gain], [place], "o", color=colour, markersize=12)
    panel.axvline(0, color="#666666", linestyle=":", linewidth=2)
    panel.set_yticks(range(len(ordered)), [arm.name for arm in ordered])
    panel.set_xlabel(GAIN)
    name(panel, "every arm; 0 is the base model")
    return Picture("arms", "gain of every arm, lowest first", png(made))


def _marks(panel: Any, x: Sequence[float], y: Sequence[float], colour: str) -> None:
    panel.plot(x, y, "o", color=colour, markersize=6, markerfacecolor="white", zorder=3)
