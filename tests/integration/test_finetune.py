"""Fine-tuning as a user runs it: trained, exported, killed at any moment, refused in a sentence."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from score_runs import command, environment, manifest_of, result_of, run_job, write_rows
from train_jobs import NUM_STEPS, family, kill, overrides, start, wait_for

from nuggets_ray.config.schema import Config, DataConfig
from nuggets_ray.io import write_json, write_table
from nuggets_ray.records import Example, Message
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder

NUM_ROWS = 48


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_ROWS)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("undisturbed") / "out"
    result_of(run_job("finetune", *overrides(data, tiny_model, out_dir)))
    return out_dir


def committed(out_dir: Path) -> dict[str, Any]:
    path = out_dir / "finetune" / "rows" / "checkpoints.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def last_step(out_dir: Path) -> int:
    return int(committed(out_dir).get("last", {}).get("step", 0))


def losses(out_dir: Path) -> list[tuple[int, float]]:
    """(step, loss), and (step, loss on the held-out rows), as the last checkpoint tells them."""
    history = Path(committed(out_dir)["last"]["uri"]) / "history.jsonl"
    records = [json.loads(line) for line in history.read_text().splitlines()]
    return [(r["step"], r.get("loss", r.get("eval_loss"))) for r in records]


def train_workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for child in family(process):
        try:
            if any("TrainWorker" in word for word in child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def test_a_run_trains_evaluates_and_exports(undisturbed: Path, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = losses(undisturbed)
    assert len(found) == NUM_STEPS + NUM_STEPS // 10
    assert found[-2][1] < 0.7 * found[0][1]
    folder = undisturbed / "models" / "rows"
    AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert "### Response:" in tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "44 rows" in card and '"learning_rate": 0.001' in card
    there = {path.name for path in (undisturbed / "finetune" / "rows").iterdir()}
    assert there == {"checkpoints", "checkpoints.json", "loss.png", "tensorboard"}
    assert committed(undisturbed)["best"]["eval_loss"] == min(loss for step, loss in found[10::11])
    [attempt] = manifest_of(undisturbed)["stages"]["finetune-rows"]["attempts"]
    assert 0 < attempt["predicted_s"] < 20 * attempt["actual_s"]
    [metrics] = (undisturbed / "metrics").glob("*.jsonl")
    told = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [r["step"] for r in told if "loss" in r] == list(range(1, NUM_STEPS + 1))


def test_started_again_nothing_is_left_to_do(
    undisturbed: Path, data: Path, tiny_model: Path
) -> None:
    before = (undisturbed / "models" / "rows" / "model.safetensors").stat().st_mtime_ns
    ended = run_job("finetune", *overrides(data, tiny_model, undisturbed))
    assert result_of(ended)["num_steps"] == NUM_STEPS
    assert "nothing is left to do" in ended.stderr
    assert (undisturbed / "models" / "rows" / "model.safetensors").stat().st_mtime_ns == before


def test_kills_of_worker_and_driver_change_no_loss(
    undisturbed: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    process = start(data, tiny_model, out_dir, tmp_path, "finetune.eval_steps=4")
    wait_for(lambda: last_step(out_dir) >= 10, process)
    workers = train_workers(process)
    assert len(workers) == 2
    kill(workers[:1])  # Ray Train starts both again, from the last checkpoint
    wait_for(lambda: last_step(out_dir) >= 30, process)
    kill(family(process))
    process.wait()
    reached = last_step(out_dir)
    assert reached < NUM_STEPS
    half = out_dir / "finetune" / "rows" / "checkpoints" / "killed" / "step-00000099"
    half.mkdir(parents=True)
    (half / "history.jsonl").write_text("")

    result_of(run_job("finetune", *overrides(data, tiny_model, out_dir, "finetune.eval_steps=4")))
    found, expected = losses(out_dir), losses(undisturbed)
    assert [loss for loss in found if loss in expected] == expected
    looked_at = [step for step, _ in found if step % 4 == 0 or step % 10 == 0]
    assert sorted(step for step, _ in found) == sorted([*range(1, NUM_STEPS + 1), *set(looked_at)])
    assert not half.exists()
    attempts = manifest_of(out_dir)["stages"]["finetune-rows"]["attempts"]
    assert [a["status"] for a in attempts] == ["killed", "done"]
    assert attempts[0]["resumed_from"] == [0, attempts[0]["resumed_from"][1]]
    assert attempts[1]["resumed_from"] == [reached]
    weights = [d / "models" / "rows" / "model.safetensors" for d in (out_dir, undisturbed)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_training_goes_on_with_another_number_of_workers(
    undisturbed: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    process = start(data, tiny_model, out_dir, tmp_path)
    wait_for(lambda: last_step(out_dir) >= 10, process)
    kill(family(process))
    process.wait()
    reached = last_step(out_dir)
    assert reached < NUM_STEPS

    ended = run_job("finetune", *overrides(data, tiny_model, out_dir, "cluster.num_workers=1"))
    assert result_of(ended)["num_steps"] == NUM_STEPS
    assert f"finetune.name=rows at step {reached} was written by 2 workers" in ended.stderr
    found, expected = losses(out_dir), losses(undisturbed)
    assert [step for step, _ in found] == [step for step, _ in expected]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected], rel=1e-3)
    record = json.loads((out_dir / "models" / "rows" / "finetune.json").read_text())
    assert record["num_workers"] == {"1": 2, str(reached + 1): 1}


def test_no_held_out_row_of_a_folder_of_former_code_trains(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Its ids are of rows without their indentation, so none is that of a row as it is read now."""
    rows = [{"instruction": f"Go on {i}.", "output": f"    return {i}"} for i in range(12)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out_dir = str(tmp_path / "out")
    write_config(out_dir, "score", Config(out_dir, data=DataConfig(str(data))))
    manifest = {"schema_version": 1, "stages": {}, "data_format": "alpaca"}
    write_json(RunFolder(out_dir).manifest, manifest)
    former = [
        Example((Message("user", row["instruction"]), Message("assistant", row["output"].strip())))
        for row in rows[:4]
    ]
    held_out = {
        "content_id": [example.content_id for example in former],
        "row_json": [json.dumps(row) for row in rows[:4]],
    }
    write_table(RunFolder(out_dir).held_out, pa.table(held_out))
    ended = run_job(
        "finetune",
        *overrides(data, tiny_model, out_dir, "finetune.min_steps=2", "finetune.max_steps=2"),
        "cluster.num_workers=1",
    )
    result = result_of(ended)
    assert result["num_rows"] == len(rows) - 4
    assert result["eval_loss"] is not None


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_checkpoint(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    process = start(data, tiny_model, out_dir, tmp_path)
    wait_for(lambda: last_step(out_dir) >= 10, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=300) == 130
    said = (tmp_path / "stderr.txt").read_text()
    assert "run the same command again" in said and "Traceback" not in said
    assert manifest_of(out_dir)["stages"]["finetune-rows"]["status"] == "interrupted"


def test_a_loss_that_is_no_number_stops_the_run(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    more = ("finetune.learning_rate=1e36", "finetune.checkpoint_steps=1")
    ended = run_job("finetune", *overrides(data, tiny_model, out_dir, *more))
    assert ended.returncode == 2, ended.stderr
    [told] = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "finetune.learning_rate=1e+36: the loss of step" in told
    assert not (out_dir / "models").exists()
    if "is kept" in told:
        assert Path(committed(out_dir)["last"]["uri"]).is_dir()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["finetune.selection=golden"], ["finetune.selection=golden", "there are: none"]),
        (["data.limit=1", "data.holdout=0"], ["cluster.num_workers=2: there are 1 rows"]),
        (["finetune.max_row_tokens=60"], ["48 of 48 rows are longer than 60", "on_too_long=skip"]),
        (["finetune.max_row_tokens=9000"], ["the model's context is 4096"]),
        (["finetune.deepspeed.bf16.enabled=true"], ["finetune.deepspeed.bf16", "finetune.dtype"]),
        (["data.holdout=0", "finetune.eval_steps=5"], ["finetune.eval_steps=5", "no row is held"]),
        (["data.path="], ["finetune.selection is missing", "data.path=..."]),
    ],
)
def test_a_mistake_is_one_sentence(
    data: Path, tiny_model: Path, tmp_path: Path, more: list[str], words: list[str]
) -> None:
    ended = run_job("finetune", *overrides(data, tiny_model, tmp_path / "out", *more))
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    told = ended.stderr.splitlines()[-1]
    assert told.startswith("error: ") and all(word in told for word in words), told


def test_a_missing_compiler_is_one_sentence(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    arguments = overrides(data, tiny_model, tmp_path / "out")
    ended = subprocess.run(
        command("finetune", *arguments),
        capture_output=True,
        text=True,
        timeout=600,
        env={**environment(), "CXX": "no-such-compiler"},
    )
    assert ended.returncode == 2, ended.stderr
    assert "the C++ compiler no-such-compiler is not there" in ended.stderr.splitlines()[-1]
