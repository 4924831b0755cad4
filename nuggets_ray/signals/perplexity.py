"""Perplexity of a row's own answer after its own prompt, without any demonstration.

    perplexity = exp(-mean over answer tokens of log p(token | what stands before it))

Selecting by it is CCDS's (arXiv 2410.16208): the highest (top-ppl), or those about the median. A
low one means that the model could have written the answer itself; a very high one, often, noise.
"""

import numpy as np


def perplexity(answer_logprob: np.ndarray) -> np.ndarray:
    """Of mean log-probs in nats per answer token, any shape; NaN where that is no number."""
    with np.errstate(over="ignore"):
        values = np.exp(-np.asarray(answer_logprob, np.float64))
    return np.where(np.isfinite(values), values, np.nan)
