"""A checkpoint file is data: what it would run is not run, whoever wrote it."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import make_model

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.engine import TAG
from nuggets_ray.finetune.export import checkpoint_tensors, export_weights
from nuggets_ray.finetune.plain_load import FORCE, plain_load

ZERO_3 = {"zero_optimization": {"stage": 3}}


class Command:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def write_checkpoint(folder: Path, **more: object) -> str:
    (folder / TAG).mkdir(parents=True)
    state = {"module": make_model("llama").state_dict(), **more}
    torch.save(state, folder / TAG / "mp_rank_00_model_states.pt")
    torch.save(state, folder / TAG / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    torch.save(state, folder / TAG / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    return str(folder)


@pytest.mark.parametrize("deepspeed", [{}, ZERO_3], ids=["zero2", "zero3"])
def test_a_command_in_a_checkpoint_is_refused(tmp_path: Path, deepspeed: dict) -> None:
    done = tmp_path / "done"
    checkpoint = write_checkpoint(tmp_path / "checkpoint", more=Command(done))
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoint_tensors(checkpoint, FinetuneConfig(deepspeed=deepspeed))
    assert not done.exists()
    assert FORCE not in os.environ


def test_tensors_and_deepspeed_s_own_records_are_read(tmp_path: Path) -> None:
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum

    base = tmp_path / "base"
    make_model("llama").save_pretrained(base)
    own = {"scaler": LossScaler(1.0), "stage": ZeroStageEnum(2)}
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **own)
    out = str(tmp_path / "out")
    export_weights(ModelConfig(path=str(base)), FinetuneConfig(), "float32", checkpoint, out)
    written = load_file(f"{out}/model.safetensors")
    for name, weight in make_model("llama").state_dict().items():
        torch.testing.assert_close(written[name], weight)


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCE, "0")
    with plain_load():
        assert os.environ[FORCE] == "1"
    assert os.environ[FORCE] == "0"
