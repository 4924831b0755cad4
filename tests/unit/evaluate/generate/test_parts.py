"""Answers on disk: what is written is what is read."""

from pathlib import Path

from nuggets_ray.evaluate.generate.answer import Answer
from nuggets_ray.evaluate.generate.parts import read_answers, write_answers

ODD = "a\u2028b\x85c\x0bd\x1ce\r\nf\n\ud7ff\U0001f600"
"""Every character at which Python ends a line, of which JSON escapes some."""


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    given: list[Answer | str] = [Answer(ODD, 3, True), "too long\u2028", Answer("", 0, False)]
    keys = [f"{i:032x}" for i in range(1, 4)]
    write_answers(str(tmp_path), keys, given)
    assert read_answers(str(tmp_path)) == dict(zip(keys, given, strict=True))
    write_answers(str(tmp_path), ["f" * 32], given[:1])
    assert len(list(tmp_path.iterdir())) == 2 and len(read_answers(str(tmp_path))) == 4
    assert read_answers(str(tmp_path / "none")) == {}
