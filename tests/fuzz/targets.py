"""What is fuzzed: each target takes hostile input the way a job would, and says what came of it.

A target returns a word for the table of counts ("loaded", "refused") and how many rows were taken
and skipped. Whatever it raises is a finding.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import hydra  # noqa: F401  # its import is no part of a case, which has its time
import numpy as np
from hostile import (
    NUMBERS,
    WRITERS,
    make_file,
    make_json,
    make_rows,
    make_text,
    make_value,
    spoil,
)
from reported_run import whole_run

from nuggets_ray.config.compose import load
from nuggets_ray.config.keys import all_keys
from nuggets_ray.config.schema import Config, DataConfig, SelectConfig
from nuggets_ray.config.show import ShowConfig
from nuggets_ray.data.examples import Rules, SourceRow, choose_rules, parse_stream
from nuggets_ray.data.formats import FORMATS
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.results import read_results
from nuggets_ray.prepare.staging import (
    STAGED_SCHEMA,
    failure,
    raw_blocks,
    stage_block,
    write_staged,
)
from nuggets_ray.records import Encoding, Example
from nuggets_ray.run.open_run import open_run
from nuggets_ray.run.select import select_candidates
from nuggets_ray.run.show import show_rows
from nuggets_ray.run.status import read_status
from nuggets_ray.run.status_text import status_lines

MAX_MESSAGE_CHARS = 4000


@dataclass
class Outcome:
    """What became of the input: `word` for the table, and of its rows."""

    word: str
    num_taken: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class LetterPrompt:
    """Stands in for Prompt, which needs a tokenizer: a token a character."""

    def demonstration(self, example: Example) -> Encoding:
        lengths = [len(message.content) for message in example.messages]
        mask = np.repeat([message.is_answer for message in example.messages], lengths)
        return Encoding(np.arange(len(mask))[:2048], mask[:2048], max(0, len(mask) - 2048))


PROMPT: Any = LetterPrompt()


def check_message(error: UserError) -> None:
    """One sentence that a terminal shows as it is."""
    text = str(error)
    assert text and "\n" not in text and len(text) <= MAX_MESSAGE_CHARS, repr(text[:300])
    text.encode("utf-8")


def read_file(random: Random, folder: Path) -> Outcome:
    """A file of rows, from listing it to the block that a worker writes."""
    name, content, _ = make_file(random)
    path = folder / name
    path.write_bytes(content)
    try:
        return stage(path, folder, random.choice(("auto",) * 25 + tuple(FORMATS)))
    finally:
        path.unlink()


def stage(path: Path, folder: Path, format: str = "auto") -> Outcome:
    """What preparing writes of the rows of a file."""
    data = DataConfig(str(path), format)
    outcome = Outcome("loaded")
    try:
        files = list_inputs(data.path)
        rules = choose_rules(data, files)
        for raw in raw_blocks(enumerate(files), None):
            if why := failure(raw):
                raise UserError(why)
            staged, _ = stage_block(raw, rules, data, PROMPT)
            assert staged.schema == STAGED_SCHEMA and staged.num_rows == raw.num_rows
            os.unlink(write_staged(str(folder), staged))
            reasons = staged["reason"].to_pylist()
            outcome.reasons.update(reason.split(":")[0] for reason in reasons if reason)
            outcome.num_taken += reasons.count(None)
    except UserError as error:
        check_message(error)
        outcome.word = "refused"
    return outcome


def read_rows(random: Random, folder: Path) -> Outcome:
    """Rows in hand, by every format and by one that is recognised."""
    rows = make_rows(random, 20)
    outcome = Outcome("loaded")
    for name in FORMATS:
        for row in rows:
            _parse(Rules(name), row, outcome)
    _parse(Rules("columns", {"output": "output", "instruction": "prompt"}), rows[0], outcome)
    try:
        numbered = (SourceRow(None, i, row) for i, row in enumerate(rows))
        list(islice(parse_stream(numbered, "auto", {})[1], None))
    except UserError as error:
        check_message(error)
        outcome.word = "refused"
    return outcome


def _parse(rules: Rules, row: object, outcome: Outcome) -> None:
    try:
        example = rules.parse(row)
    except SkipRow as skip:
        assert skip.reason.encode("utf-8", "surrogatepass")
        outcome.reasons[skip.reason.split(":")[0]] += 1
    else:
        assert example.content_id
        outcome.num_taken += 1


@cache
def run_folder(parent: Path) -> Path:
    """A run with scores, a selection, a model and a verdict, once for all cases."""
    return Path(whole_run(str(parent / "run")))


def read_run(random: Random, folder: Path) -> Outcome:
    """A run folder of which one file was cut, mixed up or exchanged by somebody."""
    whole = run_folder(folder)
    broken = folder / "broken"
    shutil.copytree(whole, broken)
    try:
        files = sorted(path for path in broken.rglob("*") if path.is_file())
        _spoil_file(random, random.choice(files), files)
        outcome = Outcome("loaded")
        for read in READERS:
            try:
                with redirect_stdout(StringIO()):
                    read(str(broken))
                outcome.num_taken += 1
            except UserError as error:
                check_message(error)
                outcome.word = "refused"
        return outcome
    finally:
        shutil.rmtree(broken)


def _spoil_file(random: Random, path: Path, files: list[Path]) -> None:
    kind = random.randrange(6)
    content = path.read_bytes()
    if kind == 0 and path.suffix == ".parquet":
        path.write_bytes(WRITERS["parquet"](random, make_rows(random, 3)))
    elif kind == 1 and path.suffix == ".json":
        path.write_bytes(make_json(random, make_value(random)).encode("utf-8", "surrogatepass"))
    elif kind == 2 and path.suffix == ".json":
        value = json.loads(content)
        _exchange(random, value)
        path.write_text(json.dumps(value))  # of ASCII letters alone
    elif kind == 3:
        path.write_bytes(random.choice(files).read_bytes())
    elif kind == 4:
        path.unlink()
        path.symlink_to(
            random.choice((folder := path.parent, path, Path("/dev/null"), folder / "x"))
        )
    else:
        path.write_bytes(spoil(random, content))


def _exchange(random: Random, value: Any) -> None:
    """Put another value in some place of a JSON value."""
    while isinstance(value, dict | list) and value:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if random.random() < 0.4 or not isinstance(value[key], dict | list) or not value[key]:
            value[key] = make_value(random, depth=4)
            return
        value = value[key]


READERS: tuple[Callable[[str], object], ...] = (
    lambda out_dir: open_run(out_dir).manifest,
    lambda out_dir: open_run(out_dir).scores(with_rows=True, prefix="ours_"),
    lambda out_dir: open_run(out_dir).matrix(),
    lambda out_dir: dict(open_run(out_dir).selections),
    lambda out_dir: status_lines(read_status(out_dir), 0.0),
    lambda out_dir: read_results(out_dir),
    lambda out_dir: show_rows(out_dir, ShowConfig()),
    lambda out_dir: select_candidates(
        Config(out_dir, select=SelectConfig(rule="top_k", k=2, name="again"))
    ),
)


def command_line(random: Random, folder: Path) -> Outcome:
    """Overrides of the command line, some of them with values that no shell would let through."""
    keys = all_keys()
    words = []
    for _ in range(random.randrange(1, 4)):
        value = random.choice((make_text(random)[:2000], str(random.choice(NUMBERS))[:400]))
        join = random.choice(("=", "=", "=", "", "==", ":", "=[", "={", "+="))
        words.append(
            random.choice(("", "", "", "+", "~", "-")) + random.choice(keys) + join + value
        )
    try:
        load(words)
    except UserError as error:
        check_message(error)
        return Outcome("refused")
    return Outcome("loaded", 1)


TARGETS = {
    "files": read_file,
    "rows": read_rows,
    "run_folder": read_run,
    "command_line": command_line,
}
