"""What a path, folder or glob stands for, on a store with no folders of its own too."""

from pathlib import Path

import pytest
from pyarrow import fs

from nuggets_ray.data.listing import find_files

NAMES = (
    *("a.json", "b.txt", ".hidden", "_log/x.json", "sub/a.json", "sub/deep/c.json"),
    *("sub/.git/c.json", "other/deep/c.json", "[odd]/a.json"),
)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return str(tmp_path)


def listed(folder: str, pattern: str) -> list[str]:
    infos = find_files(fs.LocalFileSystem(), f"{folder}/{pattern}" if pattern else folder)
    return sorted(info.path.removeprefix(f"{folder}/") for info in infos)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.json", ["a.json"]),
        ("none.json", []),
        ("*.json", ["a.json"]),
        ("[ab].*", ["a.json", "b.txt"]),
        ("*/a.json", ["[odd]/a.json", "sub/a.json"]),
        ("**/c.json", ["other/deep/c.json", "sub/deep/c.json"]),
        ("sub/**", ["sub/a.json", "sub/deep/c.json"]),
        ("**/deep/*", ["other/deep/c.json", "sub/deep/c.json"]),
        (".*", [".hidden"]),
        ("nowhere/*.json", []),
        ("[odd]/a.json", ["[odd]/a.json"]),
    ],
)
def test_globs(folder: str, pattern: str, expected: list[str]) -> None:
    assert listed(folder, pattern) == expected


def test_a_folder_is_all_below_it_but_what_is_hidden(folder: str) -> None:
    expected = ["[odd]/a.json", "a.json", "b.txt", "other/deep/c.json", "sub/a.json"]
    assert listed(folder, "") == [*expected, "sub/deep/c.json"]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("part", ["*", "**", "?", "a", "s*", "*.json", "[a-c]*"])
def test_globs_are_those_of_pathlib_but_for_what_is_hidden(
    folder: str, part: str, depth: int
) -> None:
    pattern = "/".join([part] * depth)
    if pattern.endswith("**"):
        pattern += "/*"
    theirs = [path for path in Path(folder).glob(pattern) if path.is_file()]
    names = {str(path.relative_to(folder)) for path in theirs}
    shown = {name for name in names if not any(p[0] == "." for p in name.split("/"))}
    assert set(listed(folder, pattern)) == shown
