"""Every contender of a case is there, and says what makes it fast."""

from nuggets_ray.bench.contenders import LOADERS
from nuggets_ray.bench.engine_cases import CASES, MADE_FAST


def test_contenders_are_known_and_told() -> None:
    named = {name for names in CASES.values() for name in names}
    assert named == set(MADE_FAST) and named <= set(LOADERS)
