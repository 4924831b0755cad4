"""Answer length in tokens: the simplest selector, and one that is hard to beat (arXiv 2402.04833,
"Long Is More for Alignment"); what selections are to be held against.
"""

import numpy as np


def longest(num_answer_tokens: np.ndarray) -> np.ndarray:
    """Answer tokens of each row as a measure."""
    return num_answer_tokens.astype(np.float64)
