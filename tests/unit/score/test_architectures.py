"""Every architecture that transformers knows as a causal language model: which engine scores it,
how near its log-probs are to an independent loop's, and what is refused.
"""

import re

import architectures
import pytest
import transformers
from architectures import README, TOLERANCE_NATS, Measured, measured, tables
from tiny_architectures import ARCHITECTURES

from nuggets_ray.errors import UserError

QUICK = {"llama": "tree", "dbrx": "tree", "deepseek_v4": "plain", "bert": "", "bart": ""}


def agree(row: Measured, written: str) -> None:
    """The row is right, and it is the one that the README shows."""
    if row.engine:
        assert row.error < TOLERANCE_NATS and row.leak < TOLERANCE_NATS
        assert f"\n| {row.architecture} | {row.engine} | " in written
    else:
        [line] = [line for line in written.splitlines() if names_it(line, row.architecture)]
        assert line.startswith("* Not built" if row.obstacle else "* Refused, ")


def names_it(line: str, architecture: str) -> bool:
    return line.startswith("* ") and re.search(rf"[ :]{architecture}(,| \(|$)", line) is not None


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_table_says_what_is_measured(architecture: str) -> None:
    agree(measured(architecture), README.read_text("utf-8"))


@pytest.mark.parametrize("architecture", QUICK)
def test_some_of_every_kind(architecture: str) -> None:
    row = measured(architecture)
    assert row.engine == QUICK[architecture] and bool(row.refusal) == (not row.engine)
    agree(row, README.read_text("utf-8"))


def test_the_table_has_every_architecture() -> None:
    written = README.read_text("utf-8")
    lines = written.partition(architectures.BEGIN)[2].partition(architectures.END)[0].splitlines()
    assert lines[1].startswith("Of transformers ")
    if f"transformers {transformers.__version__}," not in lines[1]:
        pytest.skip(f"the table is of another version: {lines[1]}")
    for name in ARCHITECTURES:
        places = [ln for ln in lines if ln.startswith(f"| {name} |") or names_it(ln, name)]
        assert len(places) == 1, name


def test_a_failure_is_told_and_no_row_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model, anchors):
        raise UserError("model.path=x its forward raised Oops: give another")

    monkeypatch.setattr(architectures, "make_engine", refuse)
    rows = [measured("llama"), Measured("odd", obstacle="ImportError: no timm")]
    text = tables([*rows, Measured("fine", "tree", 3e-7, 0.0)])
    assert "* Refused, its forward raised Oops: give another: llama" in text
    assert "* Not built: odd (ImportError: no timm)" in text
    assert "| fine | tree | 3e-07 | 0e+00 |" in text
