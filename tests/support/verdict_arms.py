"""Arms of known quality for the tests of the verdict."""

import numpy as np

from nuggets_ray.evaluate.verdict.evidence import BOTTOM, GOLDEN, OTHER, RANDOM, Arm

KINDS = {"golden": GOLDEN, "random": RANDOM, "bottom": BOTTOM}


def make_arms(num_rows: int = 60, seed: int = 0, **means: float) -> list[Arm]:
    """An arm for each name (random_0: a draw) of the mean given: rows share a difficulty, and
    differ by noise of sd 0.3."""
    rng = np.random.default_rng(seed)
    difficulty_N = rng.normal(size=num_rows)
    return [
        Arm(
            name.replace("_", "-"),
            KINDS.get(name.split("_")[0], OTHER),
            difficulty_N - difficulty_N.mean() + mean + centred(rng.normal(0, 0.3, num_rows)),
            matched_in_tokens=name.endswith("tokens"),
        )
        for name, mean in means.items()
    ]


def centred(noise_N: np.ndarray) -> np.ndarray:
    """Noise of mean 0, so that an arm has the mean it was asked for."""
    return noise_N - noise_N.mean()
