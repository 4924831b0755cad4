"""What the READMEs, CONTRIBUTING and METHOD name exists: make targets, jobs, keys, choices, files,
variables, links; the source tree and the layers are those of the code; the front page stays a page.
"""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.config.keys import all_keys

ROOT = Path(__file__).resolve().parents[2]
FRONT_PAGE, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
FIXTURES = ROOT / "tests" / "fixtures"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [
        FRONT_PAGE,
        CONTRIBUTING,
        ROOT / "nuggets_ray" / "score" / "METHOD.md",
        *(
            path
            for top in ("conf", "docker", "jobs", "nuggets_ray", "tests")
            for path in sorted((ROOT / top).rglob("README.md"))
            if FIXTURES not in path.parents
        ),
    ]
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
GROUPS = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}


def code_blocks(text: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block_language, block in blocks if block_language == language]


def inline_code(text: str) -> list[str]:
    outside_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", outside_blocks)


def block_of(page: Path, first_word: str) -> str:
    """The only code block of the page that begins so."""
    blocks = code_blocks(page.read_text(encoding="utf-8"), "")
    (block,) = (block for block in blocks if block.startswith(first_word))
    return block


INLINE_CODE = [code for text in PAGES.values() for code in inline_code(text)]
COMMANDS = [
    line
    for text in PAGES.values()
    for block in code_blocks(text, "bash")
    for line in block.splitlines()
]


def job_call(command: str) -> tuple[str, list[str]] | None:
    """(name of the job, its arguments) of a command that runs one, also through make or ray."""
    words = shlex.split(command)
    if words[:2] == ["make", "submit"]:
        variables = dict(word.split("=", 1) for word in words[2:])
        return variables["JOB"], shlex.split(variables.get("ARGS", ""))
    for place, word in enumerate(words):
        if match := re.fullmatch(r"jobs/(\w+)\.py", word):
            return match[1], words[place + 1 :]
    return None


def test_every_page_is_read() -> None:
    assert len(PAGES) >= 10 and "nuggets_ray/run/README.md" in PAGES
    assert all(text.startswith("# ") for text in PAGES.values())


def test_the_front_page_is_one_page() -> None:
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("command", [c for c in COMMANDS if job_call(c)])
def test_job_commands_name_jobs_keys_and_choices_that_exist(command: str) -> None:
    call = job_call(command)
    assert call
    name, arguments = call
    assert (ROOT / "jobs" / f"{name}.py").is_file()
    load(arguments)  # raises UserError


def test_every_command_is_one_we_know() -> None:
    assert COMMANDS
    for command in COMMANDS:
        words = shlex.split(command)
        assert words[0] == "make" or job_call(command), command


def test_make_targets_exist_and_each_is_phony_and_documented() -> None:
    code = [*INLINE_CODE, *COMMANDS]
    named = {match[1] for text in code if (match := re.search(r"\bmake ([a-z]+(-[a-z]+)?)", text))}
    assert named and named <= TARGETS
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony and set(phony[1].split()) == TARGETS


@pytest.mark.parametrize(
    "given, passed",
    [
        ("bench=peers", "bench.log=nuggets_ray/bench/LOG.md bench=peers"),
        ("bench.log=x.md", "bench.log=x.md"),
    ],
)
def test_make_bench_logs_beside_the_figures_there_unless_told_where(
    given: str, passed: str
) -> None:
    command = ["make", "--dry-run", "bench", f"ARGS={given}"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in printed.splitlines() if "jobs/bench.py" in line]
    assert " ".join(line.partition("jobs/bench.py ")[2].split()) == passed


def test_keys_and_choices_in_prose_exist() -> None:
    keys = set(all_keys())
    assert INLINE_CODE
    for text in INLINE_CODE:
        for key, value in re.findall(r"(?<![\w$/.-])([a-z_]+(?:\.[a-z_]+)?)=([\w.]+)", text):
            if key in GROUPS:
                assert (ROOT / "conf" / key / f"{value}.yaml").is_file(), text
            else:
                assert key in keys, text


