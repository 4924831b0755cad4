"""What tells anchors apart: the content of each, and the rule that drew a set.

Anchors may be added to a scored folder; none may change or go.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from nuggets_ray.config.anchor_sets import anchor_sets
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.records import Anchor


def anchors_fingerprint(anchors: Sequence[Anchor]) -> str:
    """The anchors' contents in order, as token ids and answer masks."""
    digest = hashlib.sha256()
    for anchor in anchors:
        digest.update(_content(anchor))
        digest.update(b"|")
    return digest.hexdigest()[:16]


def anchor_fingerprint(anchor: Anchor) -> bytes:
    """One anchor's content."""
    return hashlib.sha256(_content(anchor)).digest()


def _content(anchor: Anchor) -> bytes:
    ids, mask = anchor.encoding.token_ids, anchor.encoding.answer_mask
    return ids.astype("<i8").tobytes() + mask.tobytes()


def drawn_rules(anchors: AnchorsConfig, seed: int) -> dict[str, str]:
    """{anchor set: how it is drawn} of the sets that are, but for their number of anchors."""
    return {
        name: ", ".join([one.method, *_strata(one), f"seed {seed}"])
        for name, one in anchor_sets(anchors).items()
        if one.method != "file"
    }


def _strata(one: AnchorsConfig) -> list[str]:
    if one.method != "stratified":
        return []
    return [f"per {one.per}" if one.per else f"{one.clusters} clusters", one.divide]


def recorded_rules(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """The same as a manifest holds it; one of an earlier version holds that of its one set, with
    its number of anchors."""
    rules = fingerprint.get("anchors_rule", {})
    if isinstance(rules, Mapping):
        return dict(rules)
    method, *others = rules.split(", ")
    kept = [other for other in others if not other.startswith("num ")]
    return {} if method == "file" else {method: ", ".join([method, *kept])}
