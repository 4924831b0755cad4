"""What DeepSpeed needs to build its kernels, where they go, and builds that are killed."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.finetune import deepspeed_kernels

KERNEL = "shm"
BUILD = """
import importlib.util, runpy, sys, time
from pathlib import Path
from nuggets_ray.finetune.deepspeed_kernels import build

torch = Path(importlib.util.find_spec("torch").origin).parent  # importing it takes seconds
FileBaton = runpy.run_path(torch / "utils" / "file_baton.py")["FileBaton"]

folder, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
(folder / "shm").mkdir(exist_ok=True)

def load():  # as torch.utils.cpp_extension loads
    baton = FileBaton(folder / "shm" / "lock")
    if not baton.try_acquire():
        return baton.wait()
    library = folder / "shm" / "shm.so"
    if not library.exists():
        (folder / f"{name}.begun").touch()
        time.sleep(seconds)
        library.touch()
        (folder / f"{name}.ended").touch()
    baton.release()

build("shm", load, lambda text: print(text, flush=True))
print("loaded", flush=True)
"""
"""A process that loads a kernel, and takes so many seconds where it is not compiled yet."""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but what the test puts into the folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(deepspeed_kernels.sys, "executable", str(tmp_path / "python"))
    return tmp_path


def put(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(stat.S_IRWXU)


def test_what_is_missing_is_named_with_the_way_out(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"C\+\+ compiler c\+\+ is not there.*install g\+\+"):
        deepspeed_kernels.check_compiler()
    put(bare, "c++")
    with pytest.raises(UserError, match="ninja is not there.*pip install ninja"):
        deepspeed_kernels.check_compiler()
    put(bare, "ninja")
    deepspeed_kernels.check_compiler()
    monkeypatch.setenv("CXX", "clang++")
    with pytest.raises(UserError, match=r"clang\+\+"):
        deepspeed_kernels.check_compiler()


def test_set_up_goes_on_without_a_compiler(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deepspeed_kernels.main()
    assert "fine-tuning will not work yet" in capsys.readouterr().err


def test_each_environment_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepspeed_kernels.sys, "prefix", str(tmp_path / "env"))
    monkeypatch.setenv("NUGGETS_CACHE", str(tmp_path / "cache"))
    not_writable = deepspeed_kernels.default_folder()
    assert not_writable.startswith(f"{tmp_path}/cache/kernels/py3")
    monkeypatch.setattr(deepspeed_kernels.sys, "prefix", str(tmp_path / "other"))
    assert deepspeed_kernels.default_folder() != not_writable
    (tmp_path / "other").mkdir()
    written = deepspeed_kernels.default_folder()
    assert written.startswith(f"{tmp_path}/other/share/nuggets_ray/kernels/py3")
    monkeypatch.setattr(deepspeed_kernels, "version", lambda package: "9.9")
    assert deepspeed_kernels.default_folder() != written


def test_a_folder_that_is_named_stays(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(deepspeed_kernels.FOLDER, "/mine")
    deepspeed_kernels.set_up_compiler()
    assert os.environ[deepspeed_kernels.FOLDER] == "/mine"
    monkeypatch.delenv(deepspeed_kernels.FOLDER)
    deepspeed_kernels.set_up_compiler()
    assert os.environ[deepspeed_kernels.FOLDER] == deepspeed_kernels.default_folder()
    monkeypatch.delenv(deepspeed_kernels.FOLDER)


def builder(folder: Path, name: str, seconds: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(folder), name, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, deepspeed_kernels.FOLDER: str(folder)},
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_builder_that_is_killed_hangs_nobody(tmp_path: Path) -> None:
    killed = builder(tmp_path, "killed", 1000)
    wait_for((tmp_path / "killed.begun").exists)
    others = [builder(tmp_path, name, 0.1) for name in ("a", "b")]
    for other in others:  # each waits for the first
        assert other.stdout is not None and other.stdout.readline().startswith("waiting for")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (tmp_path / KERNEL / "lock").exists(), "the mark that everyone would wait for"
    said = [other.communicate(timeout=100) for other in others]
    assert [other.returncode for other in others] == [0, 0], said
    assert all(out.endswith("loaded\n") for out, _ in said)
    assert len([path for path in tmp_path.glob("*.ended")]) == 1, "one has compiled for both"
    assert sum("compiling kernels (a minute): shm" in out for out, _ in said) == 1
    assert not (tmp_path / KERNEL / "lock").exists()


def test_a_mark_that_was_left_long_ago_hangs_nobody(tmp_path: Path) -> None:
    (tmp_path / KERNEL).mkdir()
    (tmp_path / KERNEL / "lock").touch()
    out, _ = builder(tmp_path, "a", 0).communicate(timeout=100)
    removed, compiling, *_, loaded = out.splitlines()
    assert removed == f"{tmp_path}/shm/lock is left of a build that was killed: removed"
    assert (compiling, loaded) == ("compiling kernels (a minute): shm", "loaded")


def test_compilers_that_a_killed_builder_has_left_behind_are_waited_for(tmp_path: Path) -> None:
    (tmp_path / KERNEL).mkdir()
    (tmp_path / KERNEL / "lock").touch()
    ninja = tmp_path / "ninja"
    ninja.symlink_to("/bin/sleep")
    left = subprocess.Popen([ninja, "1000"], cwd=tmp_path / KERNEL)
    try:
        process = builder(tmp_path, "a", 0)
        assert process.stdout is not None and process.stdout.readline().startswith("waiting for")
        time.sleep(0.5)
        assert process.poll() is None and not (tmp_path / "a.begun").exists()
    finally:
        left.kill()
        left.wait()
    out, _ = process.communicate(timeout=100)
    assert out.endswith("loaded\n")


def test_another_program_that_builds_there_is_waited_for(tmp_path: Path) -> None:
    """It knows nothing of our lock, but has torch's mark open."""
    (tmp_path / KERNEL).mkdir()
    mark = tmp_path / KERNEL / "lock"
    descriptor = os.open(mark, os.O_CREAT | os.O_EXCL)
    process = builder(tmp_path, "a", 0)
    assert process.stdout is not None and process.stdout.readline().startswith("compiling")
    time.sleep(0.5)
    assert mark.exists() and process.poll() is None
    os.close(descriptor)
    mark.unlink()
    out, _ = process.communicate(timeout=100)
    assert out.endswith("loaded\n")


def test_a_folder_that_cannot_be_locked_is_told_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setenv(deepspeed_kernels.FOLDER, str(tmp_path))
    monkeypatch.setattr(deepspeed_kernels.fcntl, "flock", no_locks)
    told: list[str] = []
    assert deepspeed_kernels.build(KERNEL, lambda: "kernel", told.append) == "kernel"
    assert told[0].endswith("cannot be locked (Function not implemented)")


def test_every_kernel_of_deepspeed_goes_through_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeed.ops.op_builder import CPUAdamBuilder
    from deepspeed.ops.op_builder.builder import OpBuilder

    def jit_load(self: OpBuilder, verbose: bool = True) -> str:
        assert (tmp_path / deepspeed_kernels.LOCK).exists()
        return f"{self.name} {verbose}"

    monkeypatch.setenv(deepspeed_kernels.FOLDER, str(tmp_path))
    monkeypatch.setattr(OpBuilder, "jit_load", jit_load)
    told: list[str] = []
    deepspeed_kernels.build_one_at_a_time(told.append)
    deepspeed_kernels.build_one_at_a_time(told.append)
    assert CPUAdamBuilder().jit_load(False) == "cpu_adam False"
    assert told == ["compiling kernels (a minute): cpu_adam", "compiled cpu_adam in 0 s"]
