"""Which of the anchors that are asked for a folder has already: those come first, in their order,
and the others are added behind them.

An anchor is known by its content (fingerprint.py). What is already there and not asked for
any more would leave scores that rest on it, so it is refused.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nuggets_ray.anchors.fingerprint import anchor_fingerprint
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.errors import UserError
from nuggets_ray.records import Anchor

logger = logging.getLogger(__name__)

MAX_NAMED = 3
TEXT_CHARS = 60


class OtherAnchorsError(UserError):
    """Anchors that the scores of a folder rest on are not among those asked for."""


def check_sets(known: Sequence[Anchor], sets: Mapping[str, AnchorsConfig]) -> None:
    """Raise OtherAnchorsError for a set of the folder that is not asked for."""
    gone = [name for name in _names(known) if name not in sets]
    if gone:
        raise OtherAnchorsError(
            f"the scores of this folder rest on the anchor set {' and '.join(gone)} too, and "
            f"{', '.join(sets)} is asked for: name every set of the folder, as in "
            f"'anchors.sets={{{gone[0]}: {{...}}, ...}}' with what made it, or give another out_dir"
        )


def check_rules(
    known: Sequence[Anchor], recorded: Mapping[str, str], rules: Mapping[str, str]
) -> None:
    """Raise OtherAnchorsError for a set of the folder that is drawn in another way now; both
    mappings as `drawn_rules` gives them."""
    for name in _names(known):
        was, now = recorded.get(name, "file"), rules.get(name, "file")
        if was != now:
            raise OtherAnchorsError(
                f"the anchor set {name} of this folder was made by another rule (was {was}, now "
                f"{now}): give the settings it was made with, or another out_dir"
            )


def new_of_file(name: str, given: Sequence[Anchor], others: Sequence[Anchor]) -> list[Anchor]:
    """Those of the anchors of a file that are not among `others`, the anchors so far.

    One that is in another set stays there, with a warning. Raises OtherAnchorsError where the set
    held anchors that the file does not, and UserError where it would hold none of its own.
    """
    of_content = {anchor_fingerprint(anchor): anchor for anchor in others}
    ids = {anchor_fingerprint(anchor) for anchor in given}
    mine = [anchor for anchor in others if anchor.anchor_set == name]
    missing = [anchor for anchor in mine if anchor_fingerprint(anchor) not in ids]
    if missing:
        raise OtherAnchorsError(
            f"{len(missing)} anchors of the set {name} that the scores of this folder rest on were "
            f"changed or removed: {_named(missing)}; anchors may be added, not changed: put them "
            "back, or give another out_dir"
        )
    twins = [
        (anchor, of_content[anchor_fingerprint(anchor)])
        for anchor in given
        if anchor_fingerprint(anchor) in of_content
    ]
    twins = [(anchor, other) for anchor, other in twins if other.anchor_set != name]
    if twins and len(twins) == len(given):
        sets = _names([other for _, other in twins])
        raise UserError(
            f"each of its {len(given)} anchors is in the set {' or '.join(sets)} already: leave "
            "one of them out"
        )
    if twins:
        pairs = [f"{anchor.anchor_id} is {other.anchor_id}" for anchor, other in twins]
        logger.warning(
            "%d anchors of the set %s are in another set too, and count there alone: %s%s",
            *(len(twins), name, ", ".join(pairs[:MAX_NAMED])),
            ", ..." if len(twins) > MAX_NAMED else "",
        )
    return [anchor for anchor in given if anchor_fingerprint(anchor) not in of_content]


def num_to_draw(name: str, method: str, num: int, known: Sequence[Anchor]) -> int:
    """How many more anchors a set that is drawn asks for. Raises OtherAnchorsError for fewer than
    it has, and for more where the rule cannot go on drawing."""
    num_known = sum(anchor.anchor_set == name for anchor in known)
    if num_known == 0 or num == num_known:
        return num - num_known
    if num > num_known and method == "random":
        return num - num_known
    why = "anchors may be added, not removed"
    if num > num_known:
        why = f"more {method} anchors would be others, so ask for them as a set of their own"
    raise OtherAnchorsError(
        f"the anchor set {name} has {num_known} anchors in this folder, and {num} are asked for: "
        f"{why}, or give another out_dir"
    )


def numbered(name: str, new: Sequence[Anchor], known: Sequence[Anchor]) -> list[Anchor]:
    """New anchors of a set with their ids, which go on where those of the folder end."""
    start = sum(anchor.anchor_set == name for anchor in known)
    return [replace(a, anchor_id=f"{name}-{start + i}") for i, a in enumerate(new)]


def are_the_same(some: Sequence[Anchor], others: Sequence[Anchor]) -> bool:
    """The same contents in the same order."""
    return [*map(anchor_fingerprint, some)] == [*map(anchor_fingerprint, others)]


def _names(anchors: Sequence[Anchor]) -> list[str]:
    """The sets of some anchors, in order."""
    return list(dict.fromkeys(anchor.anchor_set for anchor in anchors))


def _named(anchors: Sequence[Anchor]) -> str:
    shown = [
        # its end: prompts begin alike
        f"{anchor.anchor_id} ({' '.join(anchor.text.split())[-TEXT_CHARS:]!r})"
        for anchor in anchors[:MAX_NAMED]
    ]
    return ", ".join(shown) + (", ..." if len(anchors) > MAX_NAMED else "")
