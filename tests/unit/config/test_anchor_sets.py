"""anchors.sets: what a set takes from the section, and what no set can have."""

from pathlib import Path

import pytest

from nuggets_ray.config.anchor_sets import anchor_sets, told_of_set
from nuggets_ray.config.compose import load
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.errors import UserError

KEYS = ["data.path=demo", "model=demo", "out_dir=/runs/a"]


def sets_of(*overrides: str) -> dict[str, AnchorsConfig]:
    return anchor_sets(load([*KEYS, *overrides]).anchors)


def test_without_sets_there_is_one_named_after_its_method() -> None:
    assert [(name, one.num) for name, one in sets_of("anchors.num=7").items()] == [("random", 7)]
    assert list(sets_of("anchors=file", "anchors.path=a.jsonl")) == ["file"]


def test_each_set_has_its_own_keys_and_what_they_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sets = sets_of(
        "anchors.num=9",
        "anchors.sets={maths: {path: m.jsonl, columns: {output: reply}}, writing: {path: w, num: 5}"
        ", topics: {per: topic}, rest: {}, spread: {method: kmeans, num: 3}}",
    )
    assert [(name, one.method, one.num) for name, one in sets.items()] == [
        *(("maths", "file", None), ("writing", "file", 5), ("topics", "stratified", 9)),
        *(("rest", "random", 9), ("spread", "kmeans", 3)),
    ]
    assert sets["maths"].path == str(tmp_path / "m.jsonl")
    assert sets["maths"].columns == {"output": "reply"}
    assert list(sets_of("anchors.sets.maths.path=s3://b/m")) == ["maths"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("anchors.sets={m: {pth: a}}", r"anchors.sets.m.pth: .* did you mean path\?"),
        ("anchors.sets={m: a.jsonl}", r"anchors.sets.m=a.jsonl: must be settings"),
        ("anchors.sets={m: {num: true}}", r"anchors.sets.m.num=True: must be int or null"),
        ("anchors.sets={m: {num: 0}}", r"anchors.sets.m.num=0: must be at least 1"),
        ("anchors.sets={m: {method: kmean}}", r"did you mean anchors.sets.m.method=kmeans\?"),
        ('anchors.sets={"a b": {}}', r"'a b' cannot name a set"),
        ("anchors.sets={m: {sets: {}}}", r"it holds for all sets, as anchors.sets"),
        ("anchors.sets={m: {path: a, method: random}}", r"anchors.sets.m.path=.* is not used"),
        ("anchors.sets={m: {per: a, clusters: 3}}", r"clusters=3 is not used by anchors.per"),
        ("anchors.per=topic", r"anchors.per=topic is not used by anchors.method=random"),
        ("anchors.divide=equal", r"anchors.divide=equal is not used by anchors.method=random"),
    ],
)
def test_what_no_set_can_have(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sets_of(override)


def test_a_path_beside_sets_is_not_read() -> None:
    with pytest.raises(UserError, match=r"anchors.path=.*is not used beside anchors.sets"):
        anchor_sets(AnchorsConfig(path="a.jsonl", sets={"m": {}}))


def test_errors_name_the_set_where_there_are_several() -> None:
    several = AnchorsConfig(sets={"m": {}})
    with pytest.raises(UserError, match=r"^anchors.sets.m: no r"), told_of_set(several, "m"):
        raise UserError("no rows")
    with pytest.raises(UserError, match=r"^no rows$"), told_of_set(AnchorsConfig(), "random"):
        raise UserError("no rows")
