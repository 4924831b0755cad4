"""From data files to the tables of the run folder, without Ray: what is kept, and what a kill
leaves.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.schema import Config, DataConfig
from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.examples import Rules, choose_rules
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.errors import UserError
from nuggets_ray.prepare import commit
from nuggets_ray.prepare.commit import finish, read_commit
from nuggets_ray.prepare.prepared import (
    PREPARE_VERSION,
    Prepared,
    Rows,
    check_rows,
    prepare_key,
    read_staged,
)
from nuggets_ray.prepare.staging import (
    STAGED_SCHEMA,
    raw_blocks,
    stage_block,
    write_staged,
)
from nuggets_ray.records import Encoding, Example
from nuggets_ray.run import skipped as skipped_table
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.skipped import LeftOut, read_skipped, rewrite_skipped


class WordPrompt:
    """Stands in for Prompt: a token a character, demonstrations over 40 are cut."""

    def demonstration(self, example: Example) -> Encoding:
        import numpy as np

        lengths = [len(message.content) for message in example.messages]
        mask = np.repeat([message.role == "assistant" for message in example.messages], lengths)
        return Encoding(np.arange(len(mask))[:40], mask[:40], max(0, len(mask) - 40))


def config(tmp_path: Path, **data: object) -> Config:
    data = {"path": str(tmp_path / "data"), "max_skipped_fraction": 0.9, **data}
    return Config(out_dir=str(tmp_path / "run"), data=DataConfig(**data))  # type: ignore[arg-type]


def stage(config: Config, attempt_id: str) -> tuple[list[str], list[str]]:
    """Stage all rows in blocks of two; (URIs of the blocks, paths of the files)."""
    files = list_inputs(config.data.path)
    rules = choose_rules(config.data, files)
    uris = []
    for raw in raw_blocks(enumerate(files), config.data.limit):
        for start in range(0, raw.num_rows, 2):
            block = raw.slice(start, 2)
            staged, _ = stage_block(block, rules, config.data, WordPrompt())  # type: ignore[arg-type]
            assert staged.schema == STAGED_SCHEMA
            uris.append(write_staged(RunFolder(config.out_dir).staging(attempt_id), staged))
    return uris, [file.path for file in files]


def prepare(config: Config, attempt_id: str = "try1") -> Prepared:
    finish(config.out_dir)
    uris, paths = stage(config, attempt_id)
    rows = read_staged(uris[::-1], config.data.limit)
    check_rows(rows, config.data, paths, "alpaca", lambda: None)
    return write(config, attempt_id, rows, paths)


def write(config: Config, attempt_id: str, rows: Rows, paths: list[str]) -> Prepared:
    return commit.write(
        config.out_dir,
        attempt_id,
        attempt_id,
        rows,
        paths=paths,
        inputs=(),
        rules=Rules("alpaca", {}),
        counts=FieldCounts(Counter(instruction=9), Counter(n=3), 1),
        data=config.data,
        seed=config.seed,
    )


def candidates(config: Config) -> pa.Table:
    uris = io.list_files(io.join(config.out_dir, "candidates"), ".parquet")
    return pa.concat_tables([io.read_table(uri) for uri in uris])


def skipped(config: Config) -> list[tuple[str, int, str]]:
    rows = read_skipped(config.out_dir).to_pylist()
    return [(Path(row["source_path"]).name, row["row_number"], row["reason"]) for row in rows]


def line(question: str, answer: str = "a", **more: object) -> str:
    return json.dumps({"instruction": question, "output": answer, **more})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two files: three copies of one content that differ in another column, and all kinds of bad
    rows.
    """
    folder = tmp_path / "data"
    folder.mkdir()
    one = [line("q", n=1), line("r"), "{broken", line(" q", n=2), line("s" * 39, "a" * 12)]
    two = [line("q", "a\n", n=3), line(""), line("t", "a "), line("u", "answer")]
    (folder / "1.jsonl").write_text("\n".join(one))
    (folder / "2.jsonl").write_text("\n".join(two))
    return folder


