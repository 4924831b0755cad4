"""What is known of the run that a study rests on, in words."""

from datetime import UTC, datetime

from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.command import COMMAND
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.manifest import read_manifest


def run_facts(out_dir: str, seed: int) -> dict[str, str]:
    """What was studied, in words. Raises UserError where nothing is scored."""
    scored = read_config(out_dir, "score")
    if scored is None:
        raise UserError(
            f"out_dir={out_dir} holds no scores yet: run {job_command('score')} with this out_dir "
            "first, or give data.path and model.path here too"
        )
    made = (read_manifest(out_dir) or {}).get("fingerprint", {})
    anchors = scored["anchors"]
    facts = {
        "command": COMMAND.get(),
        "run folder": out_dir,
        "model": f"{scored['model']['path']}, {made.get('dtype')}, {made.get('template')}",
        "data": scored["data"]["path"],
        "anchor rule": f"{anchors['method']} {anchors['path'] or ''}".strip(),
        "schedule": scored["schedule"]["name"],
        "seed": str(seed),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    return {name: value for name, value in facts.items() if value}
