"""Where everything lies: told in one module, and as the run folder's README tells it."""

import ast
import inspect
import re
from pathlib import Path

from nuggets_ray.run import layout
from nuggets_ray.run.layout import RunFolder

PACKAGE = Path(layout.__file__).parents[1]
PLACEHOLDERS = {
    "name": "NAME",
    "model": "NAME",
    "attempt_id": "ATTEMPT",
    "key": "HASH",
    "stage": "STAGE",
    "number": "NUMBER",
    "label": "NAME",
}
UNTOLD = {".room", "token-NAME", "candidates/_staging"}
"""What only a run that goes on has, and no reader looks for."""


def all_paths(folder: object) -> set[str]:
    """Every path that a folder's properties and methods give, with NAME and the like for names."""
    paths: set[str] = set()
    for attribute in dir(type(folder)):
        if attribute.startswith("_"):
            continue
        value = getattr(folder, attribute)
        if callable(value):
            names = list(inspect.signature(value).parameters)
            value = value(*(PLACEHOLDERS.get(name, "score") for name in names))
        if isinstance(value, str):
            paths.add(value)
        else:
            paths |= all_paths(value)
    return paths


def told_in_readme() -> list[str]:
    """The first column of the block under "The run folder"."""
    pages = (PACKAGE / "run" / "README.md", PACKAGE.parent / "README.md")
    texts = [page.read_text(encoding="utf-8") for page in pages if page.exists()]
    text = next(text for text in texts if "\n## The run folder\n" in text)
    block = text.partition("\n## The run folder\n")[2].split("```")[1]
    return [line.split()[0] for line in block.strip().splitlines()]


def test_the_readme_tells_every_path_of_the_run_folder() -> None:
    paths = {path.removeprefix("RUN/") for path in all_paths(RunFolder("RUN"))} - {"RUN"}
    folders = {entry.rstrip("/") for entry in told_in_readme() if entry.endswith("/")}
    folders |= {entry.rpartition("/")[0] for entry in told_in_readme() if "part-*" in entry}
    files = set(told_in_readme())

    def is_told(path: str) -> bool:
        parents = [path, *(str(parent) for parent in Path(path).parents)]
        return path in files or any(parent in folders for parent in parents)

    untold = {path for path in paths if not is_told(path)}
    untold = {path for path in untold if not any(path.startswith(start) for start in UNTOLD)}
    # a folder that holds those that are told
    untold = {path for path in untold if not any(told.startswith(f"{path}/") for told in files)}
    assert untold == set()


def test_the_readme_tells_no_path_that_is_not_there() -> None:
    paths = {path.removeprefix("RUN/") for path in all_paths(RunFolder("RUN"))}
    for entry in told_in_readme():
        path = re.sub(r"/part-\*.*", "", entry).rstrip("/")
        assert path in paths or any(known.startswith(f"{path}/") for known in paths), entry


def test_no_other_module_writes_a_name_of_the_run_folder() -> None:
    names = {Path(path).name for path in all_paths(RunFolder("RUN"))}
    names = {name for name in names if "." in name and not name.startswith(("NAME", "ATTEMPT"))}
    names -= {"README.md"}  # the card of a selection; models have theirs
    assert {"manifest.json", "skipped.parquet", "selected.jsonl", "results.json"} <= names
    elsewhere = []
    for path in sorted(PACKAGE.rglob("*.py")):
        # file_choice.py knows selection.json as a file without rows in a folder of data
        if path in (Path(layout.__file__), PACKAGE / "data" / "file_choice.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in names:
                elsewhere.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.value}")
    assert elsewhere == []


def test_no_other_module_joins_a_path_to_out_dir() -> None:
    elsewhere = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path == Path(layout.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("join") and node.args:
                first = ast.unparse(node.args[0])
                if first == "out_dir" or first.endswith(".out_dir"):
                    elsewhere.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {first}")
    assert elsewhere == []


def test_a_run_folder_may_lie_in_an_object_store() -> None:
    assert RunFolder("s3://bucket/run").selection("golden").jsonl == (
        "s3://bucket/run/selections/golden/selected.jsonl"
    )
