"""What chaos may strike: jobs, with or without a model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """What is run: `overrides` of a job. `pause_s`: how long a candidate takes the stand-in; None
    for the engine itself. `model`: where it is not the one that Chaos is given. `is_in_store`:
    out_dir is in an object store, of this machine, and else on a disk of `disk_mib`.
    """

    name: str
    num_rows: int
    pause_s: float | None
    overrides: tuple[str, ...]
    is_in_store: bool = False
    job: str = "score"
    model: str = ""
    disk_mib: int = 48


PIPELINE = (
    *("anchors.num=6", "score.block_rows=4", "select=top_k", "select.k=15", "data.holdout=80"),
    *("finetune.selections=[golden,random-0]", "finetune.batch_rows=4", "finetune.dtype=float32"),
    *("finetune.min_steps=100", "finetune.max_steps=100", "finetune.checkpoint_steps=10"),
)
"""Of the job pipeline: scored, selected, two models trained, and all three evaluated."""
CASES = {
    case.name: case
    for case in (
        Case("short", 100, 0.2, ("anchors.num=6", "score.block_rows=10")),
        Case("full", 300, 0.08, ("anchors.num=6", "score.block_rows=10")),
        Case(
            "race", 500, 0.04, ("anchors.num=60", "schedule=race", "race.top_k=15", "race.pilot=48")
        ),
        Case("store", 300, 0.08, ("anchors.num=6", "score.block_rows=10"), is_in_store=True),
        Case("real", 120, None, ("anchors.num=6", "score.block_rows=4"), model="demo"),
        Case("pipeline", 200, None, PIPELINE, job="pipeline", disk_mib=256),
    )
}
