"""The keys of track.*: to which tracker of experiments the numbers of a training and of an
evaluation go, beside the files of the run folder.

A part of the schema in schema.py.
"""

from dataclasses import dataclass

from nuggets_ray.config.limits import choice


@dataclass(frozen=True)
class TrackConfig:
    """A tracker of experiments that gets the numbers too."""

    to: str = choice("none", "wandb", "mlflow")
    """none, wandb or mlflow. Their own environment variables (WANDB_API_KEY, WANDB_MODE=offline,
    MLFLOW_TRACKING_URI) hold here too.
    """
    project: str = "nuggets_ray"
    """The project (wandb) or experiment (mlflow)."""
    name: str | None = None
    """The name of the run there; null: the run folder's name and the stage."""
