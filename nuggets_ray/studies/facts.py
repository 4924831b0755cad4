"""What is known of the run that a study rests on, in words."""

from collections import Counter
from datetime import UTC, datetime

from nuggets_ray import io
from nuggets_ray.config.anchor_sets import anchor_sets
from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.command import COMMAND
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest


def run_facts(out_dir: str, seed: int) -> dict[str, str]:
    """What was studied, in words. Raises UserError where nothing is scored."""
    scored = read_config(out_dir, "score")
    if scored is None or not io.exists(RunFolder(out_dir).anchors):
        raise UserError(
            f"out_dir={out_dir} holds no scores yet: run {job_command('score')} with this out_dir "
            "first, or give data.path and model.path here too"
        )
    made = (read_manifest(out_dir) or {}).get("fingerprint", {})
    anchors = AnchorsConfig(**scored["anchors"])
    sets = Counter(anchor.anchor_set for anchor in read_anchors(RunFolder(out_dir).anchors)[0])
    listed = ", ".join(f"{name} ({num})" for name, num in sets.items())
    facts = {
        "command": COMMAND.get(),
        "run folder": out_dir,
        "model": f"{scored['model']['path']}, {made.get('dtype')}, {made.get('template')}",
        "data": scored["data"]["path"],
        "anchor rule": "; ".join(_rule(one) for one in anchor_sets(anchors).values()),
        "anchor sets": listed if len(sets) > 1 else "",
        "schedule": scored["schedule"]["name"],
        "seed": str(seed),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    return {name: value for name, value in facts.items() if value}


def _rule(one: AnchorsConfig) -> str:
    """How a set was chosen: by its method, from its file."""
    return f"{one.method} {one.path or ''}".strip()
