"""The loss curves of a fine-tune as a PNG."""

import io
from collections.abc import Sequence
from typing import Any


def loss_curve(history: Sequence[dict[str, Any]], title: str) -> bytes:
    """The training loss a step, the loss on the held-out rows, and the learning rate, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps = [record for record in history if "loss" in record]
    evals = [record for record in history if "eval_loss" in record]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    x = [record["step"] for record in steps]
    marker = "." if len(x) < 50 else ""
    loss.plot(x, [record["loss"] for record in steps], marker=marker, label="training")
    if evals:
        loss.plot(
            [record["step"] for record in evals],
            [record["eval_loss"] for record in evals],
            marker="o",
            label="held out",
        )
    loss.set_ylabel("loss (nats per answer token)")
    loss.set_title(title)
    loss.legend()
    loss.grid(alpha=0.3)
    rate.plot(x, [record["learning_rate"] for record in steps], marker=marker, color="gray")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("optimizer step")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    rate.grid(alpha=0.3)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=120)
    return written.getvalue()
