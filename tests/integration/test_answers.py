"""Answers by replicas on Ray, for a run that ends while they are at it."""

import shutil
from pathlib import Path

import pytest

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.generate.answer import Asked
from nuggets_ray.evaluate.generate.chat import conversation
from nuggets_ray.evaluate.generate.parts import read_answers
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate.answers import open_answers

ASKED = [Asked(conversation([f"Count to {i}."])) for i in range(3)]


def answer_all(model: Path, run: Run) -> list[object]:
    generate = GenerateConfig(backend="transformers", max_tokens=4)
    config = Config(run.out_dir, generate=generate)
    judged = EvalModel("base", ModelConfig(str(model)), PromptConfig("alpaca"))
    with open_answers(config, judged, "float32", Workers(1, 0.0, 1), run) as answers:
        return list(answers(ASKED))


def test_a_folder_that_vanishes_ends_the_answering(tiny_model: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "run"
    with (
        pytest.raises(UserError, match=f"out_dir={out_dir} has vanished while the run was going"),
        Run(str(out_dir), "evaluate") as run,
    ):
        shutil.rmtree(out_dir)
        run.save()  # as its heartbeat does
        answer_all(tiny_model, run)
    assert not (out_dir / "manifest.json").exists()


def test_an_interrupted_answering_goes_on_from_what_is_written(
    tiny_model: Path, tmp_path: Path
) -> None:
    out_dir = str(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), Run(out_dir, "evaluate") as run:
        run.interrupted.set()
        answer_all(tiny_model, run)
    manifest = read_manifest(out_dir)
    assert manifest is not None and manifest["stages"]["evaluate"]["status"] == "interrupted"
    with Run(out_dir, "evaluate") as run:
        answers = answer_all(tiny_model, run)
    assert answers == list(read_answers(RunFolder(out_dir).evaluation.answers("base")).values())
