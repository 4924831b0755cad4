"""When the settings of a run bind those that come after it: once something is scored with them."""

from collections.abc import Mapping
from typing import Any

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import score_parts
from nuggets_ray.run.skipped import rewrite_skipped


def claim(run: Run, settings: Mapping[str, Any]) -> None:
    """Record a part of the fingerprint, whatever the folder's was before anything was scored.

    An attempt that failed before its first score must not bind the next one, which may be the way
    out that its error named. Raises UserError when out_dir holds scores made with another.
    """
    recorded = run.manifest.get("fingerprint", {})
    is_other = any(recorded.get(key, value) != value for key, value in settings.items())
    if is_other and not score_parts(run.out_dir):
        forget_unscored(run.out_dir)
        run.manifest["fingerprint"] = {k: v for k, v in recorded.items() if k not in settings}
    run.set_fingerprint(settings)


def forget_unscored(out_dir: str) -> None:
    """Drop what attempts left that ended before their first score."""
    io.delete(RunFolder(out_dir).anchors)
    io.delete(RunFolder(out_dir).rounds)
    rewrite_skipped(out_dir, {}, 0)  # what they could not score is tried again
