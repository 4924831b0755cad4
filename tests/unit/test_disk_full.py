"""A full disk is recognised in whatever form it is told, and becomes one sentence."""

import errno
import os
from pathlib import Path

import pytest

from nuggets_ray import disk_full, io
from nuggets_ray.disk_full import describe_disk_full, is_disk_full


class Wrapped(Exception):
    """As Ray's RayTaskError: the worker's error is an attribute, its traceback the text."""

    def __init__(self, cause: BaseException, text: str = "a worker failed") -> None:
        super().__init__(text)
        self.cause = cause


def full(path: str | None = None) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def raised_from(error: BaseException) -> BaseException:
    try:
        raise RuntimeError("the part could not be written") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (full(), True),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), True),
        (raised_from(full()), True),
        (Wrapped(full()), True),
        (Wrapped(ValueError("x"), "Traceback ...\nOSError: No space left on device"), True),
        # as safetensors and torch.save tell it, seen on a small file system
        (
            Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
            True,
        ),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 5 vs 3"), True),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("CUDA out of memory"), False),
    ],
)
def test_a_full_disk_is_recognised(error: BaseException, expected: bool) -> None:
    assert is_disk_full(error) is expected


def test_the_sentence_names_the_folder_what_is_kept_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = describe_disk_full(Wrapped(full("/scratch/x/part-1.parquet")), str(tmp_path))
    assert told.startswith("no space is left in /scratch/x: ")
    assert f"what is finished in out_dir={tmp_path} is kept" in told
    assert "run the same command again" in told
    told = describe_disk_full(raised_from(full()), str(tmp_path))
    assert told.startswith("no space is left on some disk that it writes to ([Errno 28] No space")
    monkeypatch.setattr(disk_full, "FEW_BYTES", 1 << 62)
    assert f"no space is left in {tmp_path}: " in describe_disk_full(full(), str(tmp_path))
    assert "out_dir" not in describe_disk_full(full("/a/b"), "")


def test_a_write_without_room_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(descriptor: int) -> None:
        raise full()

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left") as caught:
        io.write_bytes(str(tmp_path / "sub" / "part"), b"x")
    assert caught.value.filename == str(tmp_path / "sub" / "part")
    assert list((tmp_path / "sub").iterdir()) == []
