"""docker/ray_cluster.py: what is sent with a job, by Ray's own packaging, and how waiting ends."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> ModuleType:
    path = ROOT / "docker" / "ray_cluster.py"
    spec = importlib.util.spec_from_file_location("ray_cluster", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SENT = (
    "Makefile",
    "nuggets_ray/data/rows.py",
    "nuggets_ray/models/one.py",
    "jobs/score.py",
    "my.data.jsonl",
)
NOT_SENT = (
    ".env",
    ".env.local",
    "jobs/.env",
    ".envs/prod",
    ".git/config",
    "data/rows.jsonl",
    "models/llama/model.safetensors",
    "runs/first/run.json",
    ".venv/pyvenv.cfg",
    ".venv-gpu/lib/x.py",
    "env/pyvenv.cfg",
    "env/lib/deep/x.py",
    "tools/odd [name] #1!/pyvenv.cfg",
    "tools/odd [name] #1!/bin/python",
    "nuggets_ray/__pycache__/x.pyc",
    ".ruff_cache/x",
)


@pytest.mark.parametrize("with_gitignore", [True, False])
def test_no_secret_data_or_environment_is_sent(
    cluster: ModuleType, tmp_path: Path, with_gitignore: bool
) -> None:
    from ray._private.runtime_env.packaging import create_package

    folder = tmp_path / "project"
    for name in (*SENT, *NOT_SENT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    if with_gitignore:
        (folder / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    package = tmp_path / "package.zip"
    create_package(str(folder), package, include_gitignore=True, excludes=cluster.excludes(folder))
    with zipfile.ZipFile(package) as opened:
        sent = {name for name in opened.namelist() if not name.endswith("/")}
    assert sent - {".gitignore"} == set(SENT)


def test_a_folder_that_is_an_environment_itself_is_sent(
    cluster: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    assert cluster.excludes(tmp_path) == list(cluster.NEVER_SENT)


def test_waiting_ends_with_the_reason(cluster: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "POLL_S", 0.01)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert cluster.wait("http://127.0.0.1:1", ended.pid, 60) == "Ray ended while starting"
    found = cluster.wait("http://127.0.0.1:1", os.getpid(), 0.05)
    assert found.startswith("the dashboard at http://127.0.0.1:1 did not answer")
    assert found.endswith("within 0.05 s")


def test_a_node_counts_once_it_has_its_cpus(
    cluster: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray.util.state
    from ray.util.state.common import NodeState

    def node(state: str, **resources: float) -> NodeState:
        return NodeState(
            node_id="a", node_ip="127.0.0.1", is_head_node=True, state=state, node_name="a",
            state_message=None, resources_total=resources, labels={},
        )  # fmt: skip

    answers = [[], [node("DEAD", CPU=2.0)], [node("ALIVE", memory=1.0)], [node("ALIVE", CPU=2.0)]]
    asked = []

    def list_nodes(*arguments: object, **more: object) -> list[NodeState]:
        asked.append(arguments)
        return answers[len(asked) - 1]

    monkeypatch.setattr(ray.util.state, "list_nodes", list_nodes)
    monkeypatch.setattr(cluster, "POLL_S", 0.0)
    assert cluster.wait("http://127.0.0.1:1", os.getpid(), 60) is None
    assert len(asked) == 4


def make_job(cluster: ModuleType, name: str, state: str, more: str = "", ended: float = 0) -> Any:
    entrypoint = f"python jobs/score.py data.path=x {more}"
    return cluster.SubmittedJob(name, state, entrypoint, 1000.0, ended or None)


def test_a_job_gets_a_name_that_no_other_has(cluster: ModuleType) -> None:
    jobs = [make_job(cluster, "first", "RUNNING")]
    assert cluster.free(jobs, "second") is None
    assert "NAME=first: a job of this cluster has that name" in cluster.free(jobs, "first")
    for name in ("a b", "-x", "a/b", ""):
        assert "take letters" in cluster.free(jobs, name), name


def test_the_job_that_is_meant(cluster: ModuleType) -> None:
    over = make_job(cluster, "over", "SUCCEEDED", ended=1005)
    first, second = (make_job(cluster, name, "RUNNING") for name in ("first", "second"))
    assert cluster.pick([over, first], "", must_run=True) == first
    assert cluster.pick([first, over], "", must_run=False) == over
    assert cluster.pick([over, first, second], "over", must_run=True) == over
    assert cluster.pick([over], "", must_run=True) == "error: no job runs"
    assert "no job was submitted" in cluster.pick([], "", must_run=False)
    assert "say which with NAME=, of first, second" in cluster.pick([first, second], "", True)
    assert "NAME=x: there is no such job, but over" in cluster.pick([over], "x", must_run=False)


def test_the_jobs_a_line_each(cluster: ModuleType) -> None:
    jobs = [make_job(cluster, "a", "SUCCEEDED", ended=1065), make_job(cluster, "long", "RUNNING")]
    assert cluster.job_lines(jobs, 1005.0) == [
        "a     SUCCEEDED  00:01:05  python jobs/score.py data.path=x ",
        "long  RUNNING    00:00:05  python jobs/score.py data.path=x ",
    ]
    assert "make submit" in cluster.job_lines([], 0.0)[0]


def test_the_run_of_each_job_that_goes_on_is_shown(
    cluster: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "jobs").mkdir()
    script = "import sys; print('status of', sys.argv[1]); print('{}')"
    (tmp_path / "jobs" / "status.py").write_text(script)
    monkeypatch.chdir(tmp_path)
    goes_on = make_job(cluster, "a", "RUNNING", "'out_dir=/runs/one two'")
    over = make_job(cluster, "b", "FAILED", "out_dir=/runs/b", ended=1005)
    cluster.show_jobs([goes_on, over], "")
    shown = capfd.readouterr().out
    assert "status of out_dir=/runs/one two\n" in shown and "/runs/b\n" in shown
    assert "status of out_dir=/runs/b" not in shown and "{}" not in shown
    cluster.show_jobs([goes_on, over], "b")
    assert "status of out_dir=/runs/b" in capfd.readouterr().out
