"""What README and CONTRIBUTING name exists: make targets, jobs, keys, choices, files, variables."""

import re
import shlex
from pathlib import Path

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.config.keys import all_keys

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
INLINE_CODE = re.findall(r"`([^`\n]+)`", README + CONTRIBUTING)
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))


def code_blocks(text: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for found, block in blocks if found == language]


COMMANDS = [
    line
    for block in code_blocks(README, "bash") + code_blocks(CONTRIBUTING, "bash")
    for line in block.splitlines()
]
(TREE,) = (block for block in code_blocks(README, "") if block.startswith("nuggets_ray/"))


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


@pytest.mark.parametrize("command", [c for c in COMMANDS if job_call(c)])
def test_job_commands_name_jobs_keys_and_choices_that_exist(command: str) -> None:
    call = job_call(command)
    assert call
    name, arguments = call
    assert (ROOT / "jobs" / f"{name}.py").is_file()
    load(arguments)  # raises UserError


def test_every_command_is_one_we_know() -> None:
    for command in COMMANDS:
        words = shlex.split(command)
        assert words[0] == "make" or job_call(command), command


def test_make_targets_exist_and_each_is_phony_and_documented() -> None:
    code = [*INLINE_CODE, *COMMANDS]
    named = {match[1] for text in code if (match := re.search(r"\bmake ([a-z]+(-[a-z]+)?)", text))}
    assert named and named <= TARGETS
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony and set(phony[1].split()) == TARGETS


def test_keys_and_choices_in_prose_exist() -> None:
    keys = set(all_keys())
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    for text in INLINE_CODE:
        for key, value in re.findall(r"(?<![\w$/.-])([a-z_]+(?:\.[a-z_]+)?)=([\w.]+)", text):
            if key in groups:
                assert (ROOT / "conf" / key / f"{value}.yaml").is_file(), text
            else:
                assert key in keys, text


def test_files_that_are_named_exist() -> None:
    names = re.findall(
        r"`((?:nuggets_ray|jobs|tests|conf|docker)/[\w/.-]*)`", README + CONTRIBUTING
    )
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README + CONTRIBUTING)
    assert names and links
    for name in names + links:
        assert (ROOT / name).exists(), name


def test_the_source_tree_is_the_one_on_disk() -> None:
    listed = re.findall(r"^ {4}(\S+)", TREE, re.MULTILINE)
    package = ROOT / "nuggets_ray"
    there = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    there |= {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    assert sorted(listed) == sorted(there)
    tops = re.findall(r"^(\w+)/", TREE, re.MULTILINE)
    assert all((ROOT / top).is_dir() for top in tops)
    (jobs,) = re.findall(r"^jobs/ +(.*)$", TREE, re.MULTILINE)
    assert set(jobs.split(", ")) == {path.stem for path in (ROOT / "jobs").glob("*.py")}
    (choices,) = re.findall(r"^conf/ +values: (.*)$", TREE, re.MULTILINE)
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert set(choices.split(", ")) == groups


def test_environment_variables_are_read_somewhere() -> None:
    sources = [*ROOT.glob("nuggets_ray/**/*.py"), *ROOT.glob("tests/**/conftest.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in sources)
    variables = re.findall(r"^\| `([A-Z_]+)`", README, re.MULTILINE)
    assert variables
    assert [name for name in variables if name not in source] == []
