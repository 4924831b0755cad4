"""The layering of the package (left may import right, never back) and its outside imports.

Read from the source by AST, imports inside functions included: nothing need be importable.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nuggets_ray"

# From the top down. A module may import from its own line and from the lines below it.
LAYERS = (
    {"bench"},
    {"cli"},
    {"stages"},
    {"evaluate"},
    {"finetune"},
    {"score", "prepare"},
    {"anchors", "run", "schedule"},
    {"model", "prompts", "data", "select"},
    {"disk_full"},
    {"io", "config", "demo", "loopback", "umask"},
    {"records", "markdown", "errors"},
)
LEVELS = {name: level for level, names in enumerate(reversed(LAYERS)) for name in names}
# Outside packages that only some of them may import, wherever the import stands.
RESERVED = {
    "ray": {"stages"},
    "hydra": {"config"},
    "omegaconf": {"config"},
}


@dataclass(frozen=True)
class Import:
    """`importer` imports `module`, both dotted, in `line` of its file."""

    importer: str
    module: str
    line: int
    in_function: bool
    is_relative: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [(alias.name, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            # `from nuggets_ray import io` names the module after the import
            names = [f"{module}.{alias.name}" for alias in node.names]
            found = [
                (name, node.level > 0) for name in (names if module == "nuggets_ray" else [module])
            ]
        else:
            continue
        for name, is_relative in found:
            yield Import(module_name(path), name, node.lineno, id(node) in inner, is_relative)


FILES = sorted(PACKAGE.rglob("*.py"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))
IMPORTS = [found for path in FILES for found in imports_of(path)]


def part(module: str) -> str:
    """The layer's member a module of ours belongs to: nuggets_ray.score.golden -> score."""
    return module.split(".")[1]


def is_ours(module: str) -> bool:
    return module.startswith("nuggets_ray.")


def test_every_module_has_a_layer() -> None:
    parts = {part(module_name(path)) for path in FILES if module_name(path) != "nuggets_ray"}
    assert parts == set(LEVELS), "name new modules in LAYERS, and in CONTRIBUTING's tree"


def test_no_layer_imports_from_above() -> None:
    back = [
        str(found)
        for found in IMPORTS
        if is_ours(found.module) and LEVELS[part(found.module)] > LEVELS[part(found.importer)]
    ]
    assert back == []


def test_a_stage_needs_ray() -> None:
    """Each module of stages/ imports ray, or one of stages/ that does; the rest is pure, and lies
    further down.
    """
    stages = {module_name(path) for path in FILES if path.name != "__init__.py"}
    stages = {name for name in stages if part(name) == "stages"}
    needs = {name: {one.module for one in IMPORTS if one.importer == name} for name in stages}
    with_ray = {
        name for name, modules in needs.items() if any(m.split(".")[0] == "ray" for m in modules)
    }
    while grown := {name for name in stages - with_ray if needs[name] & with_ray}:
        with_ray |= grown
    assert stages - with_ray == set()


def test_no_import_cycles() -> None:
    names = {module_name(path) for path in FILES}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for found in IMPORTS:
        if found.module in names:
            graph[found.importer].add(found.module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {error.args[1]}")


@pytest.mark.parametrize("package", sorted(RESERVED))
def test_outside_packages_stay_where_they_belong(package: str) -> None:
    allowed = RESERVED[package]
    wrong = [
        str(found)
        for found in IMPORTS
        if found.module.split(".")[0] == package and part(found.importer) not in allowed
    ]
    assert wrong == []


def test_what_is_heavy_or_optional_is_imported_inside_functions() -> None:
    early = [
        str(found)
        for found in IMPORTS
        if found.module.split(".")[0] in ("hydra", "omegaconf", "vllm") and not found.in_function
    ]
    assert early == []


def test_records_import_nothing_but_numpy() -> None:
    outside = {
        found.module.split(".")[0] for found in IMPORTS if found.importer == "nuggets_ray.records"
    }
    assert outside - sys.stdlib_module_names == {"numpy"}


def test_jobs_import_nothing_of_ray_and_have_names_of_their_own() -> None:
    imported = {found.module.split(".")[0] for path in JOBS for found in imports_of(path)}
    assert imported <= {"nuggets_ray"} | sys.stdlib_module_names
    assert {path.stem for path in JOBS} & sys.stdlib_module_names == set()


def test_house_rules_of_files() -> None:
    assert [str(found) for found in IMPORTS if found.is_relative] == []
    assert [str(path) for path in FILES if path.name == "utils.py"] == []
    full = [
        path
        for path in PACKAGE.rglob("__init__.py")
        if path.read_text() and path.parent.name != "demo"
    ]
    assert full == [], "__init__.py files are empty"


BLOCKED_IMPORTS = """
import importlib, pkgutil, sys
blocked = sys.argv[2].split(",")
for name in blocked:
    sys.modules[name] = None  # import raises ModuleNotFoundError
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.startswith("nuggets_ray.stages"):
        importlib.import_module(module.name)
print("imported")
"""


def import_all(package: str, blocked: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED_IMPORTS, package, blocked]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("package", ["nuggets_ray.score", "nuggets_ray"])
def test_the_pure_layers_import_without_ray_hydra_and_omegaconf(package: str) -> None:
    finished = import_all(package, "ray,hydra,omegaconf")
    assert finished.stdout.strip().endswith("imported"), finished.stderr


def test_decisions_and_files_import_without_torch() -> None:
    pure = (
        *("records", "io", "errors", "config.compose", "data.inputs", "data.formats", "demo.files"),
        *(
            "schedule.full",
            "select",
            "run.manifest",
            "run.joined",
            "run.selections",
            "prepare.commit",
        ),
    )
    imports = "; ".join(f"import nuggets_ray.{name}" for name in pure)
    blocked = "sys.modules['torch'] = sys.modules['transformers'] = None"
    source = f"import sys; {blocked}; {imports}; print('imported')"
    finished = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert finished.stdout.strip() == "imported", finished.stderr
