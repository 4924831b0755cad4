"""The bar of a job on a terminal; elsewhere there is none, and lines of the log in its place."""

import sys

from tqdm import tqdm

FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}{postfix}"
"""Without tqdm's own rate and estimate, which count from the start: `run.meter` knows better."""


def open_bar(num_total: int, num_done: int, unit: str) -> "tqdm[None]":
    """A bar that follows the terminal's width; disabled where stderr is none."""
    return tqdm(
        total=num_total,
        initial=num_done,
        unit=unit,
        file=sys.stderr,
        bar_format=FORMAT,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )
