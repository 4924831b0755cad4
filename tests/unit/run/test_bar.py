"""The bar: on a terminal alone, and as wide as it is now."""

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from nuggets_ray.run.bar import open_bar


def test_elsewhere_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    bar = open_bar(10, 2, "candidates")
    bar.update(1)
    bar.close()
    assert bar.disable and capsys.readouterr().err == ""


def test_it_follows_the_terminal_s_width(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)

        def width(columns: int) -> int:
            """Of what is shown last on a terminal of so many columns."""
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            bar.refresh()
            terminal.write("!")
            terminal.flush()
            read = b""
            while not read.endswith(b"!"):
                read += os.read(ours, 65536)
            shown = read.decode().rstrip("!").rstrip("\r").split("\r")[-1]
            assert "2/10 candidates" in shown
            return len(shown.rstrip())

        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        bar = open_bar(10, 2, "candidates")
        assert 80 < width(100) <= 100
        assert 30 < width(50) <= 50
        bar.close()
    os.close(ours)
