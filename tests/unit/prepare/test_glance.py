"""plan.only=data: what the first rows are read as, and how they look, before all else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.prepare import glance as glance_module
from nuggets_ray.prepare.glance import glance

ROW = {"instruction": "Say one.", "output": "one", "note": "x"}


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def look(capsys: pytest.CaptureFixture[str], data: DataConfig, **more: Any) -> tuple[str, Any]:
    """The page and the job's JSON object."""
    config = Config("", data=data, **more)
    result = glance(config.data, config.model, config.prompt)
    return capsys.readouterr().out, result


def test_what_loads_what_is_skipped_what_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"instruction": "Say two.", "output": ""}
    write(tmp_path / "data" / "train.jsonl", [ROW, bad, ROW, {**ROW, "system": "Be brief."}])
    write(tmp_path / "data" / "test.jsonl", [ROW])
    page, result = look(capsys, DataConfig(str(tmp_path / "data")))
    counts = {"num_rows": 4, "num_examples": 3, "num_skipped": 1, "is_whole": True}
    assert result == {"wrote": [], "status": "done", **counts}
    lines = [" ".join(line.split()) for line in page.splitlines()]
    assert "format alpaca" in lines
    assert "looked at 4 (all)" in lines
    assert "exact copies among them 1" in lines
    assert "read instruction 3, output 3, system 1" in lines
    assert "not read note 3" in lines
    assert any(line.startswith("skipped: empty_answer 1, such as row 2 (counted") for line in lines)
    assert any(line.startswith("left out test.jsonl (stands beside training") for line in lines)
    assert "assistant: «one»" in lines and "system: Be brief." in lines


def test_of_much_data_only_the_first_rows_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance_module, "MAX_ROWS", 30)
    for number in range(25):
        write(tmp_path / f"{number:02d}.jsonl", [{**ROW, "output": f"{number}"}] * 20)
    page, result = look(capsys, DataConfig(str(tmp_path)))
    assert (result["num_rows"], result["is_whole"]) == (27, False), "3 of each third file"
    assert "27, the first; there are more" in page
    assert "assistant: «0»" in page and "assistant: «24»" in page
    _, result = look(capsys, DataConfig(str(tmp_path), limit=25))
    assert (result["num_rows"], result["is_whole"]) == (25, True)
    monkeypatch.setattr(glance_module, "MAX_S", 0.0)
    _, result = look(capsys, DataConfig(str(tmp_path)))
    assert (result["num_rows"], result["is_whole"]) == (1, False), "time is up"


def test_rows_in_the_model_s_template_with_a_tokenizer_alone(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    data = write(tmp_path / "a.jsonl", [ROW, {**ROW, "output": "one " * 150}])
    page, _ = look(
        capsys,
        DataConfig(str(data)),
        model=ModelConfig(str(folder)),
        prompt=PromptConfig("alpaca", max_demonstration_tokens=400),
    )
    lines = [" ".join(line.split()) for line in page.splitlines()]
    assert "template alpaca (prompt.template=alpaca)" in lines
    assert "longer than 400 tokens 1 (data.on_too_long=skip)" in lines
    assert "### Instruction:" in page and "«one" in page


def test_a_format_that_cannot_be_told_is_the_error_of_a_run(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", [{"a": 1}])
    with pytest.raises(UserError, match="data.format"):
        glance(DataConfig(str(data)), ModelConfig(), PromptConfig())
