"""The pictures of the correlation study."""

from nuggets_ray.studies.arms import GROUP, OTHER, RANDOM
from nuggets_ray.studies.correlation import ArmResult, summarise
from nuggets_ray.studies.correlation_pictures import arms_picture, groups_picture

RESULTS = [
    ArmResult(name, kind, seed, 10, 100, signal, gain + 0.01 * seed, "rows")
    for seed in range(3)
    for name, kind, signal, gain in (
        ("group-1", GROUP, 0.1, 0.1),
        ("group-2", GROUP, 0.4, 0.2),
        ("group-3", GROUP, 0.8, 0.15),
        ("random", RANDOM, 0.4, 0.12),
        ("random-tokens", RANDOM, 0.4, 0.13),
        ("longest", OTHER, 0.6, 0.3),
    )
]


def test_both_are_pngs_of_what_was_found() -> None:
    arms = summarise(RESULTS)
    groups = groups_picture(RESULTS, arms, "golden_score")
    every = arms_picture(RESULTS, arms)
    assert groups.png.startswith(b"\x89PNG") and every.png.startswith(b"\x89PNG")
    assert groups.name != every.name and groups.text and every.text
    fewer = [result for result in RESULTS if result.name != "longest"]
    assert arms_picture(fewer, summarise(fewer)).png != every.png