def test_every_row_is_a_candidate_or_has_a_reason(tmp_path: Path, data: Path) -> None:
    run = config(tmp_path)
    prepared = prepare(run)
    table = candidates(run)
    assert table.schema == commit.SCHEMA
    rows = table.to_pylist()
    places = [(Path(row["source_path"]).name, row["row_number"]) for row in rows]
    assert places == [("1.jsonl", i) for i in (0, 1, 3)] + [("2.jsonl", i) for i in (0, 2, 3)]
    assert [json.loads(row["row_json"]).get("n") for row in rows] == [1, None, 2, 3, None, None]
    assert [row["num_prompt_tokens"] for row in rows] == [1] * 6
    assert [row["num_answer_tokens"] for row in rows] == [1, 1, 1, 1, 1, 6]
    first = rows[0]["content_id"]
    copies = [row["example_id"] for row in rows if row["content_id"] == first]
    assert copies == [first, f"{first}-2", f"{first}-3"]
    assert [row["is_duplicate"] for row in rows] == [False, False, True, True, False, False]
    assert skipped(run) == [
        ("1.jsonl", 2, "invalid_json"),
        ("1.jsonl", 4, "too_long"),
        ("2.jsonl", 1, "empty_instruction"),
    ]
    assert read_skipped(run.out_dir)["excerpt"][0].as_py() == "{broken"
    assert prepared == Prepared(
        num_rows=9,
        num_candidates=6,
        num_duplicates=2,
        num_skipped=3,
        num_excluded=0,
        inputs=(),
        format="alpaca",
        skipped_reasons={"invalid_json": 1, "too_long": 1, "empty_instruction": 1},
        fields_read={"instruction": 9},
        fields_not_read={"n": 3},
        num_greetings=1,
    )
    assert io.read_table(io.join(run.out_dir, "holdout.parquet")).num_rows == 0
    saved = read_commit(run.out_dir)
    assert saved is not None and saved.prepared == prepared
    assert saved.version == PREPARE_VERSION


def test_truncate_keeps_long_rows_and_counts(tmp_path: Path, data: Path) -> None:
    run = config(tmp_path, on_too_long="truncate", excerpt_chars=0)
    prepare(run)
    assert candidates(run)["num_dropped_tokens"].to_pylist() == [0, 0, 0, 11, 0, 0, 0]
    assert set(read_skipped(run.out_dir)["excerpt"].to_pylist()) == {""}


def test_limit_counts_rows_and_raising_it_goes_on(tmp_path: Path, data: Path) -> None:
    first = prepare(config(tmp_path, limit=4))
    ids = candidates(config(tmp_path))["example_id"].to_pylist()
    assert (first.num_rows, first.num_candidates, first.num_skipped) == (4, 3, 1)
    second = prepare(config(tmp_path, limit=6), "try2")
    more = candidates(config(tmp_path))["example_id"].to_pylist()
    assert (second.num_rows, second.num_candidates, second.num_skipped) == (6, 4, 2)
    assert more[:3] == ids and more[3] == f"{ids[0]}-3"


def test_holdout_takes_all_copies_and_is_drawn_once(tmp_path: Path, data: Path) -> None:
    run = config(tmp_path, holdout=3)
    prepared = prepare(run)
    holdout = io.read_table(io.join(run.out_dir, "holdout.parquet")).to_pylist()
    held = {row["content_id"] for row in holdout}
    assert [row["is_duplicate"] for row in holdout] == [False] * 3
    assert len(held) == 3 and held.isdisjoint(candidates(run)["content_id"].to_pylist())
    assert (
        prepared.num_rows == prepared.num_candidates + prepared.num_skipped + prepared.num_excluded
    )
    assert prepared.num_candidates == 6 - prepared.num_excluded
    assert prepared.skipped_reasons["held_out"] == prepared.num_excluded
    assert sum(reason == "held_out" for _, _, reason in skipped(run)) == prepared.num_excluded
    (data / "3.jsonl").write_text("\n".join(line(f"new {i}") for i in range(20)))
    prepare(run, "try2")
    again = io.read_table(io.join(run.out_dir, "holdout.parquet"))
    assert again.to_pylist() == holdout
    assert held.isdisjoint(candidates(run)["content_id"].to_pylist())
    with pytest.raises(UserError, match=r"data\.holdout=2.*data\.holdout=3"):
        prepare(config(tmp_path, holdout=2), "try3")


def test_rows_that_could_not_be_scored_stay_recorded(tmp_path: Path, data: Path) -> None:
    run = config(tmp_path)
    prepare(run)
    table = candidates(run)
    ids = table["content_id"].to_pylist()
    left_out = {ids[0]: LeftOut("killed_worker", 2), ids[1]: LeftOut("error: x", 1)}
    rewrite_skipped(run.out_dir, left_out, 10)
    (data / "0.jsonl").write_text(line("in front of all"))
    (data / "1.jsonl").write_text("\n".join([line("new"), line("q", n=1), line("other")]))
    prepare(run, "try2")
    assert [row for row in skipped(run) if row[2] in ("killed_worker", "error: x")] == [
        ("1.jsonl", 1, "killed_worker"),
        ("2.jsonl", 0, "killed_worker"),
    ]
    assert skipped_table.given_up(run.out_dir) == {ids[0]: LeftOut("killed_worker", 2)}