def test_every_choice_has_a_line_in_its_page() -> None:
    listed = set(inline_code(PAGES["conf/README.md"]))
    named = {word for code in listed for word in code.split()}
    choices = {f"{path.parent.name}={path.stem}" for path in (ROOT / "conf").glob("*/*.yaml")}
    assert choices <= named


@pytest.mark.parametrize("page", sorted(PAGES))
def test_files_that_are_named_exist(page: str) -> None:
    """Links are from the page's folder, names in backticks from the top."""
    names = [
        code
        for code in inline_code(PAGES[page])
        if re.fullmatch(r"(nuggets_ray|jobs|tests|conf|docker|\.ci)/[\w/.-]*", code)
    ]
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGES[page])
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_front_page_leads_to_every_other() -> None:
    seen: set[Path] = set()
    ahead = [FRONT_PAGE]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        links = re.findall(r"\]\((?!http)([^)#]+\.md)\)", page.read_text(encoding="utf-8"))
        ahead += {(page.parent / link).resolve() for link in links} - seen
    assert {ROOT / page for page in PAGES} <= seen


def test_the_source_tree_is_the_one_on_disk() -> None:
    tree = block_of(CONTRIBUTING, "nuggets_ray/")
    listed, parents = [], [""] * 3
    for indent, name in re.findall(r"^((?: {4})+)(\S+)", tree, re.MULTILINE):
        depth = len(indent) // 4
        parents[depth] = name
        listed.append("".join(parents[1 : depth + 1]))
    package = ROOT / "nuggets_ray"
    there = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    folders = {path.parent.relative_to(package) for path in package.rglob("__init__.py")}
    there |= {f"{folder}/" for folder in folders - {Path(".")}}
    assert sorted(listed) == sorted(there)
    tops = re.findall(r"^(\w+)/", tree, re.MULTILINE)
    assert all((ROOT / top).is_dir() for top in tops)
    (jobs,) = re.findall(r"^jobs/ +(.*)$", tree, re.MULTILINE)
    assert set(jobs.split(", ")) == {path.stem for path in (ROOT / "jobs").glob("*.py")}
    (choices,) = re.findall(r"^conf/ +values: (.*)$", tree, re.MULTILINE)
    assert set(choices.split(", ")) == GROUPS


def test_the_layers_are_those_that_the_layer_test_enforces() -> None:
    source = (ROOT / "tests" / "unit" / "test_layers.py").read_text(encoding="utf-8")
    (layers,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    lines = block_of(CONTRIBUTING, "__main__\n").splitlines()
    assert [set(line.split(", ")) for line in lines] == list(layers)


def test_environment_variables_are_read_somewhere() -> None:
    sources = [*ROOT.glob("nuggets_ray/**/*.py"), *ROOT.glob("tests/**/conftest.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in sources)
    variables = re.findall(r"^\| `([A-Z_]+)`", PAGES["nuggets_ray/run/README.md"], re.MULTILINE)
    assert variables
    assert [name for name in variables if name not in source] == []


def test_documents_that_the_code_names_are_here() -> None:
    """As in METHOD.md: a name in capitals is a page of the repository."""
    tops = ("nuggets_ray", "jobs", "conf", "docker", "tests")
    sources = [
        path
        for top in tops
        for path in (ROOT / top).rglob("*")
        if path.suffix in (".py", ".yaml", ".sh")
    ]
    named = {
        name
        for path in [*sources, ROOT / "Makefile"]
        for name in re.findall(r"\b[A-Z]{3,}\.md\b", path.read_text(encoding="utf-8"))
    }
    pages = {path.name for top in tops for path in (ROOT / top).rglob("*.md")}
    assert named
    assert named <= pages | {path.name for path in ROOT.glob("*.md")}
