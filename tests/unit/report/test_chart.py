"""A chart in the page and as a PNG."""

import xml.etree.ElementTree as ET
from typing import Any

from nuggets_ray.report.chart import BLUE, INK, SERIES, THEME, draw, label

SVG = "{http://www.w3.org/2000/svg}"


def plot(figure: Any) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=BLUE, label="$x_1$ <b>")
    axes.imshow([[0, 1], [1, 0]])
    axes.set_xlabel("rows")
    axes.legend()


def test_a_picture_takes_the_colours_of_the_page() -> None:
    picture = draw("test", 'What "it" shows', plot)
    root = ET.fromstring(picture.svg)
    nodes = list(root.iter())
    assert not [node for node in nodes if "style" in node.attrib]
    assert not [node for node in nodes if node.tag in (f"{SVG}style", f"{SVG}script")]
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == 'What "it" shows'
    strokes = {node.attrib.get("stroke") for node in nodes}
    assert "var(--blue)" in strokes and "currentColor" in strokes
    assert BLUE not in picture.svg and INK not in picture.svg
    texts = [node.text for node in nodes if node.tag == f"{SVG}text"]
    assert "rows" in texts and "$x_1$ <b>" in texts, "text, and no formula"
    assert picture.png.startswith(b"\x89PNG")


def test_ids_are_of_one_picture_alone() -> None:
    one, other = (ET.fromstring(draw(name, "", plot).svg) for name in ("one", "other"))
    ids = [
        {node.attrib["id"] for node in root.iter() if "id" in node.attrib} for root in (one, other)
    ]
    assert ids[0] and not ids[0] & ids[1]
    links = [
        value.partition("#")[2].rstrip(")")
        for node in one.iter()
        for value in node.attrib.values()
        if value.startswith(("#", "url(#")) and not value.startswith("#0")
    ]
    assert links and set(links) <= ids[0]


def test_a_picture_is_drawn_twice_alike() -> None:
    assert draw("test", "", plot).svg == draw("test", "", plot).svg


def test_every_colour_of_a_series_has_a_place_in_the_page() -> None:
    assert set(SERIES) < set(THEME)


def test_a_label_is_short_and_obeyed_by_nothing() -> None:
    assert label("a\nb\x1b" + "c" * 100) == "a b\ufffd" + "c" * 23 + "…"
