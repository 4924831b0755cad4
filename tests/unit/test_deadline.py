"""Work that takes too long, and work that does not."""

import time

from nuggets_ray.deadline import deadline


def test_only_what_takes_longer_is_answered() -> None:
    told: list[str] = []
    with deadline(0.05, told.append, "late"):
        time.sleep(0.3)
    assert told == ["late"]
    with deadline(0.3, told.append, "early"), deadline(None, told.append, "never"):
        pass
    time.sleep(0.5)
    assert told == ["late"]
