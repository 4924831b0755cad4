"""A wheel of the tree, built, installed and run where there is no clone."""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from score_runs import ROOT, environment, read_scores, result_of, score_overrides, write_rows

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "conf", "nuggets_ray")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that finds no package but those of its own interpreter."""
    env = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, cwd=cwd, env=env, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree that is gone again."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            no_caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, ignore=no_caches)
        else:
            shutil.copy(ROOT / name, tree / name)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    built = run(sys.executable, *PIP, "wheel", *options, tree, cwd=folder)
    assert built.returncode == 0, built.stderr
    shutil.rmtree(tree)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, and sees our libraries without what
    their .pth files add: no editable install.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    interpreter = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ("--no-deps", "--no-index", "--ignore-installed")
    installed = run(interpreter, *PIP, "install", *options, wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return interpreter


def test_the_wheel_holds_the_package_and_its_configuration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
        metadata = {
            name.partition(".dist-info/")[2]: opened.read(name).decode()
            for name in opened.namelist()
            if ".dist-info/" in name
        }
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "nuggets_ray").rglob("*.*")
        if path.is_file() and path.suffix not in (".md", ".png", ".ipynb", ".pyc")
    }
    conf = {f"nuggets_ray/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert names == package | conf
    assert "nuggets = nuggets_ray.__main__:main" in metadata["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in metadata["METADATA"]
    assert metadata["licenses/LICENSE"] == (ROOT / "LICENSE").read_text(encoding="utf-8")


PLACES = """
import nuggets_ray, nuggets_ray.config.keys
print(nuggets_ray.__file__, nuggets_ray.config.keys.CONF_DIR, sep="\\n")
"""


def test_six_rows_are_scored_and_selected_outside_the_clone(
    python: Path, tiny_model: Path, tmp_path: Path
) -> None:
    places = run(python, "-c", PLACES, cwd=tmp_path)
    assert places.returncode == 0, places.stderr
    for place in places.stdout.splitlines():
        assert Path(place).is_relative_to(python.parents[1]), place
    nuggets, out_dir = python.parent / "nuggets", tmp_path / "out"
    too_early = run(nuggets, "select", f"out_dir={out_dir}", cwd=tmp_path)
    assert too_early.returncode == 2
    assert "run nuggets score with this out_dir first" in too_early.stderr

    rows = write_rows(tmp_path / "rows.jsonl", 6)
    overrides = score_overrides(rows, tiny_model, out_dir, "anchors.num=2")
    scored = run(python, "-m", "nuggets_ray", "score", *overrides, cwd=tmp_path)
    assert result_of(scored)["num_scored"] == 6
    assert len(read_scores(out_dir)) == 6

    k = ("select=top_k", "select.k=2")
    selected = run(nuggets, "select", f"out_dir={out_dir}", *k, cwd=tmp_path)
    assert result_of(selected)["num_rows"] == 2
    lines = (out_dir / "selections" / "golden" / "selected.jsonl").read_text().splitlines()
    assert [json.loads(line)["rank"] for line in lines] == [1, 2]


def test_the_command_lists_the_jobs(python: Path, tmp_path: Path) -> None:
    listed = run(python.parent / "nuggets", "--help", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "  score " in listed.stdout and "  bench " in listed.stdout
