"""The jobs: one definition each, a script each, and what they are called in sentences."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nuggets_ray import preflight
from nuggets_ray.config.command_line.hints import JOB_OF
from nuggets_ray.config.compose import load, require
from nuggets_ray.config.keys import all_keys, job_command, section_of, sections
from nuggets_ray.jobs import JOBS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "jobs").glob("*.py"))


def run_package(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nuggets_ray", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=dict(os.environ),  # without the COLUMNS that readline sets behind Python's back
        check=False,
    )


def test_every_job_has_its_script() -> None:
    run_by = {job_command(name): name for name in JOBS}
    assert sorted(run_by) == [f"jobs/{path.name}" for path in SCRIPTS]
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r'run_job\("(\w+)"\)', text) == [run_by[f"jobs/{path.name}"]]
        assert f"python jobs/{path.name}" in text, "how it is used"


def test_a_job_names_sections_and_keys_that_exist() -> None:
    for name, job in JOBS.items():
        assert job.name == name and job.about
        assert set(job.uses) <= set(sections())
        assert set(job.requires) <= set(job.keys) <= set(all_keys())
        assert all(section_of(key) in job.uses for key in job.unread)
        assert len(set(job.keys)) == len(job.keys)
    assert set(preflight.CHECKS) <= set(JOBS)
    assert set(JOB_OF.values()) <= set(JOBS)


@pytest.mark.parametrize("name", sorted(JOBS))
def test_the_examples_of_a_job_are_commands_of_its_own_keys(name: str) -> None:
    job = JOBS[name]
    assert len(job.examples) == 3 and all(job.examples.values())
    for example in job.examples:
        config = load(shlex.split(example), job.uses)
        require(config, *job.requires)
        keys = {argument.partition("=")[0] for argument in shlex.split(example)}
        assert keys <= {*job.keys, *job.uses, "experiment"}, example


def test_a_look_at_the_data_needs_neither_a_model_nor_a_run_folder(tmp_path: Path) -> None:
    data = tmp_path / "a.jsonl"
    data.write_text('{"instruction": "Say one.", "output": "one"}\n')
    looked = run_package("plan", f"data.path={data}", "plan.only=data")
    assert looked.returncode == 0, looked.stderr
    assert "assistant: «one»" in looked.stdout
    assert "importing" not in looked.stderr
    for arguments, missing in [(["plan.only=data"], "data.path"), ([f"data.path={data}"], "model")]:
        refused = run_package("plan", *arguments)
        assert refused.returncode == 2 and f"{missing}" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_jobs_are_listed(arguments: list[str]) -> None:
    ended = run_package(*arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    listed = re.findall(r"^  (\w+) +(\S.*)$", ended.stdout, re.MULTILINE)
    assert listed == [(name, job.about) for name, job in JOBS.items()]


@pytest.mark.parametrize(
    ("name", "meant"), [("scor", "score"), ("selekt", "select"), ("out_dir=x", None)]
)
def test_an_unknown_job_is_told_with_those_that_there_are(name: str, meant: str | None) -> None:
    ended = run_package(name, "out_dir=x")
    assert (ended.returncode, ended.stdout) == (2, "")
    end = f"; did you mean {meant}?" if meant else ""
    assert ended.stderr == (
        f"error: {name}: there is no such job: take one of {', '.join(JOBS)}{end}\n"
    )


@pytest.mark.parametrize("name", sorted(JOBS))
def test_the_package_runs_what_the_script_runs(name: str) -> None:
    by_name = run_package(name, "--help")
    by_script = subprocess.run(
        [sys.executable, job_command(name), "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert by_name.returncode == by_script.returncode == 0, by_name.stderr + by_script.stderr
    assert by_name.stdout == by_script.stdout
    assert by_name.stdout.startswith(f"{name}: {JOBS[name].about}\n\nUsage: python jobs/")


def test_the_name_of_a_script_is_a_job_s_name_too() -> None:
    ended = run_package("select_topk", "select.kk=1")
    assert ended.returncode == 2 and "select.kk: there is no such key" in ended.stderr
