"""An adapter stands for its base with it; beside whole weights it is put over them when asked."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from tiny_models import make_anchor, make_model, random_ids
from transformers import PreTrainedModel

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.adapter import is_adapter, without_adapter
from nuggets_ray.model.load import check_path, load_model, load_tokenizer, resolve_model
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.score.engine import make_engine
from nuggets_ray.score.reference import reference_log_probs

ANCHORS = [make_anchor(0, 5, 4), make_anchor(1, 2, 7)]
PREFIXES = [random_ids(2, 6), random_ids(3, 20)]


@dataclass(frozen=True)
class Folders:
    """A base, an adapter of it, and the log-probs of both."""

    base: Path
    adapter: Path
    plain: np.ndarray
    adapted: np.ndarray


def reference(model: PreTrainedModel) -> np.ndarray:
    return reference_log_probs(model, ANCHORS, PREFIXES)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model = make_model("llama")
    model.save_pretrained(base)
    plain = reference(model)
    settings = LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    adapted = get_peft_model(model, settings).eval()
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(adapter)
    return Folders(base, adapter, plain, reference(adapted.get_base_model()))


def log_probs(config: ModelConfig) -> np.ndarray:
    check_weights(config)
    engine = make_engine(load_model(config, "float32", "cpu"), ANCHORS)
    assert engine.name == "tree"
    return engine.log_probs(PREFIXES)


def describe(folder: Path, **changes: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_an_adapter_brings_its_base_along(folders: Folders) -> None:
    assert np.abs(folders.adapted - folders.plain).max() > 1
    resolved = resolve_model(ModelConfig(str(folders.adapter)))
    assert resolved == ModelConfig(str(folders.base), adapter_path=str(folders.adapter))
    assert resolve_model(resolved) == resolved
    for config in (ModelConfig(str(folders.adapter)), resolved):
        np.testing.assert_allclose(log_probs(config), folders.adapted, atol=1e-4)


def test_beside_whole_weights_it_is_left_out_unless_asked_for(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(folders.adapter, folders.base, dirs_exist_ok=True)
    whole = ModelConfig(str(folders.base))
    np.testing.assert_allclose(log_probs(whole), folders.plain, atol=1e-4)
    assert f"left out: model.adapter_path={folders.base} puts it over them" in caplog.text
    asked = ModelConfig(str(folders.base), adapter_path=str(folders.base))
    np.testing.assert_allclose(log_probs(asked), folders.adapted, atol=1e-4)


def test_a_config_beside_an_adapter_makes_it_no_whole_model(folders: Folders) -> None:
    shutil.copy(folders.base / "config.json", folders.adapter)
    assert is_adapter(str(folders.adapter)) and not is_adapter(str(folders.base))
    assert resolve_model(ModelConfig(str(folders.adapter))).path == str(folders.base)


def test_links_leave_the_adapter_out_and_the_folder_as_it_is(folders: Folders) -> None:
    shutil.copytree(folders.adapter, folders.base, dirs_exist_ok=True)
    before = sorted(file.name for file in folders.base.iterdir())
    with without_adapter(str(folders.base)) as plain:
        names = {file.name for file in Path(plain).iterdir()}
    assert names == set(before) - {"adapter_config.json", "adapter_model.safetensors"}
    assert sorted(file.name for file in folders.base.iterdir()) == before
    with without_adapter(str(folders.adapter.parent)) as plain:
        assert plain == str(folders.adapter.parent)


def test_the_tokenizer_is_the_adapter_s_own_where_it_has_one(
    folders: Folders, tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, folders.base, dirs_exist_ok=True)
    config = ModelConfig(str(folders.adapter))
    assert load_tokenizer(config).chat_template is None
    own = load_tokenizer(config)
    own.chat_template = "{{ messages }}"
    own.save_pretrained(folders.adapter)
    assert load_tokenizer(config).chat_template == "{{ messages }}"


def test_vllm_is_not_given_an_adapter(folders: Folders) -> None:
    with pytest.raises(UserError, match=r"vLLM is given whole models.*merge it into its base"):
        check_weights(ModelConfig(str(folders.adapter)), any_architecture=True)


@pytest.mark.parametrize(
    "base, words",
    [
        (None, ["does not say of which model", "model.path=BASE model.adapter_path="]),
        ("/no/such/base", ["whose base cannot be taken", "/no/such/base does not exist"]),
        ("nobody/none", ["whose base cannot be taken", "the hub cannot be reached"]),
    ],
)
def test_a_base_that_is_not_there_is_told(
    folders: Folders, base: str | None, words: list[str]
) -> None:
    describe(folders.adapter, base_model_name_or_path=base)
    with pytest.raises(UserError) as refused:
        resolve_model(ModelConfig(str(folders.adapter)))
    told = str(refused.value)
    assert told.startswith(f"model.path={folders.adapter} is a peft adapter")
    assert [word for word in words if word not in told] == []


def test_an_adapter_over_an_adapter_is_told(folders: Folders, tmp_path: Path) -> None:
    second = shutil.copytree(folders.adapter, tmp_path / "second")
    describe(second, base_model_name_or_path=str(folders.adapter))
    with pytest.raises(UserError, match="lies over another adapter"):
        check_path(ModelConfig(str(second)))
    with pytest.raises(UserError, match="is an adapter too"):
        check_path(ModelConfig(str(folders.adapter), adapter_path=str(second)))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("adapter_config.json", None, "has no adapter_config.json"),
        ("adapter_model.safetensors", None, "download the rest"),
        ("adapter_config.json", "not json", "adapter_config.json is damaged"),
    ],
)
def test_half_an_adapter_is_told(
    folders: Folders, name: str, content: str | None, words: str
) -> None:
    (folders.adapter / name).unlink()
    if content is not None:
        (folders.adapter / name).write_text(content)
    config = ModelConfig(str(folders.base), adapter_path=str(folders.adapter))
    with pytest.raises(UserError, match=f"model.adapter_path={folders.adapter}.*{words}"):
        check_path(config)


def test_one_that_adds_tokens_is_told(folders: Folders, tmp_path: Path) -> None:
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    get_peft_model(make_model("llama"), settings).save_pretrained(tmp_path / "soft")
    with pytest.raises(UserError, match="PROMPT_TUNING, which puts tokens of its own in front"):
        check_path(ModelConfig(str(folders.base), adapter_path=str(tmp_path / "soft")))


def test_one_of_another_model_is_told(folders: Folders, tmp_path: Path) -> None:
    make_model("llama", num_hidden_layers=1).save_pretrained(tmp_path / "short")
    config = ModelConfig(str(tmp_path / "short"), adapter_path=str(folders.adapter))
    with pytest.raises(UserError, match=f"{folders.adapter} does not fit model.path="):
        load_model(config, "float32", "cpu")


def test_one_on_the_hub_is_to_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["adapter_config.json", "adapter_model.safetensors"]
    files = [SimpleNamespace(rfilename=name) for name in names]
    told = SimpleNamespace(siblings=files)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: told)
    with pytest.raises(UserError, match="somebody/lora is a peft adapter on the hub: download it"):
        resolve_model(ModelConfig("somebody/lora"))
