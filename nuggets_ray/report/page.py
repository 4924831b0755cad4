"""The page: sections in, one HTML file out that loads nothing and runs one script, ours.

What rows hold is hostile until shown otherwise. Every value is escaped (autoescape), with nothing
left in it that a browser or a reader's eye would obey: control characters, overrides of the
direction of text and lone surrogates are replaced, also where a template forgets to. The
content-security policy lets in our style and our script by their hashes, and images of the page
itself; an inline handler or style of a row would not run even if it got there.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from nuggets_ray.report.chart import Chart
from nuggets_ray.run.row_text import printable

INVISIBLE = dict.fromkeys(map(ord, "\u200e\u200f\u061c\ufeff\u2028\u2029"), " ")
"""Marks of direction, and line breaks that are none: printable() leaves them."""


@dataclass(frozen=True, slots=True)
class Section:
    """`key` is its place in the page and the name of its template; `absent` says what is not there
    and what brings it, where there is nothing to show.
    """

    key: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Chart, ...] = ()
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: cells are texts, or numbers to be shown as they are."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


def harmless(value: Any) -> Any:
    """A value of a template as it is shown: texts without what would be obeyed."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        text = printable(value).translate(INVISIBLE)
        return text.encode("utf-8", "replace").decode("utf-8")
    return value


@cache
def templates() -> jinja2.Environment:
    """The templates of the page; an undefined name in one is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nuggets_ray.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline
    return environment


def inline(picture: Chart) -> Markup:
    """A picture's SVG, which matplotlib has escaped."""
    return Markup(picture.svg)


def render(title: str, head: dict[str, Any], sections: Sequence[Section]) -> str:
    """The page; `head` is what stands above the sections."""
    environment = templates()
    style, script = (source(name) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src '{hash_of(style)}'; script-src '{hash_of(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    bodies = [(section, _body(environment, section)) for section in sections]
    return environment.get_template("page.html").render(
        title=title,
        head=head,
        bodies=bodies,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
    )


def _body(environment: jinja2.Environment, section: Section) -> Markup:
    if section.absent:
        return Markup("")
    pictures = {picture.name: picture for picture in section.pictures}
    template = environment.get_template(f"{section.key}.html")
    return Markup(template.render(**section.values, pictures=pictures))


def source(name: str) -> str:
    """A file of templates/ as it is."""
    loader = templates().loader
    assert loader is not None
    return loader.get_source(templates(), name)[0]


def hash_of(text: str) -> str:
    """How a content-security policy names an inline style or script."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
