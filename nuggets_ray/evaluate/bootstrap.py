"""Bootstrap intervals over prompts, seeded. numpy only.

Legend: N prompts, B draws.
"""

import numpy as np

NUM_DRAWS = 2000


def draw_counts(num_prompts: int, num_draws: int, seed: int) -> np.ndarray:
    """How often each prompt is in each draw of as many, with replacement: (B, N)."""
    shares_N = np.full(num_prompts, 1 / num_prompts)
    return np.random.default_rng(seed).multinomial(num_prompts, shares_N, size=num_draws)


def interval(statistics_B: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile."""
    low, high = np.percentile(statistics_B, [2.5, 97.5])
    return float(low), float(high)


def mean_interval(values_N: np.ndarray, seed: int) -> tuple[float, float] | None:
    """95% interval of the mean; None for fewer than 2 values: they tell nothing of their spread."""
    if len(values_N) < 2:
        return None
    return interval(draw_counts(len(values_N), NUM_DRAWS, seed) @ values_N / len(values_N))
