"""Pictures are PNGs of one size, in colours that the colour-blind tell apart."""

import struct

import pytest

from nuggets_ray.studies.pictures import COLOURS, MARKS, figure, key, name, png


def size_of(written: bytes) -> tuple[int, int]:
    assert written.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", written[16:24])
    return width, height


@pytest.mark.parametrize(("num_panels", "width"), [(1, 990), (2, 1540)])
def test_a_figure_of_panels_becomes_a_png(num_panels: int, width: int) -> None:
    made, panels = figure(num_panels)
    assert len(panels) == num_panels
    panels[0].plot([1, 2], [3, 4], color=COLOURS[0], marker=MARKS[0], label="a line")
    key(panels[0])
    name(panels[0], "a panel")
    assert size_of(png(made)) == (width, 616)
    assert panels[0].get_title() == "a panel"


def test_every_line_has_a_colour_and_a_mark_of_its_own() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(set(MARKS)) == len(MARKS)
