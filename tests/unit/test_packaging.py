"""pyproject.toml's list of packages is the tree's, and what lies in them beside Python is named."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed(pyproject: dict[str, Any]) -> None:
    folders = [path.parent for path in (ROOT / "nuggets_ray").rglob("__init__.py")]
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = pyproject["tool"]["setuptools"]["packages"]
    assert sorted(listed) == listed
    assert set(listed) == names | {"nuggets_ray.conf"}
    assert pyproject["tool"]["setuptools"]["package-dir"] == {"nuggets_ray.conf": "conf"}


def test_every_file_that_is_read_is_named(pyproject: dict[str, Any]) -> None:
    named = pyproject["tool"]["setuptools"]["package-data"]
    folders = {"nuggets_ray.conf": "conf"}
    shipped = {
        path
        for package, patterns in named.items()
        for pattern in patterns
        for path in (ROOT / folders.get(package, package.replace(".", "/"))).glob(pattern)
    }
    data = set(ROOT.glob("conf/**/*.yaml"))
    for end in ("jsonl", "txt", "npz", "html", "css", "js"):
        data |= set(ROOT.glob(f"nuggets_ray/**/*.{end}"))
    assert shipped == data | {ROOT / "nuggets_ray" / "py.typed"}


def test_the_licence_is_named_and_there(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    assert project["license"] == "Apache-2.0"
    (name,) = project["license-files"]
    assert "Apache License" in (ROOT / name).read_text(encoding="utf-8")
