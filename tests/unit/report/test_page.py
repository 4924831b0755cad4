"""The page: escaping, the policy, what a template is given."""

import re

import jinja2
import pytest
from reported_run import Tags

from nuggets_ray.report.page import Section, harmless, hash_of, render, source, templates

HEAD = {"lead": "", "partial": "", "verdict": None, "foot": ""}


def test_values_are_escaped_and_without_what_is_obeyed() -> None:
    template = templates().from_string("{{ text }}|{{ empty }}|{{ number }}")
    made = template.render(text="<b>\x1b\x00\u202e\u200f\ud800", empty=None, number=3)
    assert made == "&lt;b&gt;\ufffd\ufffd\ufffd ?||3"


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        templates().from_string("{{ nothing }}").render()


def test_harmless_leaves_numbers_and_line_breaks() -> None:
    assert harmless(1.5) == 1.5
    assert harmless("a\n\tb\r\nc") == "a\n\tb\nc"


def test_the_policy_lets_in_our_style_and_script_alone() -> None:
    page = render("run", HEAD, [Section("overview", "Overview", absent="Nothing yet.")])
    (policy,) = (
        one["content"] for one in Tags(page).of("meta") if one.get("http-equiv") is not None
    )
    assert policy is not None and policy.startswith("default-src 'none'")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert style and f"style-src '{hash_of(style[1])}'" in policy
    assert script and f"script-src '{hash_of(script[1])}'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_a_known_hash() -> None:
    assert hash_of("") == "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_an_absent_section_says_so_and_is_in_the_list() -> None:
    page = Tags(render("run", HEAD, [Section("scores", "Scores", absent="Nothing yet.")]))
    assert "Nothing yet." in page.text
    assert {"href": "#scores", "class": "none"} in page.of("a")


def test_the_page_works_for_keyboards_readers_and_printers() -> None:
    page = render("run", HEAD, [Section("scores", "Scores", absent="Nothing yet.")])
    tags = Tags(page)
    assert tags.of("html") == [{"lang": "en"}]
    assert [one["href"] for one in tags.of("a")][0] == "#main", "skip the list of sections"
    assert len(tags.of("h1")) == len(tags.of("main")) == 1
    style = source("page.css")
    for query in ("prefers-color-scheme: dark", "max-width: 46rem", "@media print"):
        assert query in style
