"""Which signals there are: numbers of a row that it can be selected by, beside its golden score.

Each has a module here with its formula and its paper; the golden score is score/golden.py's, the
posterior score schedule/posterior.py's. Where each comes from decides what a run must have for it.
"""

from collections.abc import Sequence

COLUMNS_OF = {
    "perplexity": ("perplexity",),
    "ifd": ("ifd", "ifd_perplexity", "perplexity"),
    "rds": ("rds",),
}
"""What `signals=[...]` may ask of the scoring pass -> the signals that it gives."""
FREE = {"transformers": ("perplexity",), "vllm": ()}
"""What signals=[auto] asks of each backend: what takes no forward of its own, and one number a row.
"""
OF_MATRIX = ("standardised_delta", "loss_ratio")
"""Signals that follow from the one-shot log-probs: every folder has them, of complete rows."""
OF_SCORES = ("golden_score", "posterior_score", "longest", "random")
SIGNALS = (
    *("golden_score", "posterior_score", "standardised_delta", "loss_ratio"),
    *("perplexity", "ifd", "ifd_perplexity", "rds", "longest", "random"),
)
"""All of them, by the names that select.by takes."""
NEEDS_STATES = ("rds",)
"""What needs hidden states, which vLLM does not show."""


def wanted(asked: Sequence[str], backend: str) -> tuple[str, ...]:
    """`signals` of the configuration as what the pass is to give, each once, auto spelled out."""
    names = [name for one in asked for name in (FREE[backend] if one == "auto" else (one,))]
    return tuple(name for name in COLUMNS_OF if name in names)


def pass_of(signal: str) -> str | None:
    """What `signals` must ask so that a run has this one; None where no pass gives it."""
    return next((one for one, columns in COLUMNS_OF.items() if signal in columns), None)
