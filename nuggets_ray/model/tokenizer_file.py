"""Whether transformers' tokenizer gives the token ids of tokenizer.json, and the one that does.

transformers builds some classes anew from vocabulary and merges alone: a file saved under another
class's name loses its spaces, its digit splitter or its normaliser without a word. So both readings
are compared on a fixed probe and on a sample of the file's own tokens, special tokens apart.
"""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.token_mask import copy_backend

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PROBE = (
    *("The river is wet, and the town isn't old.", " leading", "trailing ", "two  three   four"),
    *("one\ntwo\n\nthree\r\n\n\n\nfour\n", "\tone\t\ttwo \t three", "def f(x):\n    if x:\n\t"),
    *("        return self.num_items[-1]  # TODO\n\n", "{'a': [1, 2.5e-3]}; a->b != c && d || ~e"),
    *(
        "7",
        "12 345",
        "0  1   2    3     4      5        6\n\n7\t8",
        "1234567890",
        "3.14159 1,000,000 2024-07-26 x86_64 4th",
        "\u0663\u0664\u0665",
    ),
    *("DON'T don't WE'LL I'm", "snake_case camelCase SCREAMING MacOS", "...?!!! --- *** (((x)))"),
    *("caf\u00e9 na\u00efve \u00dcber \u0130stanbul", "cafe\u0301 A\u030angstro\u0308m"),
    *("\ufb01ne \u00bd \u2122 \uff21\uff22\uff23", "\u201cquoted\u201d \u2014 \u2026 \u20ac5"),
    *("\u00a0no\u00a0break\u3000wide\u200bzero", "\u4f60\u597d\uff0c\u4e16\u754c\u3002"),
    *("\u3053\u3093\u306b\u3061\u306f \u30ab\u30bf\u30ab\u30ca", "\ud55c\uad6d\uc5b4"),
    *("\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "\u0645\u0631\u062d\u0628\u0627"),
    *("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35"),
    *(
        "\U0001f600 \U0001f469\u200d\U0001f4bb\U0001f3fd",
        "\u2581low \u0120line \u2200x\u2208\u211d",
    ),
)
"""Words, runs of spaces, newlines, tabs, code, digits, punctuation, accents composed and not,
compatibility forms, scripts without spaces, right to left, emoji, and the marks for a space."""
NUM_OWN_TOKENS = 1000

ASKED_KEYS = (
    *("add_prefix_space", "legacy", "fix_mistral_regex"),
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
)
"""Settings of tokenizer_config.json that ask for other ids than tokenizer.json's."""


def read_tokenizer(
    path: str, revision: str, trust_remote_code: bool, choice: str
) -> "PreTrainedTokenizerBase":
    """The tokenizer of `path`, a folder or hub id: as AutoTokenizer reads it, or tokenizer.json as
    it stands with the same special tokens and chat template.

    `choice` is model.tokenizer: transformers, file, or auto: the file where ids or decoded texts
    differ and tokenizer_config.json does not ask for that. Raises UserError for file where there is
    none, and what transformers raises.
    """
    from transformers import AutoTokenizer

    how: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    file = None if choice == "transformers" else _cached_file(path, "tokenizer.json", revision)
    if choice == "file" and file is None:
        raise UserError(
            f"model.tokenizer=file: model.path={path} has no tokenizer.json: leave model.tokenizer "
            "out, or put that file beside the weights"
        )
    _refuse_tekken_alone(path, revision, choice, file)
    try:
        # beside a tekken.json too, which Mistral's own package would read where it is installed
        read: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, mistral_format=False, **how
        )
    except Exception as error:  # whatever a class raises for a file that is not its own
        if file is None:
            raise
        own = _as_it_stands(path, how)
        first_line = str(error).strip().partition("\n")[0]
        _say_once(
            logging.WARNING,
            f"model.path={path}: transformers cannot load its tokenizer's class "
            f"({type(error).__name__}: {first_line}): tokenizer.json is used as it stands",
        )
        return own
    if choice == "file":
        return _with_roles_of(read, _as_it_stands(path, how))
    if file is None or not _has_backend(read) or _is_the_file(read):
        return read
    difference = find_difference(_whole(read), _from_file(file))
    return read if difference is None else _judge(difference, read, path, how)


