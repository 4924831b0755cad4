"""What the manifest says of schedule=explore: rows with posterior scores, and no golden ones."""

from collections.abc import Mapping
from typing import Any


def is_explored(manifest: Mapping[str, Any]) -> bool:
    """Whether schedule=explore was the last to compute: no row has a golden score but the
    pilot's."""
    return "fell_back" not in manifest.get("explore", {"fell_back": ""})


def explored_line(manifest: Mapping[str, Any]) -> str | None:
    """What was explored and what comes of it, in a line, or why all was scored instead; None where
    schedule=explore was not the last."""
    if "explore" not in manifest:
        return None
    explore = manifest["explore"]
    if "fell_back" in explore:
        return f"nothing to gain, so all was scored: {explore['fell_back']}"
    if not explore:
        return "under way: rows get a posterior score, and no golden score"
    num_rows, num_complete = explore["num_candidates"], explore["num_complete"]
    passes, full = explore["num_passes"], explore["num_passes_full"]
    return (
        f"{num_rows - num_complete:,} rows met {explore['num_anchors_met']} of the "
        f"{explore['num_anchors']:,} anchors, {num_complete} all of them: "
        f"{passes / max(num_rows, 1):.1f} passes a row, {full / max(passes, 1):.1f} times fewer "
        "than full scoring; ranked by posterior_score, no golden scores (schedule=race or "
        "schedule=full goes on to them)"
    )