def test_a_lost_or_doubled_block_is_noticed(tmp_path: Path, data: Path) -> None:
    uris, _ = stage(config(tmp_path), "try1")
    assert len(read_staged(uris, None).copy_N) == 9
    table = io.read_table(uris[0])
    doubled = write_staged(RunFolder(config(tmp_path).out_dir).staging("try1"), table.slice(1))
    for wrong in (uris[1:], uris[:1] + uris[2:], [*uris, doubled]):
        with pytest.raises(RuntimeError, match="do not follow"):
            read_staged(wrong, None)


@pytest.mark.parametrize("kill_at", range(1, 8))
def test_a_kill_at_any_change_leaves_the_old_or_the_new(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    prepare(config(tmp_path, limit=4))
    old = (candidates(config(tmp_path)).num_rows, skipped(config(tmp_path)))
    run = config(tmp_path)
    uris, paths = stage(run, "try2")
    rows = read_staged(uris, None)
    num_changes = 0

    def killing(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: object) -> None:
            nonlocal num_changes
            num_changes += 1
            if num_changes == kill_at:
                raise KeyboardInterrupt
            change(*arguments)

        return changed

    with monkeypatch.context() as patch:
        patch.setattr(io, "write_bytes", killing(io.write_bytes))
        patch.setattr(io, "delete", killing(io.delete))
        try:
            write(run, "try2", rows, paths)
        except KeyboardInterrupt:
            pass
        else:
            assert kill_at == 7
    last = finish(run.out_dir)
    assert last is not None
    now = (candidates(run).num_rows, skipped(run))
    new = (
        6,
        [
            ("1.jsonl", 2, "invalid_json"),
            ("1.jsonl", 4, "too_long"),
            ("2.jsonl", 1, "empty_instruction"),
        ],
    )
    assert now == (old if last.key == "try1" else new)
    assert len(io.list_files(io.join(run.out_dir, "candidates"), ".parquet")) == len(last.parts)
    assert not io.exists(io.join(run.out_dir, "candidates", "_staging"))


def test_data_without_usable_rows_are_errors_with_a_summary(tmp_path: Path, data: Path) -> None:
    with pytest.raises(
        UserError, match=r"3 of 9 rows.*such as row 2 of .*1\.jsonl \{broken"
    ) as error:
        prepare(config(tmp_path, max_skipped_fraction=0.3))
    for part in (
        "1 invalid_json",
        "1 too_long",
        "1 empty_instruction",
        "data.max_skipped_fraction",
    ):
        assert part in str(error.value)
    assert read_commit(config(tmp_path).out_dir) is None
    (data / "1.jsonl").write_text("{\n[\n")
    (data / "2.jsonl").write_text("")
    with pytest.raises(UserError, match="2 of 2 rows cannot be used"):
        prepare(config(tmp_path, max_skipped_fraction=1.0, format="alpaca"))
    (data / "1.jsonl").write_text("")
    for format in ("alpaca", "auto"):
        with pytest.raises(UserError, match=r"data\.path=.*no rows"):
            prepare(config(tmp_path, format=format))


def test_the_key_changes_with_data_and_settings(tmp_path: Path, data: Path) -> None:
    run = config(tmp_path)
    files = list_inputs(run.data.path)
    keys = {
        prepare_key(files, run.data, "p", 0),
        prepare_key(files, run.data, "other prompt", 0),
        prepare_key(files[:1], run.data, "p", 0),
        prepare_key(files, config(tmp_path, limit=3).data, "p", 0),
        prepare_key(files, config(tmp_path, holdout=1).data, "p", 0),
        prepare_key(files, run.data, "p", 1),
    }
    (data / "1.jsonl").write_text("changed")
    keys.add(prepare_key(list_inputs(run.data.path), run.data, "p", 0))
    assert len(keys) == 7
    assert prepare_key(files, run.data, "p", 0) in keys
    # what is tried again is no matter of what is written
    assert prepare_key(files, config(tmp_path, retry=[]).data, "p", 0) in keys
