"""The vLLM backend with the real vLLM on a CPU: log-probs against the model's own, under everything
that its prefix cache can do, and a job. tests/unit/score has the
guard on a stand-in.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_runs import (
    ROOT,
    manifest_of,
    read_scores,
    result_of,
    run_job,
    score_overrides,
    write_rows,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vllm is not installed"
)

TOLERANCE_NATS = 1e-3
RESCORED = {
    # pairs that the guard refuses; None: some
    "together": None,
    "alone": None,
    "cache off": 0,
    "twins": 4,
    "same candidate again": 0,
    "same candidate again, same salt": None,
    "shared beginning, same salt": 0,
    "a block's end": 2,
    "demo": None,
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What vllm_cases.py found, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "vllm_cases.py"),
         str(tmp_path_factory.mktemp("tiny"))],
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'unit'}",
            "OMP_NUM_THREADS": "1",
        },
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("case", RESCORED)
def test_log_probs_are_the_model_s_own(case: str, answers: dict[str, Any]) -> None:
    facts = answers["cases"][case]
    found, expected = np.array(facts["found"]), np.array(facts["expected"])
    assert np.ptp(expected) > 100 * TOLERANCE_NATS
    np.testing.assert_allclose(found, expected, atol=TOLERANCE_NATS, rtol=0)
    np.testing.assert_array_equal(found == 0, expected == 0)
    if RESCORED[case] is None:
        assert 0 < facts["num_rescored"] < facts["num_pairs"]
    else:
        assert facts["num_rescored"] == RESCORED[case]


def test_every_case_is_looked_at(answers: dict[str, Any]) -> None:
    assert answers["cases"].keys() == RESCORED.keys()


def test_the_check_at_start_compared_with_the_model(answers: dict[str, Any]) -> None:
    why = answers["cases"]["demo"]["why"]
    assert "of the reference; the prefix cache is read, and changes nothing" in why


def test_vllm_accepts_the_keywords_for_given_rows(answers: dict[str, Any]) -> None:
    assert answers["num_accepted"] == answers["cases"]["together"]["num_pairs"]


def test_answers_are_written_in_the_ids_of_tokenizer_json(answers: dict[str, Any]) -> None:
    texts = answers["answers"]
    assert texts["vllm"] == texts["transformers"] and len(set(texts["vllm"])) > 2
    assert " " in "".join(texts["vllm"])


def test_a_job_is_run_and_another_backend_is_refused_its_folder(
    vllm_model: Path, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 8)
    overrides = score_overrides(data, vllm_model, tmp_path / "out", "cluster.num_workers=1")
    ended = run_job("score", *overrides, "score.backend=vllm", "anchors.num=2")
    assert result_of(ended)["num_scored"] == 8
    manifest = manifest_of(tmp_path / "out")
    assert manifest["fingerprint"]["backend"] == manifest["engine"]["engine"] == "vllm"
    [attempt] = manifest["stages"]["score"]["attempts"]
    assert attempt["num_pairs"] == 16 and 0 <= attempt["num_rescored"] < 16
    assert len(read_scores(tmp_path / "out")) == 8
    refused = run_job("score", *overrides, "anchors.num=2")
    assert refused.returncode == 2
    assert "another backend (was vllm, now transformers)" in refused.stderr.splitlines()[-1]
