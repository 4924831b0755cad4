"""Token ids are those of tokenizer.json, whichever class its folder names."""

import base64
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

from nuggets_ray.config.schema import Config, ModelConfig, check
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.export import write_tokenizer
from nuggets_ray.model import tokenizer_file as module
from nuggets_ray.model.identity import tokenizer_fingerprint
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.model.tokenizer_file import copy_where_misread, is_read_alike

TEXTS = (
    "The town is old, isn't it? Don't go.",
    "def area(r):\n    if r:\n        return 3.14 * r  # 12345 and 678\n\n\n\tend",
    "caf\u00e9 cafe\u0301 \u4f60\u597d \U0001f600  spaces   here ",
)
SPECIALS = ["<s>", "</s>", "<unk>", "<pad>"]
REGEX = r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ROLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def trained(tokenizer: Tokenizer, trainer: Any, **keywords: Any) -> Tokenizer:
    made = trainer(special_tokens=SPECIALS, show_progress=False, **keywords)
    tokenizer.train_from_iterator([*TEXTS] * 60, made)
    return tokenizer


def byte_level(pre_tokenizer: Any, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, trainers.BpeTrainer, vocab_size=500, initial_alphabet=alphabet)


def split(regex: str) -> Any:
    steps = [
        pre_tokenizers.Split(Regex(regex), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(steps)


def word_marks(scheme: str | None) -> Tokenizer:
    """As Llama 2's: BPE with bytes to fall back on, whose words are marked by a pre-tokeniser, or
    (None) by a normaliser.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    made = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[*SPECIALS, *alphabet], show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS] * 60, made)
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = described["added_tokens"][: len(SPECIALS)]
    described["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(described))
    if scheme is None:
        steps = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    decoder = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    strip = [] if scheme == "never" else [decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence([*decoder, *strip])
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return trained(tokenizer, trainers.UnigramTrainer, vocab_size=200, unk_token="<unk>")


def word_piece(lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return trained(tokenizer, trainers.WordPieceTrainer, vocab_size=200)


ByteLevel = pre_tokenizers.ByteLevel
PLAIN = ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), PLAIN])
STRIP = normalizers.Sequence([normalizers.Strip(), normalizers.NFC()])
FILES: dict[str, Tokenizer] = {
    "byte_level": byte_level(PLAIN),
    "prefix_space": byte_level(ByteLevel(add_prefix_space=True)),
    "digits": byte_level(DIGITS),
    "regex": byte_level(split(REGEX)),
    "strip": byte_level(PLAIN, STRIP),
    "prepend": word_marks(None),
    "metaspace": word_marks("first"),
    "never": word_marks("never"),
    "unigram": unigram(),
    "word_piece": word_piece(lowercase=False),
}
CLASSES = (
    *("LlamaTokenizer", "LlamaTokenizerFast", "GPT2Tokenizer", "Qwen2Tokenizer"),
    *("GemmaTokenizer", "PreTrainedTokenizerFast"),
)


def save(folder: Path, name: str, tokenizer_class: str, model: str = "llama", **more: Any) -> str:
    FILES[name].save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": model}))
    described = {"tokenizer_class": tokenizer_class, **ROLES, **more}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return str(folder)


def ids(tokenizer: Any) -> list[list[int]]:
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = tokenizer.backend_tokenizer
    texts = (*TEXTS, "0  1   2    3     4", " leading")
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def decoded(tokenizer: Any) -> list[str]:
    return [tokenizer.decode(one, skip_special_tokens=False) for one in ids(tokenizer)]


@pytest.mark.parametrize("tokenizer_class", CLASSES)
@pytest.mark.parametrize("name", FILES)
def test_the_ids_are_the_file_s(name: str, tokenizer_class: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(save(tmp_path, name, tokenizer_class)))
    assert ids(tokenizer) == ids(FILES[name])
    assert decoded(tokenizer) == decoded(FILES[name])
    assert ids(pickle.loads(pickle.dumps(tokenizer))) == ids(FILES[name]), "as a worker gets it"
    assert {role: getattr(tokenizer, role) for role in ROLES} == ROLES
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert ids(again) == ids(FILES[name]) and decoded(again) == decoded(FILES[name])


@pytest.mark.parametrize(
    ("name", "tokenizer_class", "asked"),
    [
        ("byte_level", "GPT2Tokenizer", {"add_prefix_space": True}),
        ("prefix_space", "GPT2Tokenizer", {"add_prefix_space": False}),
        ("metaspace", "LlamaTokenizer", {"add_prefix_space": False}),
        ("prepend", "LlamaTokenizer", {"add_prefix_space": False}),
        ("prepend", "LlamaTokenizer", {"legacy": False}),
        ("prepend", "LlamaTokenizerFast", {"legacy": True}),
        ("never", "LlamaTokenizer", {"add_prefix_space": True}),
        ("word_piece", "BertTokenizer", {"do_lower_case": True}),
        ("word_piece", "BertTokenizer", {"do_lower_case": False, "strip_accents": True}),
    ],
)
def test_what_tokenizer_config_asks_for_stays_and_is_told(
    name: str,
    tokenizer_class: str,
    asked: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    path = save(tmp_path, name, tokenizer_class, **asked)
    tokenizer = load_tokenizer(ModelConfig(path))
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(
        AutoTokenizer.from_pretrained(path)
    )
    [told] = [record for record in caplog.records if "tokenizer_config.json asks" in record.message]
    assert told.levelname == "INFO" and f"{next(iter(asked))}=" in told.message


def test_a_setting_that_does_not_explain_the_difference_excuses_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, "regex", "LlamaTokenizerFast", legacy=True, add_prefix_space=False)
    assert ids(load_tokenizer(ModelConfig(path))) == ids(FILES["regex"])


def test_the_repaired_regex_of_mistral_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = save(tmp_path, "regex", "PreTrainedTokenizerFast", "mistral", fix_mistral_regex=True)
    described = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = described["model"]["vocab"]  # transformers repairs large ones only
    vocabulary |= {f"\u0120{n}\u0120": n for n in range(len(vocabulary), 100_001)}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    tokenizer = load_tokenizer(ModelConfig(path))
    assert ids(tokenizer) == ids(AutoTokenizer.from_pretrained(path)) != ids(FILES["regex"])
    assert "asks (fix_mistral_regex=true)" in caplog.text


def test_the_misread_text_and_the_class_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = ModelConfig(save(tmp_path, "byte_level", "LlamaTokenizerFast"))
    for _ in range(3):
        load_tokenizer(config)
    [told] = [record for record in caplog.records if "misreads" in record.message]
    assert told.levelname == "WARNING"
    for part in (f"model.path={tmp_path}", "LlamaTokenizer misreads", "model.tokenizer=", "river"):
        assert part in told.message


def test_the_user_may_choose_either_reading(tmp_path: Path) -> None:
    path = save(tmp_path, "regex", "GPT2Tokenizer")
    own, of_class = ids(FILES["regex"]), ids(AutoTokenizer.from_pretrained(path))
    choices = {"auto": own, "file": own, "transformers": of_class}
    assert own != of_class
    for choice, expected in choices.items():
        assert ids(load_tokenizer(ModelConfig(path, tokenizer=choice))) == expected
    asking = save(tmp_path, "byte_level", "GPT2Tokenizer", add_prefix_space=True)
    assert ids(load_tokenizer(ModelConfig(asking))) != ids(FILES["byte_level"])
    chosen = load_tokenizer(ModelConfig(asking, tokenizer="file"))
    assert ids(chosen) == ids(FILES["byte_level"])


def test_a_choice_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match="model.tokenizer=own: take one of auto, file, transf"):
        check(Config(model=ModelConfig("/m", tokenizer="own")))
    with pytest.raises(UserError, match="model.tokenizer=file: give model.path too"):
        check(Config(model=ModelConfig(tokenizer="file")))


def test_a_folder_without_the_file_is_read_as_before(tmp_path: Path) -> None:
    path = save(tmp_path, "byte_level", "GPT2Tokenizer")
    FILES["byte_level"].model.save(path)  # vocab.json and merges.txt
    (tmp_path / "tokenizer.json").unlink()
    found = load_tokenizer(ModelConfig(path))
    assert tokenizer_fingerprint(found) == tokenizer_fingerprint(
        AutoTokenizer.from_pretrained(path)
    )
    with pytest.raises(UserError, match=f"model.tokenizer=file: model.path={path} has no tokeniz"):
        load_tokenizer(ModelConfig(path, tokenizer="file"))


def test_a_file_that_its_class_cannot_load_is_read_as_it_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path, "byte_level", "T5Tokenizer")
    with pytest.raises(TypeError):
        AutoTokenizer.from_pretrained(path)
    assert ids(load_tokenizer(ModelConfig(path))) == ids(FILES["byte_level"])
    assert "cannot load its tokenizer's class (TypeError" in caplog.text
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(UserError, match=f"model.path={path} has no tokenizer that can be loaded"):
        load_tokenizer(ModelConfig(path))


def test_the_fingerprint_changes_with_the_ids_alone(tmp_path: Path) -> None:
    same = save(tmp_path, "byte_level", "GPT2Tokenizer")
    before = tokenizer_fingerprint(AutoTokenizer.from_pretrained(same))
    assert tokenizer_fingerprint(load_tokenizer(ModelConfig(same))) == before
    misread = save(tmp_path, "byte_level", "LlamaTokenizer")
    readings = [ModelConfig(misread, tokenizer=name) for name in ("auto", "transformers")]
    assert len({tokenizer_fingerprint(load_tokenizer(reading)) for reading in readings}) == 2


def test_roles_template_and_added_tokens_are_kept(tmp_path: Path) -> None:
    path = save(tmp_path, "byte_level", "LlamaTokenizer", chat_template="{{ messages[0] }}")
    described = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del described["eos_token"]  # the class has </s> by default
    more = {"additional_special_tokens": ["<|turn|>"], "model_max_length": 77}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(described | more))
    tokenizer = load_tokenizer(ModelConfig(path))
    assert (tokenizer.eos_token_id, tokenizer.model_max_length) == (1, 77)
    assert tokenizer.chat_template == "{{ messages[0] }}"
    assert tokenizer("<|turn|>a").input_ids[0] == FILES["byte_level"].get_vocab_size()


def test_a_file_that_cuts_and_pads_does_neither(tmp_path: Path) -> None:
    path = save(tmp_path, "byte_level", "LlamaTokenizer")
    cutting = Tokenizer.from_file(f"{path}/tokenizer.json")
    cutting.enable_truncation(max_length=4)
    cutting.enable_padding(length=16)
    cutting.save(f"{path}/tokenizer.json")
    tokenizer: Any = load_tokenizer(ModelConfig(path))
    assert ids(tokenizer) == ids(FILES["byte_level"])
    assert tokenizer(TEXTS[0], add_special_tokens=False).input_ids == ids(tokenizer)[0]


@pytest.mark.parametrize("ignores_merges", [False, True])
def test_what_only_the_file_s_own_tokens_show(ignores_merges: bool, tmp_path: Path) -> None:
    """A token that no merge leads to, which a class that leaves `ignore_merges` out never gives."""
    path = save(tmp_path, "byte_level", "GPT2Tokenizer")
    described = json.loads((tmp_path / "tokenizer.json").read_text())
    described["model"]["vocab"]["zyxwv"] = len(described["model"]["vocab"])
    described["model"]["ignore_merges"] = ignores_merges
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    assert len(load_tokenizer(ModelConfig(path)).tokenize("zyxwv")) == (1 if ignores_merges else 5)


def test_other_tools_get_a_copy_where_they_would_misread(tmp_path: Path) -> None:
    path = save(tmp_path, "regex", "Qwen2Tokenizer", "qwen2")
    tokenizer = load_tokenizer(ModelConfig(path))
    with copy_where_misread(tokenizer, path, None, False) as copied:
        assert copied is not None
        assert ids(AutoTokenizer.from_pretrained(copied)) == ids(FILES["regex"])
    own = save(tmp_path, "regex", "PreTrainedTokenizerFast")
    with copy_where_misread(load_tokenizer(ModelConfig(own)), own, None, False) as copied:
        assert copied is None


def test_an_exported_tokenizer_that_others_would_misread_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for model, is_named in (("llama", False), ("qwen2", True)):
        base, out = tmp_path / model, tmp_path / f"{model}-out"
        base.mkdir()
        out.mkdir()
        config = ModelConfig(save(base, "regex", "LlamaTokenizer", model))
        (out / "config.json").write_text((base / "config.json").read_text())
        write_tokenizer(load_tokenizer(config), config, 1, str(out))
        assert is_read_alike(load_tokenizer(config), str(out)) is not is_named
        assert ids(load_tokenizer(ModelConfig(str(out)))) == ids(FILES["regex"])
        assert ("PreTrainedTokenizerFast.from_pretrained" in caplog.text) is is_named


def test_the_probe_ends_for_any_vocabulary() -> None:
    empty = Tokenizer(models.BPE())
    assert module.find_difference(empty, empty) is None


MARKS = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"]
MARKS += ["[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"]
MARKS += ["[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"]
MARKS += ["[TOOL_CONTENT]"]


def write_tekken(folder: Path) -> None:
    """Mistral's own file of a tokenizer: 256 bytes and a few merges."""
    pieces = [*(bytes([byte]) for byte in range(256)), b"th", b"he", b"the", b" the"]
    vocabulary = [
        {"rank": rank, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
        for rank, piece in enumerate(pieces)
    ]
    marks = [
        {"rank": rank, "token_str": mark, "is_control": True} for rank, mark in enumerate(MARKS)
    ]
    config = {
        "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+",
        "num_vocab_tokens": len(vocabulary),
        "default_vocab_size": len(vocabulary) + len(marks),
        "default_num_special_tokens": len(marks),
        "version": "v7",
    }
    described = {"config": config, "vocab": vocabulary, "special_tokens": marks}
    (folder / "tekken.json").write_text(json.dumps(described))


def test_mistral_s_own_file_beside_tokenizer_json_changes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mistral_common")
    path = save(tmp_path, "byte_level", "TokenizersBackend", "mistral")
    write_tekken(tmp_path)
    assert not hasattr(AutoTokenizer.from_pretrained(path), "backend_tokenizer")
    tokenizer = load_tokenizer(ModelConfig(path))
    assert ids(tokenizer) == ids(FILES["byte_level"])
    with copy_where_misread(tokenizer, path, None, False) as copied:
        assert copied is not None, "vLLM would take the other file"
        assert ids(AutoTokenizer.from_pretrained(copied)) == ids(tokenizer)


def test_mistral_s_own_file_alone_is_told(tmp_path: Path) -> None:
    write_tekken(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    with pytest.raises(UserError, match="tekken.json and no tokenizer.json"):
        load_tokenizer(ModelConfig(str(tmp_path)))
