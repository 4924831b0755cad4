"""What all pictures of the studies share: colours that the colour-blind tell apart (Okabe and Ito
2008), sizes that are read at half size, and how a picture becomes a PNG.

Measured is a filled mark on a solid line, predicted a hollow one on a dashed line.
"""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
WIDE, TALL = 9.0, 5.6
DPI, SIZE = 110, 16


def figure(num_panels: int = 1) -> "tuple[Figure, list[Axes]]":
    """A figure of panels side by side."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(WIDE if num_panels == 1 else 7.0 * num_panels, TALL))
    made.set_layout_engine("constrained")
    panels = [made.add_subplot(1, num_panels, number + 1) for number in range(num_panels)]
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return made, panels


def name(panel: "Axes", text: str) -> None:
    """What a panel shows, above it."""
    panel.set_title(text, fontsize=SIZE)


def key(panel: Any, place: str = "lower right") -> None:
    """What the lines are."""
    panel.legend(loc=place, fontsize=SIZE - 1)


def png(made: "Figure") -> bytes:
    """The picture with all its text at a size that is read at half size."""
    for panel in made.axes:
        panel.tick_params(labelsize=SIZE)
        panel.xaxis.label.set_fontsize(SIZE)
        panel.yaxis.label.set_fontsize(SIZE)
    written = io.BytesIO()
    made.savefig(written, format="png", dpi=DPI)
    return written.getvalue()
