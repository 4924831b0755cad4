"""--help: every key has its words, its value and its range, and a page has its own keys only."""

import re

import pytest

from nuggets_ray.config.command_line.help import help_page, key_meanings, section_meanings
from nuggets_ray.config.compose import load
from nuggets_ray.config.keys import all_keys, sections

EXAMPLES = {"out_dir=runs/a": "the plain case"}


def page(*keys: str, given: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> str:
    return help_page("select", "keep rows", keys, required, EXAMPLES, load(list(given)))


def line_of(text: str, key: str) -> str:
    """All that a page says of a key, on one line."""
    block = re.search(rf"^  {re.escape(key)}\s(.*(?:\n {{5,}}.*)*)", text, re.MULTILINE)
    assert block, text
    return " ".join(block[1].split())


def test_every_key_and_every_section_has_its_words() -> None:
    assert set(key_meanings()) == set(all_keys())
    assert [key for key, text in key_meanings().items() if not text] == []
    assert set(section_meanings()) == set(sections())
    assert [name for name, text in section_meanings().items() if not text] == []
    assert key_meanings()["data.limit"] == "Read the first N rows only."


@pytest.mark.parametrize(
    ("key", "ends"),
    [
        ("data.limit", "[null; at least 1]"),
        ("seed", "[0; 0 to 4294967295]"),
        ("data.max_skipped_fraction", "[0.5; 0 to 1]"),
        ("generate.top_p", "[1; 0.001 to 1]"),
        ("finetune.learning_rate", "[2e-05; at least 0]"),
        ("model.trust_remote_code", "[false]"),
        ("data.columns", "[empty]"),
        ("data.retry", "[killed_worker, error]"),
        ("select.fraction", "[0.05]"),
        ("score.engine", "[auto]"),  # its words name the choices
    ],
)
def test_a_key_has_its_value_and_its_range(key: str, ends: str) -> None:
    line = line_of(page(key), key)
    assert line == f"{key_meanings()[key]} {ends}"


def test_values_are_those_of_the_command() -> None:
    text = page("select.k", "select.fraction", given=("select=top_k", "select.k=7"))
    assert line_of(text, "select.k").endswith("[7]")
    assert line_of(text, "select.fraction").endswith("[null]")


def test_what_a_job_cannot_do_without() -> None:
    text = page("out_dir", "data.path", required=("out_dir", "data.path"))
    usage = "Usage: python jobs/select_topk.py out_dir=... data.path=... [key=value ...]"
    assert text.splitlines()[:3] == ["select: keep rows", "", usage]
    assert line_of(text, "data.path").endswith("[required]")
    given = page("data.path", given=("data.path=demo",), required=("data.path",))
    assert line_of(given, "data.path").endswith("[demo]")


def test_a_page_has_the_keys_and_choices_of_its_job_alone() -> None:
    text = page("out_dir", "select.rule")
    assert re.findall(r"^(\w+): ", text, re.MULTILINE) == ["select", "Usage", "select"]
    assert line_of(text, "select=top_k") == "A number of rows: give select.k."
    assert line_of(text, "select=top_fraction").endswith("[default]")
    assert not re.search(r"data\.|experiment=", text)
    assert "  python jobs/select_topk.py out_dir=runs/a\n      the plain case" in text
    assert "experiment=demo" in page("data.path", required=("data.path",))


def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    lines = page(*all_keys()).splitlines()
    assert max(map(len, lines)) <= 70
    monkeypatch.setenv("COLUMNS", "500")
    assert 90 < max(map(len, page(*all_keys()).splitlines())) <= 100