def _refuse_tekken_alone(path: str, revision: str, choice: str, file: str | None) -> None:
    others = ("tokenizer.model", "vocab.json")
    if choice == "transformers" or file or any(_cached_file(path, n, revision) for n in others):
        return
    if _cached_file(path, "tekken.json", revision):
        raise UserError(
            f"model.path={path} has Mistral's tekken.json and no tokenizer.json, which alone says "
            "what a text begins and ends with: put the tokenizer.json and tokenizer_config.json of "
            "its Hugging Face repository beside it"
        )


def _judge(
    difference: str, read: "PreTrainedTokenizerBase", path: str, how: dict[str, Any]
) -> "PreTrainedTokenizerBase":
    """`read` where tokenizer_config.json asks for the difference, else the file as it stands."""
    own, asked = _as_it_stands(path, how), _asked(path, how["revision"])
    expected = _with_asked(own.backend_tokenizer, asked)
    # a decoder that takes the prefix off again comes with it
    decodes = "add_prefix_space" not in asked
    if find_difference(_whole(read), expected, decodes) is None:
        settings = ", ".join(f"{key}={json.dumps(value)}" for key, value in asked.items())
        _say_once(
            logging.INFO,
            f"model.path={path}: other token ids than tokenizer.json's, as its "
            f"tokenizer_config.json asks ({settings or 'added tokens'}): {difference}",
        )
        return read
    _say_once(
        logging.WARNING,
        f"model.path={path}: transformers' {type(read).__name__} misreads tokenizer.json "
        f"({difference}): the file's own token ids are used; model.tokenizer=transformers takes "
        "the others",
    )
    return _with_roles_of(read, own)


def is_read_alike(
    tokenizer: Any, path: str, revision: str | None = None, trust_remote_code: bool = False
) -> bool:
    """Whether other tools, which call AutoTokenizer on `path`, get the ids and texts of
    `tokenizer`.
    """
    from transformers import AutoTokenizer

    try:
        other = AutoTokenizer.from_pretrained(
            path, revision=revision or "main", trust_remote_code=trust_remote_code
        )
    except Exception:  # read_tokenizer has said what
        return False
    if not (_has_backend(other) and _has_backend(tokenizer)):
        return type(other) is type(tokenizer)
    return find_difference(_whole(other), _whole(tokenizer)) is None


@contextmanager
def copy_where_misread(
    tokenizer: Any, path: str, revision: str | None, trust_remote_code: bool
) -> Iterator[str | None]:
    """A folder with `tokenizer` alone, whose class stands in no config.json's shadow, for a tool
    that would read `path` otherwise; None where it would not. It is there while the tool loads.
    """
    if is_read_alike(tokenizer, path, revision, trust_remote_code):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="nuggets_ray_tokenizer.") as folder:
        tokenizer.save_pretrained(folder)
        yield folder


def find_difference(read: Tokenizer, expected: Tokenizer, decodes: bool = True) -> str | None:
    """The first text of the probe that `read` encodes, or (`decodes`) whose ids it decodes,
    otherwise than `expected`, and how; None where there is none. Neither may cut or pad.
    """
    for text in _probe(read, expected):
        one, other = (t.encode(text, add_special_tokens=False) for t in (read, expected))
        if one.ids != other.ids:
            return f"{text!r} becomes {one.tokens[:8]} in place of {other.tokens[:8]}"
        if not decodes:
            continue
        decoded, right = (t.decode(one.ids, skip_special_tokens=False) for t in (read, expected))
        if decoded != right:
            return f"{text!r} comes back as {decoded!r} in place of {right!r}"
    return None


