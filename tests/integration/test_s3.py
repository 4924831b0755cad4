"""Object stores, against a local S3 server: listing, reading, writing, prepare, a whole run.

GCS goes through the same code (pyarrow.fs) and is not tested.
"""

import gzip
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_store import serving
from score_runs import result_of, run_job, write_rows
from train_jobs import NUM_STEPS, family, kill, overrides, start, wait_for

from nuggets_ray import io
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig
from nuggets_ray.data.inputs import list_inputs, read_rows
from nuggets_ray.errors import UserError
from nuggets_ray.prepare.commit import SCHEMA
from nuggets_ray.run.scores import score_parts
from nuggets_ray.run.status import read_status

ROWS = [{"instruction": f"question {i}", "output": "a" * (i + 1)} for i in range(40)]


@pytest.fixture(scope="module")
def bucket(s3_port: int) -> Iterator[str]:
    """An empty bucket of a server on this machine."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=s3_port, verbose=False)
    server.start()
    store = fs.S3FileSystem(
        endpoint_override=f"127.0.0.1:{s3_port}", scheme="http", allow_bucket_creation=True
    )
    store.create_dir("nuggets")
    yield "s3://nuggets"
    server.stop()


@pytest.fixture(scope="module")
def data(bucket: str) -> str:
    folder = io.join(bucket, "data set")
    lines = "\n".join(json.dumps(row) for row in ROWS[:20]).encode()
    io.write_bytes(io.join(folder, "1.jsonl.gz"), gzip.compress(lines))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS[20:30]), sink)
    io.write_bytes(io.join(folder, "2 %+.parquet"), sink.getvalue())
    io.write_bytes(io.join(folder, "deep", "3.json"), json.dumps(ROWS[30:]).encode())
    io.write_bytes(io.join(folder, "_hidden.json"), b"[1]")
    return folder


def test_folder_glob_and_file(data: str) -> None:
    def found(path: str) -> list[object]:
        return [row for file in list_inputs(path) for row in read_rows(file)]

    assert found(data) == found(data + "/") == ROWS
    assert found(io.join(data, "*.gz")) == found(io.join(data, "1.jsonl.gz")) == ROWS[:20]
    assert found(io.join(data, "**", "[12]*")) == ROWS[:30]
    file = list_inputs(io.join(data, "deep"))[0]
    assert file.path == io.join(data, "deep", "3.json") and file.modified_ns > 0


@pytest.mark.parametrize("status", [503, 500])
def test_a_store_that_is_out_of_order_for_a_while_costs_nothing(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    refuses = tmp_path / "refuses"
    with serving(free_port, refuses, "nuggets"):
        io.write_bytes("s3://nuggets/a", b"before")
        refuses.write_text(str(status))
        later = threading.Timer(3, refuses.unlink)
        later.start()
        io.write_bytes("s3://nuggets/b", b"meanwhile")
        assert not refuses.exists()
        assert io.read_bytes("s3://nuggets/a") == b"before"
        assert io.read_bytes("s3://nuggets/b") == b"meanwhile"


def test_a_store_that_is_not_there_is_told_at_once_and_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    monkeypatch.setattr(io, "NUM_TRIES", 2)
    with pytest.raises(OSError, match="Could not connect"):
        io.read_bytes("s3://nuggets/a")
    assert f"s3://nuggets at http://127.0.0.1:{free_port}: " in caplog.text


def test_nothing_there_is_a_user_error(bucket: str, data: str) -> None:
    for path in (io.join(data, "none.json"), io.join(data, "*.csv"), "s3://no-such-bucket/a.json"):
        with pytest.raises(UserError, match=r"data\.path=s3://"):
            list_inputs(path)


def test_writes_reads_lists_and_deletes(bucket: str) -> None:
    folder = io.join(bucket, "run")
    big = os.urandom(12 << 20)
    for content in (b"old", big, b""):
        io.write_bytes(io.join(folder, "x.bin"), content)
        assert io.read_bytes(io.join(folder, "x.bin")) == content
    table = pa.table({"a": [1, 2]})
    io.write_table(io.join(folder, "sub", "b.parquet"), table)
    io.write_table(io.join(folder, "a.parquet"), table)
    assert io.read_table(io.join(folder, "a.parquet")) == table
    assert io.list_files(folder, ".parquet") == [io.join(folder, "a.parquet")]
    assert io.exists(io.join(folder, "sub")) and not io.exists(io.join(folder, "su"))
    io.delete(io.join(folder, "a.parquet"))
    io.delete(folder)
    io.delete(folder)
    assert not io.exists(io.join(folder, "sub", "b.parquet"))
    assert io.list_files(folder, ".parquet") == []
    with pytest.raises(FileNotFoundError):
        io.read_bytes(io.join(folder, "x.bin"))


def test_prepare_from_a_bucket_into_a_bucket(bucket: str, data: str, tiny_model: Path) -> None:
    from nuggets_ray.stages.score.prepare import prepare

    config = Config(
        out_dir=io.join(bucket, "prepared run"),
        model=ModelConfig(path=str(tiny_model)),
        data=DataConfig(path=data, holdout=4),
    )
    prepared = prepare(config, "try1")
    assert (prepared.num_rows, prepared.num_candidates, prepared.num_excluded) == (40, 36, 4)
    (part,) = io.list_files(io.join(config.out_dir, "candidates"), ".parquet")
    table = io.read_table(part)
    assert table.schema == SCHEMA
    assert set(table["source_path"].to_pylist()) == {file.path for file in list_inputs(data)}
    assert [file.sha256 for file in prepared.inputs] == [
        io.sha256(file.path) for file in list_inputs(data)
    ]
    assert io.read_table(io.join(config.out_dir, "skipped.parquet")).num_rows == 4
    assert prepare(config, "try2") == prepared


def test_a_whole_run_in_a_bucket_and_a_selection_of_it(
    bucket: str, data: str, tiny_model: Path
) -> None:
    out_dir = io.join(bucket, "runs", "first")
    result = result_of(
        run_job(
            "score",
            f"data.path={data}",
            f"out_dir={out_dir}",
            f"model.path={tiny_model}",
            "anchors.num=4",
            "score.dtype=float32",
            "score.block_rows=10",
            "progress_s=1",
            "cluster.address=local",
            "cluster.num_workers=1",
            "cluster.object_store_gib=0.15",
        )  # fmt: skip
    )
    assert (result["num_scored"], result["num_skipped"], result["num_excluded"]) == (40, 0, 0)
    assert all(io.exists(uri) for uri in result["wrote"])
    assert not io.exists(io.join(out_dir, "lease.json"))
    manifest = json.loads(io.read_bytes(io.join(out_dir, "manifest.json")))
    assert manifest["stages"]["score"]["status"] == "done"
    assert len(io.list_files(io.join(out_dir, "metrics"), ".jsonl")) == 1
    status = read_status(out_dir)
    assert (status.state, status.counts["num_scored"]) == ("done", 40)
    assert status.told is not None and status.told.phase == "done"
    with pytest.raises(UserError, match="no run has begun there"):
        read_status(io.join(bucket, "runs", "second"))
    (part,) = score_parts(out_dir)  # four blocks were written, then compacted
    scores = {row["example_id"]: row for row in io.read_table(part).to_pylist()}
    assert len(scores) == 40

    shown = result_of(run_job("show", f"out_dir={out_dir}", "show.search=question 7"))
    assert shown["num_rows"] == 1
    result = result_of(run_job("select_topk", f"out_dir={out_dir}", "select.fraction=0.1"))
    assert (result["num_rows"], result["partial"]) == (4, False)
    jsonl = io.read_bytes(io.join(out_dir, "selections", "golden", "selected.jsonl"))
    selected = [json.loads(line) for line in jsonl.decode().splitlines()]
    best = sorted((row["golden_score"] for row in scores.values()), reverse=True)[:4]
    assert [row["golden_score"] for row in selected] == best
    for row in selected:
        assert row["golden_score"] == scores[row["example_id"]]["golden_score"]
        assert {key: row[key] for key in ROWS[0]} in ROWS


@pytest.mark.slow
def test_a_fine_tune_goes_on_from_a_checkpoint_in_the_store(
    bucket: str, tiny_model: Path, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    out_dir = io.join(bucket, "finetune")
    named = io.join(out_dir, "finetune", "rows", "checkpoints.json")
    process = start(rows, tiny_model, out_dir, tmp_path)
    wait_for(lambda: io.exists(named), process)
    kill(family(process))
    process.wait()
    reached = json.loads(io.read_bytes(named))["last"]["step"]
    assert reached < NUM_STEPS
    ended = run_job("finetune", *overrides(rows, tiny_model, out_dir))
    assert result_of(ended)["num_steps"] == NUM_STEPS
    assert f"going on after step {reached}" in ended.stderr
    last = json.loads(io.read_bytes(named))["last"]
    history = io.read_bytes(io.join(last["uri"], "history.jsonl")).splitlines()
    assert len([line for line in history if b"grad_norm" in line]) == NUM_STEPS
    model = io.join(out_dir, "models", "rows")
    assert io.exists(io.join(model, "model.safetensors"))
    assert io.exists(io.join(model, "finetune.json"))
    assert io.exists(io.join(out_dir, "finetune", "rows", "tensorboard"))
