"""The keys of track.*, and the group of the same name."""

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.errors import UserError


def test_the_group_says_where_to() -> None:
    assert load(["out_dir=/r"]).track.to == "none"
    for name in ("none", "wandb", "mlflow"):
        assert load(["out_dir=/r", f"track={name}", "track.project=mine"]).track.to == name
    with pytest.raises(UserError, match="wandb"):
        load(["out_dir=/r", "track=wand"])
