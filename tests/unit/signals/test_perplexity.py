"""Perplexity, worked by hand."""

import numpy as np
import pytest

from nuggets_ray.signals.perplexity import perplexity


def test_the_exponential_of_the_mean_loss() -> None:
    # probabilities 1/2 and 1/8: mean log-prob -log(4)
    mean = (np.log(1 / 2) + np.log(1 / 8)) / 2
    assert perplexity(np.array([mean, 0.0])) == pytest.approx([4.0, 1.0])


def test_what_is_no_number_stays_none() -> None:
    assert np.isnan(perplexity(np.array([np.nan, -np.inf, -1e4]))).all()