def _probe(read: Tokenizer, expected: Tokenizer) -> Iterator[str]:
    yield from PROBE
    added = read.get_added_tokens_decoder().keys() | expected.get_added_tokens_decoder().keys()
    own = sorted(set(expected.get_vocab(with_added_tokens=False).values()) - added)
    for token_id in own[:: -(-len(own) // NUM_OWN_TOKENS) or 1]:
        yield expected.decode([token_id], skip_special_tokens=False)


def _has_backend(tokenizer: Any) -> bool:
    return isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer)


def _is_the_file(read: Any) -> bool:
    """Whether it is tokenizer.json by construction, which saves seconds for a large vocabulary."""
    from transformers import PreTrainedTokenizerFast

    is_repaired = read.init_kwargs.get("fix_mistral_regex")
    return type(read) is PreTrainedTokenizerFast and not is_repaired


def _whole(tokenizer: Any) -> Tokenizer:
    """The tokenizer's backend, or where that cuts or pads a copy that does not."""
    backend: Tokenizer = tokenizer.backend_tokenizer
    is_whole = backend.truncation is None and backend.padding is None
    return backend if is_whole else copy_backend(tokenizer)


def _as_it_stands(path: str, how: dict[str, Any]) -> "PreTrainedTokenizerBase":
    from transformers import PreTrainedTokenizerFast

    own: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(path, **how)
    own.backend_tokenizer.no_truncation()
    own.backend_tokenizer.no_padding()
    return own


def _with_roles_of(
    read: "PreTrainedTokenizerBase", own: "PreTrainedTokenizerBase"
) -> "PreTrainedTokenizerBase":
    """`own` with the special tokens that a class has by default, where the file knows them and
    tokenizer_config.json names none.
    """
    vocabulary = own.get_vocab()
    for role, token in read.special_tokens_map.items():
        if isinstance(token, str) and getattr(own, role, None) is None and token in vocabulary:
            setattr(own, role, token)
    return own


def _asked(path: str, revision: str) -> dict[str, Any]:
    file = _cached_file(path, "tokenizer_config.json", revision)
    if file is None:
        return {}
    with open(file, encoding="utf-8") as opened:
        given = json.load(opened)
    return {key: given[key] for key in ASKED_KEYS if given.get(key) is not None}


def _with_asked(backend: Tokenizer, asked: dict[str, Any]) -> Tokenizer:
    """`backend` with those settings put into its normaliser and pre-tokeniser."""
    if not asked:
        return backend
    description = json.loads(backend.to_str())
    for part in ("normalizer", "pre_tokenizer"):
        description[part] = _change(description[part], asked)
    if "legacy" in asked and description["pre_tokenizer"] is None:
        # what marks words by a normaliser marks them by a pre-tokeniser instead, which puts no
        # second mark in front of a text that begins with a space
        normalizers = (description["normalizer"] or {}).get("normalizers", [])
        if [one["type"] for one in normalizers] == ["Prepend", "Replace"]:
            description["normalizer"] = None
            description["pre_tokenizer"] = {
                **{"type": "Metaspace", "replacement": normalizers[0]["prepend"]},
                **{"prepend_scheme": "always" if asked["legacy"] else "first", "split": False},
            }
    return Tokenizer.from_str(json.dumps(description))


def _change(step: dict[str, Any] | None, asked: dict[str, Any]) -> dict[str, Any] | None:
    if step is None:
        return None
    has_prefix = asked.get("add_prefix_space")
    for inner in ("normalizers", "pretokenizers"):
        if step["type"] == "Sequence" and inner in step:
            changed = [_change(one, asked) for one in step[inner]]
            return step | {inner: [one for one in changed if one is not None]}
    if step["type"] == "Prepend" and has_prefix is False:
        return None
    if step["type"] == "Metaspace" and has_prefix is not None:
        return step | {"prepend_scheme": "first" if has_prefix else "never"}
    if step["type"] == "ByteLevel" and has_prefix is not None:
        return step | {"add_prefix_space": has_prefix}
    if step["type"] == "BertNormalizer":
        names = {"do_lower_case": "lowercase", "tokenize_chinese_chars": "handle_chinese_chars"}
        named = {names.get(key, key): value for key, value in asked.items()}
        return {key: named.get(key, value) for key, value in step.items()}
    return step


def _from_file(file: str) -> Tokenizer:
    tokenizer = Tokenizer.from_file(file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _cached_file(path: str, name: str, revision: str) -> str | None:
    """A file of the folder, or of the hub's cache; None where there is none."""
    from transformers.utils.hub import cached_file

    file: str | None = cached_file(
        path,
        name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return file


@cache
def _say_once(level: int, message: str) -> None:
    logger.log(level, message)
