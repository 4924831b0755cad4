"""What DeepSpeed needs to build its kernels, and the sentence where it is missing."""

import stat
from pathlib import Path

import pytest

from nuggets_ray.config import UserError
from nuggets_ray.finetune import compiler


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but what the test puts into the folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiler.sys, "executable", str(tmp_path / "python"))
    return tmp_path


def put(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(stat.S_IRWXU)


def test_what_is_missing_is_named_with_the_way_out(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"C\+\+ compiler c\+\+ is not there.*install g\+\+"):
        compiler.check_compiler()
    put(bare, "c++")
    with pytest.raises(UserError, match="ninja is not there.*pip install ninja"):
        compiler.check_compiler()
    put(bare, "ninja")
    compiler.check_compiler()
    monkeypatch.setenv("CXX", "clang++")
    with pytest.raises(UserError, match=r"clang\+\+"):
        compiler.check_compiler()


def test_set_up_goes_on_without_a_compiler(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiler.main()
    assert "fine-tuning will not work yet" in capsys.readouterr().err
