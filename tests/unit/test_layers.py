"""The layering of the package (left may import right, never back) and its outside imports.

Read from the source by AST, imports inside functions included: nothing need be importable.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import nuggets_ray

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nuggets_ray"

# From the top down. A module may import from its own line and from the lines below it.
LAYERS = (
    {"__main__"},
    {"jobs"},
    {"bench"},
    {"cli"},
    {"stages"},
    {"preflight"},
    {"evaluate", "studies", "report"},
    {"finetune"},
    {"score", "prepare"},
    {"anchors", "run", "schedule"},
    {"model", "prompts", "data", "select", "curate", "signals"},
    {"disk_full"},
    {"io", "config", "demo", "deadline", "loopback", "stderr", "umask", "mixture"},
    {"records", "markdown", "units", "errors"},
)
LEVELS = {name: level for level, names in enumerate(reversed(LAYERS)) for name in names}
COMPUTING = {"bench", "stages", "evaluate", "finetune", "score", "anchors", "model", "demo"}
# Outside packages that only some of them may import, wherever the import stands.
RESERVED = {
    "ray": {"stages"},
    "hydra": {"config"},
    "omegaconf": {"config"},
    "torch": COMPUTING,
    "transformers": COMPUTING | {"prompts"},
    "httpx": {"evaluate"},
}
# Outside packages that are heavy or optional, and who may import them at the top of a file; the
# others do it inside functions, or for types alone.
AT_THE_TOP: dict[str, set[str]] = {
    "torch": {"bench", "stages", "finetune", "score", "anchors"},
    "transformers": {"bench", "stages", "finetune", "score", "anchors"},
    **dict.fromkeys(("hydra", "omegaconf", "vllm", "deepspeed", "peft", "lm_eval"), set()),
}

# Functions that take the whole configuration: the jobs' own, and these, which record it or need
# most of its sections.
JOBS_OWN = {"bench", "cli", "stages", "config", "preflight", "jobs"}
WHOLE_CONFIG = {
    "score.library._score",  # which makes one of its arguments
    "run.job_configs.write_config",
    "run.job_configs.check_same_run",
    "score.fingerprint.settings_fingerprint",
    "finetune.source.find_source",
    "run.select.select_candidates",
    "run.select.select_and_report",
    "run.select._select",
    "run.select.select_beside",
    "score.checks.check_inputs",
    "evaluate.checks.check_evaluate",
    "evaluate.likelihood.compared.choose_rows",
    "finetune.source.check_source",
}


@dataclass(frozen=True)
class Import:
    """`importer` imports `module`, both dotted, in `line` of its file."""

    importer: str
    module: str
    line: int
    is_late: bool  # inside a function, or for types alone
    is_relative: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {id(node) for outer in ast.walk(tree) if _is_late(outer) for node in ast.walk(outer)}
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
            yield Import(module_name(path), name, node.lineno, id(node) in late, is_relative)


def _is_late(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


DOOR = PACKAGE / "__init__.py"
"""What a user imports from Python: the one __init__.py with content, above all layers."""
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != DOOR)
JOBS = sorted((ROOT / "jobs").glob("*.py"))
IMPORTS = [found for path in FILES for found in imports_of(path)]


def part(module: str) -> str:
    """The layer's member a module of ours belongs to: nuggets_ray.score.golden -> score."""
    return module.split(".")[1]


def is_ours(module: str) -> bool:
    return module.startswith("nuggets_ray.")


def test_every_module_has_a_layer() -> None:
    parts = {part(module_name(path)) for path in FILES}
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


@pytest.mark.parametrize("package", sorted(AT_THE_TOP))
def test_what_is_heavy_or_optional_is_imported_late(package: str) -> None:
    early = [
        str(found)
        for found in IMPORTS
        if found.module.split(".")[0] == package
        and not found.is_late
        and part(found.importer) not in AT_THE_TOP[package]
    ]
    assert early == []


def takes_whole_config(path: Path) -> Iterator[str]:
    """The functions of a file that take a whole `Config`, such as run.job_configs.write_config."""
    module = module_name(path).removeprefix("nuggets_ray.")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [ast.unparse(one.annotation) for one in given if one.annotation]
            if any(re.search(r"\bConfig\b", annotation) for annotation in annotations):
                yield f"{module}.{node.name}"


def test_components_take_the_sections_of_the_configuration_that_they_need() -> None:
    modules = [path for path in FILES if module_name(path) != "nuggets_ray"]
    components = [path for path in modules if part(module_name(path)) not in JOBS_OWN]
    whole = {name for path in components for name in takes_whole_config(path)}
    assert "finetune.source.find_source" in whole, "the check sees those that there are"
    assert whole - WHOLE_CONFIG == set(), "take the section, or say above why not"


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
    full = [path for path in PACKAGE.rglob("__init__.py") if path.read_text()]
    assert full == [DOOR], "__init__.py files are empty, but for the package's own door"


def run_python(source: str) -> str:
    """What a Python of its own prints, started in the repository."""
    command = [sys.executable, "-c", source]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_door_gives_what_it_names() -> None:
    assert nuggets_ray.__all__ == ["open_run", "read_examples", "score_rows"]
    imported = {
        alias.name
        for node in ast.walk(ast.parse(DOOR.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nuggets_ray.")
        for alias in node.names
    }
    assert imported == set(nuggets_ray.__all__), "type checkers and users see the same names"
    for name in nuggets_ray.__all__:
        value = getattr(nuggets_ray, name)
        assert callable(value) and value.__name__ == name
        assert name in dir(nuggets_ray)
    with pytest.raises(AttributeError, match="has no attribute 'score_row'"):
        _ = nuggets_ray.score_row
    assert (PACKAGE / "py.typed").is_file()


def test_the_package_itself_imports_nothing() -> None:
    source = "import sys, nuggets_ray; print([n for n in sys.modules if n.startswith('nuggets')])"
    assert run_python(source) == "['nuggets_ray']"
    source = "import sys, nuggets_ray; print({'torch', 'pyarrow', 'numpy'} & {*sys.modules})"
    assert run_python(source) == "set()"


def test_reading_from_python_needs_no_torch() -> None:
    blocked = "sys.modules['torch'] = sys.modules['transformers'] = None"
    source = "from nuggets_ray import open_run, read_examples; print('imported')"
    assert run_python(f"import sys; {blocked}; {source}") == "imported"


def test_scoring_from_python_needs_no_ray_hydra_or_omegaconf() -> None:
    blocked = "for name in ('ray', 'hydra', 'omegaconf'): sys.modules[name] = None"
    source = "from nuggets_ray import score_rows\nprint(score_rows.__module__)"
    assert run_python(f"import sys\n{blocked}\n{source}") == "nuggets_ray.score.library"


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
