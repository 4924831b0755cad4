"""Folders of a tiny Llama as people have them: with weights missing, renamed, packed, cut."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


def rewrite(folder: Path, change: Callable[[Tensors], Mapping[str, torch.Tensor]]) -> None:
    """Let `change` make other tensors of those of the folder's one file."""
    file = folder / "model.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def set_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def adding(**tensors: torch.Tensor) -> Callable[[Path], None]:
    """A spoiler that adds tensors; `__` in a name stands for a dot."""
    named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return lambda folder: rewrite(folder, lambda old: old | named)


def without_head(folder: Path) -> None:
    rewrite(folder, lambda old: {k: v for k, v in old.items() if k != "lm_head.weight"})


def prefixed(prefix: str) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, lambda old: {prefix + k: v for k, v in old.items()})


def as_reward_model(folder: Path) -> None:
    without_head(folder)
    adding(score__weight=torch.zeros(1, 32))(folder)


def as_classifier(folder: Path) -> None:
    """A head of a name of its own, and the class that config.json says."""
    set_config(folder, architectures=["LlamaForProcessRewardModel"])
    adding(probe__weight=torch.zeros(2, 32))(folder)


def as_gptq(folder: Path) -> None:
    """The names of a GPTQ checkpoint, whose quantization_config got lost."""

    def pack(old: Tensors) -> Tensors:
        new = {}
        for name, tensor in old.items():
            stem = name.removesuffix(".weight")
            if name.endswith("proj.weight"):
                rows, columns = tensor.shape
                new[f"{stem}.qweight"] = torch.zeros(columns // 8, rows, dtype=torch.int32)
                new[f"{stem}.qzeros"] = torch.zeros(1, rows // 8, dtype=torch.int32)
                new[f"{stem}.scales"] = torch.ones(1, rows, dtype=torch.float16)
                new[f"{stem}.g_idx"] = torch.zeros(columns, dtype=torch.int32)
            else:
                new[name] = tensor
        return new

    rewrite(folder, pack)


def as_float8(has_scales: bool, method: str | None) -> Callable[[Path], None]:
    """Linear layers in float8, with or without scales, of a quant_method that is not known."""

    def pack(old: Tensors) -> Tensors:
        new = {}
        for name, tensor in old.items():
            if name.endswith("proj.weight"):
                scale = tensor.abs().max() / 448
                new[name] = (tensor / scale).to(torch.float8_e4m3fn)
                if has_scales:
                    new[f"{name}_scale"] = scale
            else:
                new[name] = tensor
        return new

    def spoil(folder: Path) -> None:
        rewrite(folder, pack)
        if method is not None:
            set_config(folder, quantization_config={"quant_method": method})

    return spoil


def in_shards(folder: Path) -> None:
    """The same weights in two files with their index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def as_bin(folder: Path, extra: Mapping[str, Any] | None = None) -> Path:
    """The same weights in torch's own format."""
    file = folder / "pytorch_model.bin"
    torch.save({**load_file(folder / "model.safetensors"), **(extra or {})}, file)
    (folder / "model.safetensors").unlink()
    return file


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
