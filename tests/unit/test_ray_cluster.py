"""docker/ray_cluster.py: what is sent with a job, by Ray's own packaging, and how waiting ends; and
what goes into the image.
"""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

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


def test_the_image_is_made_of_the_repository_s_own_files() -> None:
    lines = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {
        path.name
        for path in ROOT.iterdir()
        if path.name in allowed or path.name in ("Makefile", "pyproject.toml", "docker", "jobs")
    }
    assert not allowed & {"data", "models", "runs", ".git", ".env", ".venv", "env", "venv"}
    assert {"**/.env*", "**/.venv*", "**/__pycache__"} <= set(rules)
