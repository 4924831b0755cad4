"""The main job as a user runs it, on rows with every kind of trouble, against the slow and obvious
way.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from score_runs import manifest_of, read_scores, result_of, run_job, score_overrides, write_rows

NUM_GOOD = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 good rows, 2 more copies of the first that differ in another column, and 5 bad rows."""
    path = write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", NUM_GOOD)
    lines = path.read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    copies = [json.dumps(first | {"tag": f"copy {i}"}) for i in range(2)]
    bad = [
        '{"instruction": "cut',
        '["not", "an object"]',
        '{"instruction": "no output"}',
        '{"instruction": "empty answer", "output": " "}',
        '{"instruction": "lone surrogate \\ud800", "output": "x"}',
    ]
    path.write_text("\n".join(lines + copies + bad) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of all rows, with 2 of them held out."""
    out_dir = tmp_path_factory.mktemp("run") / "out"
    overrides = score_overrides(data, tiny_model, out_dir, "data.holdout=2", "score.block_rows=4")
    result = result_of(run_job("score", *overrides))
    counts = {key: result[key] for key in ("num_rows", "num_scored", "num_skipped", "num_excluded")}
    assert counts["num_rows"] == NUM_GOOD + 2 + 5
    assert counts["num_skipped"] == 5
    assert counts["num_scored"] + counts["num_excluded"] == NUM_GOOD + 2
    return out_dir


def test_every_row_is_accounted_for(finished: Path) -> None:
    scores = read_scores(finished)
    skipped = pq.read_table(finished / "skipped.parquet").to_pylist()
    candidates = pq.read_table(finished / "candidates").to_pylist()
    assert {row["example_id"] for row in candidates} == set(scores)
    rows = [row["row_number"] for row in skipped] + [row["row_number"] for row in candidates]
    assert sorted(rows) == list(range(NUM_GOOD + 2 + 5))
    reasons = {row["row_number"]: row["reason"] for row in skipped if row["reason"] != "held_out"}
    assert reasons == {
        26: "invalid_json",
        27: "not_an_object",
        28: "missing_field:output",
        29: "empty_answer",
        30: "invalid_unicode",
    }


def test_copies_are_rows_with_the_score_of_their_content(finished: Path) -> None:
    scores = read_scores(finished)
    copies = [row for row in scores.values() if row["example_id"] != row["content_id"]]
    assert sorted(row["example_id"][-2:] for row in copies) in (["-2", "-3"], [])
    for row in copies:
        first = scores[row["content_id"]]
        assert {**row, "example_id": ""} == {**first, "example_id": ""}


def test_workers_blocks_and_order_change_no_bit(
    finished: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    lines = data.read_text(encoding="utf-8").splitlines()
    turned = tmp_path / "turned.jsonl"
    turned.write_text("\n".join(lines[::-1]) + "\n", encoding="utf-8")
    overrides = score_overrides(turned, tiny_model, tmp_path / "out", "data.holdout=2")
    one = [o.replace("num_workers=2", "num_workers=1") for o in overrides]
    result_of(run_job("score", *one, "score.block_rows=7"))

    def by_content(out_dir: Path) -> dict[str, bytes]:
        return {
            row["content_id"]: np.float32(row["one_shot_logprob"]).tobytes()
            for row in read_scores(out_dir).values()
        }

    assert by_content(tmp_path / "out") == by_content(finished)


def test_scores_from_python_are_the_job_s(finished: Path, data: Path, tiny_model: Path) -> None:
    from nuggets_ray import open_run, score_rows

    run = open_run(finished)
    rows = run.scores(with_rows=True).to_pylist()
    by_content = {row["content_id"]: row for row in rows}
    anchors = [by_content[content_id] for content_id in run.anchors["content_id"].to_pylist()]
    scores = score_rows(data, anchors=anchors, model=tiny_model, dtype="float32")
    ours = {score.example_id: score for score in scores}
    assert set(ours) >= {row["example_id"] for row in rows}
    names = ("golden_score", "num_wins", "num_anchors", "self_anchor_index", "num_prompt_tokens")
    for row in rows:
        score = ours[row["example_id"]]
        assert [getattr(score, name) for name in names] == [row[name] for name in names]
    matrix = run.matrix()
    assert any(row["self_anchor_index"] is not None for row in rows)
    one_shot = [ours[example_id].one_shot_logprob for example_id in matrix.example_ids]
    np.testing.assert_allclose(one_shot, matrix.one_shot_NA, atol=1e-4)


def test_scores_equal_the_reference(finished: Path, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    from nuggets_ray.config.schema import ModelConfig, PromptConfig
    from nuggets_ray.data.examples import Rules
    from nuggets_ray.model.load import load_tokenizer
    from nuggets_ray.prompts.prompt import make_prompt
    from nuggets_ray.run.anchors import read_anchors
    from nuggets_ray.score.golden import NOISE_BAND_NATS
    from nuggets_ray.score.reference import reference_log_probs

    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    prompt = make_prompt(load_tokenizer(ModelConfig(path=str(tiny_model))), PromptConfig())
    anchors, zero_shot_A = read_anchors(str(finished / "anchors.parquet"))
    encodings = [anchor.encoding for anchor in anchors]
    expected_A = reference_log_probs(model, encodings, [prompt.zero_shot_prefix])[0]
    np.testing.assert_allclose(zero_shot_A, expected_A, atol=1e-4)
    scores = read_scores(finished)
    band = manifest_of(finished)["noise_band_nats"]
    assert band == NOISE_BAND_NATS["float32"]
    num_self_pairs = 0
    for row in pq.read_table(finished / "candidates").to_pylist():
        score = scores[row["example_id"]]
        example = Rules("alpaca").parse(json.loads(row["row_json"]))
        prefix = prompt.demonstration(example).token_ids
        one_shot_A = reference_log_probs(model, encodings, [prefix])[0]
        np.testing.assert_allclose(score["one_shot_logprob"], one_shot_A, atol=1e-4)
        counts_A = np.array([anchor.content_id != row["content_id"] for anchor in anchors])
        num_self_pairs += int((~counts_A).sum())
        delta_A = np.array(score["one_shot_logprob"], np.float32) - zero_shot_A
        assert score["num_anchors"] == counts_A.sum()
        assert score["num_wins"] == (delta_A[counts_A] > 0).sum()
        assert score["num_near_ties"] == (np.abs(delta_A[counts_A]) <= band).sum()
        assert score["golden_score"] == score["num_wins"] / score["num_anchors"]
        assert score["score_low"] <= score["golden_score"] <= score["score_high"]
    assert num_self_pairs >= len(anchors)  # random anchors are drawn from the candidates
    assert np.ptp([row["golden_score"] for row in scores.values()]) > 0


def test_the_preview_can_be_recomputed_with_plain_transformers(
    finished: Path, tiny_model: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    lines = (finished / "preview.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    for line in map(json.loads, lines):
        ids = torch.tensor([line["one_shot_token_ids"]])
        with torch.inference_mode():
            log_probs = model(ids).logits[0, :-1].log_softmax(-1)
        picked = log_probs.gather(1, ids[0, 1:, None])[:, 0]
        answer = torch.tensor(line["one_shot_answer_mask"][1:], dtype=torch.bool)
        assert float(picked[answer].mean()) == pytest.approx(line["one_shot_logprob"], abs=1e-4)


def test_a_finished_run_does_nothing_again(finished: Path, data: Path, tiny_model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "scores").iterdir()}
    overrides = score_overrides(data, tiny_model, finished, "data.holdout=2")
    result = result_of(run_job("score", *overrides))
    assert result["num_scored"] == len(read_scores(finished))
    assert {path: path.stat().st_mtime_ns for path in (finished / "scores").iterdir()} == before
    attempt = manifest_of(finished)["stages"]["score"]["attempts"][-1]
    assert attempt["num_computed"] == 0 and "worker_pids" not in attempt


def test_a_folder_of_former_code_goes_on_unless_its_rows_read_otherwise(
    finished: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    shutil.copytree(finished, out_dir)
    overrides = score_overrides(data, tiny_model, out_dir, "data.holdout=2")
    _as_of_former_code(out_dir)
    result_of(run_job("score", *overrides))
    assert manifest_of(out_dir)["stages"]["score"]["attempts"][-1]["num_computed"] == 0
    [part] = (out_dir / "candidates").glob("*.parquet")
    table = pq.read_table(part)
    ids = ["0" * 32, "1" * 32, *table["content_id"].to_pylist()[2:]]
    pq.write_table(table.set_column(1, "content_id", pa.array(ids)), part)
    _as_of_former_code(out_dir)
    ended = run_job("score", *overrides)
    assert ended.returncode == 2
    assert f"2 of {table.num_rows} rows are read otherwise now" in ended.stderr
    assert f"row {table['row_number'][0].as_py() + 1} (counted from 1)" in ended.stderr


def _as_of_former_code(out_dir: Path) -> None:
    """Candidates as code before versions were kept has prepared them."""
    path = out_dir / "candidates" / "_prepared.json"
    record = json.loads(path.read_text())
    del record["version"]
    path.write_text(json.dumps(record | {"key": "of former code"}))


def test_another_dtype_or_prompt_is_refused_in_the_same_folder(
    finished: Path, data: Path, tiny_model: Path
) -> None:
    overrides = score_overrides(data, tiny_model, finished, "data.holdout=2")
    ended = run_job("score", *overrides, "prompt=official")
    assert ended.returncode == 2
    assert "template" in ended.stderr and "another out_dir" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_select_takes_the_top(finished: Path) -> None:
    result = result_of(run_job("select_topk", f"out_dir={finished}", "select.fraction=0.1"))
    selected = [
        json.loads(line)
        for line in (finished / "selections/golden/selected.jsonl").read_text().splitlines()
    ]
    assert result["num_rows"] == len(selected) == 3
    scores = read_scores(finished)
    best = sorted((row["golden_score"] for row in scores.values()), reverse=True)[:3]
    assert [row["golden_score"] for row in selected] == best
    assert all({"instruction", "input", "output", "tag"} <= set(row) for row in selected)


def test_more_rows_and_other_anchors_rules(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    overrides = score_overrides(
        data, tiny_model, tmp_path / "out", "anchors=kmeans", "anchors.num=4",
        "anchors.exclude_from_candidates=true", "cluster.num_workers=1",
    )  # fmt: skip
    first = result_of(run_job("score", *overrides, "data.limit=10"))
    assert (first["num_scored"], first["num_excluded"]) == (6, 4)
    anchors = pq.read_table(tmp_path / "out/anchors.parquet").to_pylist()
    assert {row["anchor_set"] for row in anchors} == {"kmeans"}
    more = result_of(run_job("score", *overrides, "data.limit=15"))
    assert (more["num_scored"], more["num_excluded"]) == (11, 4)
    assert pq.read_table(tmp_path / "out/anchors.parquet").to_pylist() == anchors
    attempts = manifest_of(tmp_path / "out")["stages"]["score"]["attempts"]
    assert [(a["num_reused"], a["num_computed"]) for a in attempts] == [(0, 6), (6, 5)]


def test_near_ties_are_within_the_measured_noise_of_each_anchor(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    overrides = score_overrides(
        data, tiny_model, out_dir, "anchors.num=6", "score.dtype=bfloat16", "cluster.num_workers=1"
    )
    first = run_job("score", *overrides, "data.limit=12")
    assert first.returncode == 0 and "6 candidates x 6 anchors" in first.stderr
    anchors = pq.read_table(out_dir / "anchors.parquet")
    noise_A = np.array(anchors["rounding_noise"].to_pylist())
    assert (noise_A > 0).all() and np.ptp(noise_A) > 0
    zero_shot_A = anchors["zero_shot_logprob"].to_numpy()
    num_checked = 0
    for row in read_scores(out_dir).values():
        delta_A = np.abs(np.array(row["one_shot_logprob"], np.float32) - zero_shot_A)
        is_near_A = delta_A <= np.maximum(2.4 * noise_A, 1e-4)
        if row["self_anchor_index"] is None:
            assert row["num_near_ties"] == is_near_A.sum()
            num_checked += 1
    assert num_checked == 6
    # a folder of a former version keeps its constant
    pq.write_table(anchors.drop_columns(["rounding_noise"]), out_dir / "anchors.parquet")
    assert run_job("score", *overrides, "data.limit=15").returncode == 0
    assert manifest_of(out_dir)["noise_band_nats"] == 0.054


def test_a_field_with_one_of_our_names_is_refused_before_scoring(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [{"instruction": f"Say {i}.", "output": f"{i}.", "rank": i} for i in range(8)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = score_overrides(data, tiny_model, tmp_path / "out", "anchors.num=2")
    ended = run_job("score", *overrides)
    assert ended.returncode == 2
    assert "rank" in ended.stderr and "select.prefix" in ended.stderr
    assert not (tmp_path / "out/scores").exists()
    assert run_job("score", *overrides, "select.prefix=nuggets_").returncode == 0
