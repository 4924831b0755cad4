"""docker/Dockerfile, what is copied into the image, and the three locks."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from docker.utils.build import exclude_paths
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
STEPS = [
    line
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)).splitlines()
    if line.strip()
]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LEFT_OUT_OF_CPU = {"torch"}  # installed before the lock


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", DOCKER / "lock.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def locked(lock: ModuleType) -> dict[str, dict[str, str]]:
    """cpu, dev, gpu -> name -> version."""
    return {
        name: {
            package: entry.split("==")[1].split()[0]
            for package, entry in lock.packages(path.read_text(encoding="utf-8")).items()
        }
        for name, path in (("cpu", lock.CPU), ("dev", lock.DEV), ("gpu", lock.GPU))
    }


def step(start: str) -> int:
    """The place of the only step that starts so."""
    (place,) = (place for place, line in enumerate(STEPS) if line.startswith(start))
    return place


def test_the_base_is_pinned_to_its_bytes() -> None:
    base = STEPS[step("ARG BASE=")]
    assert re.search(r"=python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}$", base)
    assert STEPS[step("FROM ")] == "FROM ${BASE}"


def test_packages_come_before_code_and_with_hashes() -> None:
    packages = step("RUN pip install --no-deps --require-hashes -r /opt/requirements.lock")
    assert step("COPY docker/requirements-${EXTRA}.lock") < packages
    code = [step(f"COPY {name}") for name in ("pyproject.toml", "conf", "jobs", "nuggets_ray")]
    assert packages < step("ARG TORCH=") < min(code)
    (torch,) = (line for line in PYPROJECT["dependencies"] if line.startswith("torch=="))
    assert STEPS[step("ARG TORCH=")] == f"ARG TORCH={torch}"


def test_no_tool_of_developers_and_no_root() -> None:
    assert "dev.lock" not in DOCKERFILE and "[dev]" not in DOCKERFILE
    assert not re.search(r"\b(git|make|curl|sudo)\b", " ".join(STEPS))
    assert re.fullmatch(r"USER (\d+):\1", STEPS[step("USER")])
    assert step("USER") > max(place for place, line in enumerate(STEPS) if line[:3] == "RUN")


def test_ray_asks_for_a_token_and_nothing_is_told_to_anyone() -> None:
    told = STEPS[step("ENV HOME")]
    for name in ("RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0", "HF_HUB_DISABLE_TELEMETRY=1"):
        assert name in told


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    ended = subprocess.run(
        [hadolint, "--no-color", str(DOCKER / "Dockerfile")], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (0, "")


COPIED = (
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "conf/config.yaml",
    "docker/requirements-cpu.lock",
    "jobs/score.py",
    "nuggets_ray/data/rows.py",
    "nuggets_ray/bench/matrices/real.npz",
    "nuggets_ray/evaluate/judge/key.py",
    "nuggets_ray/prompts/token_mask.py",
)
NOT_COPIED = (
    ".env",
    "jobs/.env.local",
    ".git/config",
    "nuggets_ray/.git/config",
    "data/rows.jsonl",
    "models/llama/model.safetensors",
    "nuggets_ray/model/weights/model.safetensors",
    "nuggets_ray/demo/part-0.parquet",
    "runs/first/manifest.json",
    ".venv/pyvenv.cfg",
    "nuggets_ray/.venv-gpu/lib/x.py",
    "jobs/venv/bin/python",
    "jobs/env/bin/python",
    "jobs/judge.key",
    "conf/server.pem",
    "nuggets_ray/__pycache__/x.pyc",
    "nuggets_ray/.ruff_cache/x",
    "tests/unit/test_io.py",
    "docker/rayjob.yaml",
    "Makefile",
)


def test_the_image_holds_no_data_model_secret_or_environment(tmp_path: Path) -> None:
    """By Docker's own Python client, which reads such files as the engine does."""
    for name in (*COPIED, *NOT_COPIED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lines = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    sent = {name for name in exclude_paths(str(tmp_path), rules) if (tmp_path / name).is_file()}
    assert sent - {"Dockerfile", ".dockerignore"} == set(COPIED)


def test_all_that_is_copied_is_there() -> None:
    for line in STEPS:
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                assert (ROOT / name.replace("${EXTRA}", "gpu")).exists(), name


def test_each_package_of_a_lock_has_its_hashes(lock: ModuleType) -> None:
    for path in (lock.CPU, lock.DEV, lock.GPU):
        text = path.read_text(encoding="utf-8")
        packages = lock.packages(text)
        assert "".join(packages.values()) == re.sub(r"^#.*\n", "", text, flags=re.M)
        for name, entry in packages.items():
            first, *hashes = (line.rstrip(" \\") for line in entry.splitlines())
            assert re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+", first), name
            assert hashes, name
            assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in hashes)


def test_a_package_that_is_left_out_takes_its_hashes_with_it(lock: ModuleType) -> None:
    text = "# head\na==1 \\\n    --hash=sha256:aa\ntorch==2 \\\n    --hash=sha256:bb\nb[x]==3 ; c\n"
    packages = lock.packages(text)
    assert list(packages) == ["a", "torch", "b"]
    del packages["torch"]
    assert "".join(packages.values()) == "a==1 \\\n    --hash=sha256:aa\nb[x]==3 ; c\n"
    for name in ("torch", "cuda-bindings", "nvidia-cudnn-cu13"):
        assert lock.TORCHS.fullmatch(name)
    assert not lock.TORCHS.fullmatch("torchvision")


def test_the_locks_hold_what_pyproject_asks_for(locked: dict[str, dict[str, str]]) -> None:
    extras = PYPROJECT["optional-dependencies"]
    for name, held, asked in (
        ("cpu", locked["cpu"], [*PYPROJECT["dependencies"], *extras["cpu"]]),
        ("gpu", locked["gpu"], [*PYPROJECT["dependencies"], *extras["gpu"]]),
        ("dev", locked["cpu"] | locked["dev"], extras["dev"]),
    ):
        for line in asked:
            wanted = Requirement(line)
            package = re.sub(r"[-_.]+", "-", wanted.name).lower()
            if name == "cpu" and package in LEFT_OUT_OF_CPU:
                assert package not in held
                continue
            assert wanted.specifier.contains(held[package]), f"{name}: {line}"


def test_the_tests_packages_fit_on_either_lock(locked: dict[str, dict[str, str]]) -> None:
    assert not locked["dev"].keys() & locked["cpu"].keys()
    assert not locked["dev"].keys() & locked["gpu"].keys()
    assert locked["cpu"]["ray"] == locked["gpu"]["ray"]
    assert not [name for name in locked["cpu"] if name.startswith("nvidia-")]
