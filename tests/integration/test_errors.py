"""Each mistake a user makes ends within seconds in one sentence and exit code 2, before a model
loads.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from score_runs import command, environment, run_job, run_process, score_overrides, write_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "empty.jsonl").write_text("")
    rows = [{"instruction": f"Say {i}.", "output": ""} for i in range(9)]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "file").write_text("")
    return write_rows(folder / "rows.jsonl", 12)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("data.path={folder}/rows.jsnl", ["data.path", "rows.jsnl"]),
        ("data.path={folder}/empty.jsonl", ["data.path", "no rows"]),
        ("data.path={folder}/bad.jsonl", ["9 empty_answer", "bad.jsonl", "mend the data"]),
        ("data.limt=3", ["data.limt", "data.limit"]),
        ("data.limit=many", ["data.limit=many"]),
        ("model.path={folder}/nowhere", ["model.path", "nowhere"]),
        ("out_dir={folder}/file/run", ["out_dir", "cannot be written"]),
        ("out_dir=/proc/run", ["out_dir", "cannot be written"]),
        ("cluster.num_workers=0", ["cluster.num_workers=0"]),
        ("cluster.num_workers=4000", ["cluster.num_workers=4000", "room for"]),
        ("anchors.num=100", ["anchors.num=100", "12"]),
    ],
)
def test_one_sentence_and_code_2(
    mistake: str, words: list[str], data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    mistake = mistake.format(folder=data.parent)
    overrides = [*score_overrides(data, tiny_model, tmp_path / "out"), mistake]
    ended = run_job("score", *overrides)
    assert ended.returncode == 2, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and all(word in last for word in words), last
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_cluster_out_of_reach_is_told(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    overrides = score_overrides(data, tiny_model, tmp_path / "out", "cluster.address=127.0.0.1:1")
    ended = run_process("score", *overrides)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "error: cluster.address=127.0.0.1:1: " in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_relative_path_is_the_caller_s(tiny_model: Path, tmp_path: Path) -> None:
    # and may be called anything
    rows, out, model = "rows (é) & 1,2=#%20 'x'.jsonl", 'out [x]{1} "y" ~ $z', "1e5 (質問)"
    write_rows(tmp_path / rows, 8)
    (tmp_path / model).symlink_to(tiny_model)
    overrides = score_overrides(Path(rows), Path(model), Path(out), "anchors.num=2")
    ended = run_job("score", *overrides, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([model, out, rows])


def test_an_out_dir_that_vanishes_ends_the_run(tiny_model: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 400)
    overrides = score_overrides(rows, tiny_model, tmp_path / "out", "anchors.num=40")
    with open(tmp_path / "stderr.txt", "wb") as stderr:
        process = subprocess.Popen(
            command("score", *overrides, "progress_s=0.5", "score.block_rows=4"),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment(),
        )
        while process.poll() is None and not (tmp_path / "out/scores").exists():
            time.sleep(0.05)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)  # a worker may have been writing
        assert process.wait(timeout=300) == 2
    said = (tmp_path / "stderr.txt").read_text()
    assert "has vanished" in said.splitlines()[-1]
    assert "Traceback" not in said
