"""A chart as the page holds it and as a PNG, from one figure of matplotlib.

In the page it is inline SVG whose text and lines take the colours of the page, light or dark: the
ink is `currentColor`, a colour of a series one of the page's variables. matplotlib writes `style`
attributes, which a strict content-security policy forbids; they become presentation attributes.
Colours are Okabe and Ito's, which people see apart who see few colours.
"""

import io
import logging
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nuggets_ray.run.row_text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GRAY = "#202124", "#8a8a8a"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, YELLOW, SKY = "#cc79a7", "#e69f00", "#56b4e9"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, GRAY)
THEME = {
    INK: "currentColor",
    **{
        colour: f"var(--{name})"
        for name, colour in {
            **{"blue": BLUE, "orange": ORANGE, "green": GREEN, "purple": PURPLE},
            **{"yellow": YELLOW, "sky": SKY, "gray": GRAY},
        }.items()
    },
}
"""What stands in the page for each colour; page.css gives the variables for light and for dark."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    **{f"axes.{side}": False for side in ("spines.top", "spines.right")},
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    "axes.titlesize": 10.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRAY,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "axes.facecolor": "none",
    "image.cmap": "cividis",
}
PNG_DPI = 110
LABEL_CHARS = 28
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
KEPT_OF_FONT = re.compile(r"(\d+(?:\.\d+)?)px")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: `name` of its file, `alt` what it shows in words, for those who do not see it."""

    name: str
    alt: str
    svg: str
    png: bytes


def draw(
    name: str, alt: str, plot: Callable[["Figure"], None], width: float = 7.2, height: float = 3.4
) -> Chart:
    """The picture that `plot` puts into an empty figure of so many inches."""
    import matplotlib
    from matplotlib.figure import Figure

    # a label in a script that the font lacks is text in the page, and boxes in the PNG alone
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0.0)
        plot(figure)
        as_svg = _saved(figure, "svg", metadata={"Date": None, "Creator": None})
        as_png = _saved(figure, "png", dpi=PNG_DPI, facecolor="white")
    return Chart(name, alt, themed(as_svg, name, alt), as_png)


def gain_colours() -> Any:
    """A colour map from what hurts (orange) over nothing (white) to what helps (blue)."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("gain", [ORANGE, "#f7f7f7", BLUE])
    return colours.with_extremes(bad=GRAY)


def _saved(figure: "Figure", kind: str, **how: Any) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format=kind, **how)
    return written.getvalue()


def label(text: str) -> str:
    """A text of the data as a chart shows it: one short line that nothing obeys."""
    return one_line(text, LABEL_CHARS)


def themed(svg: bytes, name: str, alt: str) -> str:
    """matplotlib's SVG for a page: no style attributes, the page's colours and font, ids that no
    other picture has.
    """
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for node in root.iter():
        for part in node.attrib.pop("style", "").split(";"):
            key, colon, value = (one.strip() for one in part.partition(":"))
            if colon and key == "font":
                size = KEPT_OF_FONT.search(value)
                node.set("font-size", size[1] if size else "9")
            elif colon:
                node.set(key, value)
        for key, value in list(node.attrib.items()):
            node.set(key, _in_page(key, value, name))
    for given in ("width", "height"):
        root.attrib.pop(given, None)
    root.set("role", "img")
    root.set("aria-label", alt)
    root.set("stroke-linejoin", "round")
    return ET.tostring(root, encoding="unicode")


def _in_page(key: str, value: str, name: str) -> str:
    if key in ("fill", "stroke"):
        return THEME.get(value.lower(), value).replace("url(#", f"url(#{name}-")
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{XLINK}}}href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")
