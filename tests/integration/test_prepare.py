"""Prepare on a real Ray: all rows in order whatever the files, none twice, killed and resumed."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nuggets_ray import io
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.run.skipped import read_skipped
from nuggets_ray.stages.score.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
NUM_ROWS = 3000


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """Rows of half a kilobyte; every 50th is one content, so that there are copies all over."""
    draw = ["the same" if i % 50 == 0 else f"number {i}" for i in range(NUM_ROWS)]
    return [
        {"instruction": f"Say {word}", "input": "", "output": word * 30, "source": f"row {i}"}
        for i, word in enumerate(draw)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2000]))
    pq.write_table(pa.Table.from_pylist(rows[2000:2500]), folder / "2.parquet")
    (folder / "3.json.gz").write_bytes(gzip.compress(json.dumps(rows[2500:]).encode()))
    return folder


@pytest.fixture
def config(tmp_path: Path, data: Path, tiny_model: Path) -> Config:
    return Config(
        out_dir=str(tmp_path / "run"),
        model=ModelConfig(path=str(tiny_model)),
        data=DataConfig(path=str(data), format="alpaca"),
    )


def candidates(config: Config) -> list[dict[str, object]]:
    uris = io.list_files(io.join(config.out_dir, "candidates"), ".parquet")
    return pa.concat_tables([io.read_table(uri) for uri in uris]).to_pylist()


def test_all_rows_of_all_files_in_order(
    config: Config, data: Path, rows: list[dict[str, str]]
) -> None:
    prepared = prepare(replace(config, data=replace(config.data, format="auto")), "try1")
    table = candidates(config)
    assert [json.loads(str(row["row_json"])) for row in table] == rows
    assert [row["content_id"] for row in table] == [
        Rules("alpaca").parse(r).content_id for r in rows
    ]
    assert [row["row_number"] for row in table] == [*range(2000), *range(500), *range(500)]
    assert len({row["example_id"] for row in table}) == NUM_ROWS
    assert prepared.num_duplicates == sum(bool(row["is_duplicate"]) for row in table) == 59
    assert (prepared.num_rows, prepared.num_candidates, prepared.num_skipped) == (3000, 3000, 0)
    assert [(file.path, file.num_bytes, file.sha256) for file in prepared.inputs] == [
        (str(path), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(data.iterdir())
    ]


def test_a_second_call_reads_nothing_and_a_raised_limit_goes_on(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = replace(config, data=replace(config.data, limit=2100))
    prepared = prepare(limited, "try1")
    before = candidates(config)
    assert (prepared.num_rows, len(before), len(prepared.inputs)) == (2100, 2100, 2)
    with monkeypatch.context() as patch:
        patch.setattr("ray.data.from_items", None)
        assert prepare(limited, "try2") == prepared
    more = replace(config, data=replace(config.data, limit=2600))
    assert prepare(more, "try3").num_rows == 2600
    assert candidates(config)[:2100] == before


def test_bad_rows_and_holdout_are_accounted_for(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    good = [json.dumps({"instruction": f"q{i}", "output": "a" * 10}) for i in range(20)]
    long = json.dumps({"instruction": "q", "output": "a" * 5000})
    path.write_text("\n".join([*good, "{", '{"instruction": "q"}', "[]", long]))
    with_holdout = replace(config, data=DataConfig(path=str(path), holdout=5))
    prepared = prepare(with_holdout, "try1")
    reasons = read_skipped(config.out_dir)["reason"].to_pylist()
    assert sorted(reasons[-4:]) == [
        "invalid_json",
        "missing_field:output",
        "not_an_object",
        "too_long",
    ]
    assert reasons[:-4] == ["held_out"] * 5
    assert (prepared.num_candidates, prepared.num_skipped, prepared.num_excluded) == (15, 4, 5)


def test_what_is_wrong_with_the_data_is_one_sentence(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text('[{"instruction": "q", "output": "a"}, {"instruction": "r", "out')
    broken = replace(config, data=DataConfig(path=str(path), format="alpaca"))
    with pytest.raises(UserError, match=r"cut\.json cannot be read: .* after 1 rows"):
        prepare(broken, "try1")
    path.write_text("[]")
    with pytest.raises(UserError, match="no rows"):
        prepare(broken, "try2")
    path.write_text('[{"instruction": "q"}, {"output": "a"}]')
    with pytest.raises(UserError, match="2 of 2 rows cannot be used .*missing_field"):
        prepare(broken, "try3")
    assert candidates_folder_is_clean(config)


def candidates_folder_is_clean(config: Config) -> bool:
    return not io.list_files(io.join(config.out_dir, "candidates"), ".parquet")


DRIVER = """
import sys, ray
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig
from nuggets_ray.stages.score.prepare import prepare
ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=300_000_000)
out_dir, model, data = sys.argv[1:]
config = Config(out_dir=out_dir, model=ModelConfig(path=model), data=DataConfig(path=data))
prepare(config, "killed")
"""


def test_a_killed_driver_leaves_nothing_that_counts(
    config: Config, tiny_model: Path, rows: list[dict[str, str]]
) -> None:
    command = [sys.executable, "-c", DRIVER, config.out_dir, str(tiny_model), config.data.path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    staging = Path(config.out_dir) / "candidates" / "_staging" / "killed"
    while driver.poll() is None and not list(staging.glob("*.parquet")):
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    prepared = prepare(config, "try2")
    assert prepared.num_candidates == NUM_ROWS
    assert [json.loads(str(row["row_json"])) for row in candidates(config)] == rows
