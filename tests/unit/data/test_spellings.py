"""The reader's tables, and those of the docs that are made from them."""

import pytest
from formats_table import BEGIN, END, README, put_into

from nuggets_ray.data import spellings
from nuggets_ray.data.spellings import (
    CARRIED,
    MAY_CARRY,
    PAIR_ROLES,
    ROLE_NAMES,
    is_absent,
    is_empty,
    role_key,
)
from nuggets_ray.records import ROLES


def test_every_name_of_a_role_stands_for_a_role_and_is_as_it_is_looked_up() -> None:
    assert set(ROLE_NAMES.values()) == set(ROLES)
    assert all(role_key(name) == name for name in (*ROLE_NAMES, *PAIR_ROLES))
    assert role_key(" Tool-Response ") == role_key("tool response") == "tool_response"


def test_all_that_is_read_where_it_stands_is_told_where_it_cannot_be() -> None:
    assert {name for names in CARRIED.values() for name in names} <= MAY_CARRY


def test_what_holds_nothing() -> None:
    nothing = [None, float("nan"), "", [], {}]
    assert all(is_empty(value) for value in nothing)
    assert [is_absent(value) for value in nothing] == [True, True, False, False, False]
    assert not any(is_empty(value) for value in (0, 0.0, False, " ", [None]))


def test_the_docs_have_the_tables_of_the_reader() -> None:
    text = README.read_text("utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert put_into(text) == text, "run `make golden`"


def test_a_new_name_changes_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spellings.ROLE_NAMES, "oracle", "assistant")
    assert "`oracle`" in put_into(README.read_text("utf-8"))
