"""The tests themselves: each asserts, none touches what is private, and they mirror the package.

Read from the source by AST, as the layers are.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, TESTS = ROOT / "nuggets_ray", ROOT / "tests"

WITHOUT_TEST = {
    "__main__.py",  # test_jobs.py
    "bench/engine_tables.py",
    "bench/finetune.py",
    "bench/finetune_contenders.py",
    "bench/plan.py",
    "bench/session.py",
    "bench/task.py",
    "config/bench.py",
    "config/command_line/grammar.py",
    "config/command_line/hints.py",
    "config/command_line/values.py",
    "config/evaluate.py",
    "config/finetune.py",
    "config/keys.py",
    "config/schema.py",
    "model/weights/faults.py",
    "model/weights/headers.py",
    "model/weights/quantised.py",
    "model/weights/report.py",
    "score/contract.py",
    "score/kernels/flex.py",
    "score/kernels/fused.py",
    "score/kernels/joint.py",
    "score/kernels/masked.py",
    "score/kernels/rule.py",
    "score/kernels/varlen.py",
    "score/kv_cache.py",
    "score/plain.py",
    "score/reference.py",
    "score/tree.py",
    "score/worker_environment.py",
}
"""Modules that have no unit test of their own. The list only shrinks."""


def parsed(folder: Path) -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(folder.rglob("*.py"))}


SOURCES, FILES = parsed(PACKAGE), parsed(TESTS)


def names_defined(tree: ast.AST) -> Iterator[str]:
    """Functions, classes, methods, variables and attributes that the code gives a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name.strip("_") != ""


PRIVATE = {name for tree in SOURCES.values() for name in names_defined(tree) if is_private(name)}


def names_touched(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of what is imported, read as an attribute of anything but self, or named in a
    string that setattr, getattr or the like is given.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nuggets_ray"):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            for given in node.args:
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    yield node.lineno, given.value.rpartition(".")[2]


def test_no_test_touches_a_private_name() -> None:
    touched = [
        f"{path.relative_to(ROOT)}:{line} touches {name}"
        for path, tree in FILES.items()
        for line, name in names_touched(tree)
        if name in PRIVATE
    ]
    assert touched == [], "make it public under a good name, or test through the public door"


def called(tree: ast.AST) -> Iterator[str]:
    """Names of the functions and methods that are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node.func.id


def asserts_itself(function: ast.AST) -> bool:
    """An assert statement, pytest.raises, warns or fail, or an assert_... of numpy or torch."""
    has_statement = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    return has_statement or any(
        name in ("raises", "warns", "fail") or name.startswith("assert_")
        for name in called(function)
    )


def functions_of(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def asserting_helpers(tree: ast.Module, shared: dict[str, set[str]]) -> set[str]:
    """Functions that a file defines, or imports of what tests share, and that assert themselves."""
    own = {function.name for function in functions_of(tree) if asserts_itself(function)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        own |= {alias.name for alias in node.names} & shared.get(node.module or "", set())
    return {name for name in own if not name.startswith("test_")}


def test_every_test_asserts() -> None:
    shared = {
        path.stem: {function.name for function in functions_of(tree) if asserts_itself(function)}
        for path, tree in FILES.items()
        if path.parent.name in ("support", "chaos")
    }
    idle = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for path, tree in FILES.items()
        if path.name.startswith("test_")
        for function in functions_of(tree)
        if function.name.startswith("test_")
        and not asserts_itself(function)
        and not asserting_helpers(tree, shared) & set(called(function))
    ]
    assert idle == [], "a test that cannot fail is none"


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path, tree in SOURCES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_the_unit_tests_mirror_the_package() -> None:
    modules = {str(path.relative_to(PACKAGE)) for path in SOURCES if path.name != "__init__.py"}
    tests = {
        str(path.relative_to(TESTS / "unit").with_name(path.name.removeprefix("test_")))
        for path in FILES
        if path.is_relative_to(TESTS / "unit") and path.name.startswith("test_")
    }
    missing = {name for name in modules - tests if not name.startswith("stages/")}
    assert missing - WITHOUT_TEST == set(), "write a test of this name under tests/unit"
    assert WITHOUT_TEST - missing == set(), "take them off the list: they have a test"
