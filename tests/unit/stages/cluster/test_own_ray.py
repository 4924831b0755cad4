"""A Ray of our own that does not start."""

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.stages.cluster.own_ray import told_where_too_busy


def test_a_machine_that_is_too_busy_is_told_and_nothing_else_is() -> None:
    with (
        pytest.raises(UserError, match=r"cluster\.address=local: .* less busy"),
        told_where_too_busy(),
    ):
        raise Exception("The current node timed out during startup. This could happen because")
    with pytest.raises(RuntimeError, match="another"), told_where_too_busy():
        raise RuntimeError("another")
