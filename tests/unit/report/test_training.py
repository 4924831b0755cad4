"""The trainings in the report."""

from pathlib import Path

from reported_run import add_stage, choose, material, scored, train

from nuggets_ray import io
from nuggets_ray.report.training import read_trainings, training
from nuggets_ray.run.layout import RunFolder


def test_curves_and_what_was_trained(tmp_path: Path) -> None:
    out_dir = choose(scored(str(tmp_path)))
    train(out_dir, "golden")
    section = training(material(out_dir))
    assert section.values["table"].rows == [
        ["golden", "done", "full", "4", "3", "2.000", "0.667", "1.500"]
    ]
    assert section.values["cards"] == ["golden"]
    ((_, serve),) = section.values["commands"]
    assert serve == f"vllm serve {tmp_path}/models/golden --served-model-name golden"
    assert section.pictures[0].alt.endswith("dashed: the loss on held-out rows.")


def test_a_later_attempt_takes_the_place_of_steps_that_were_done_again(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    train(out_dir, "golden")
    run = RunFolder(out_dir)
    io.write_bytes(run.metrics("second"), b'{"step": 2, "loss": 0.5}\n')
    stages = material(out_dir).manifest["stages"]
    first = stages["finetune-golden"]["attempts"][0]
    stages["finetune-golden"]["attempts"] = [first, {**first, "attempt_id": "second"}]
    manifest = material(out_dir).manifest | {"stages": stages}
    io.write_json(run.manifest, manifest)
    (trained,) = read_trainings(material(out_dir))
    assert trained.series("loss") == ([1, 2, 3], [2.0, 0.5, 2.0 / 3])
    assert trained.series("eval_loss") == ([3], [1.5])


def test_a_training_that_told_nothing_yet_has_no_curve(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    add_stage(out_dir, "finetune-golden", status="running", ended=None)
    section = training(material(out_dir))
    assert section.pictures == () and section.values["table"].rows[0][:2] == ["golden", "running"]
    assert section.values["cards"] == []


def test_an_adapter_is_served_over_its_base(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    train(out_dir, "golden")
    record = {"settings": {"finetune.method": "lora"}, "summary": {}}
    io.write_json(RunFolder(out_dir).model("golden").record, record)
    ((_, serve),) = training(material(out_dir)).values["commands"]
    assert "--enable-lora --lora-modules golden=" in serve
