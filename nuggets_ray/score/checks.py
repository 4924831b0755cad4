"""What is wrong with a scoring run, told before Ray starts or a model is loaded."""

import logging
from collections.abc import Sequence
from typing import Any

from nuggets_ray.anchors.file import load_examples
from nuggets_ray.config.anchor_sets import anchor_sets, told_of_set
from nuggets_ray.config.schema import Config
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.recognise import set_format
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_config, load_tokenizer
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Example, Message
from nuggets_ray.run.candidates import fields_like
from nuggets_ray.schedule.explore import check_explore
from nuggets_ray.schedule.wanted import check_wanted
from nuggets_ray.select import OUR_COLUMNS, check_clash
from nuggets_ray.signals.names import NEEDS_STATES

logger = logging.getLogger(__name__)


def check_inputs(config: Config) -> None:
    """Raise UserError for data, anchors, a tokenizer or weights that are not there or not whole."""
    logger.info("checking data, anchors, tokenizer and weights")
    check_signals(config.signals, config.score.backend)
    if config.schedule.name == "race":
        check_wanted(config.race, config.select)
    if config.schedule.name == "explore":
        check_explore(config.race)
    list_inputs(config.data.path, splits=config.data.splits)
    set_format(config.data.format, config.data.columns, config.data.roles)
    for name, one in anchor_sets(config.anchors).items():
        if one.method == "file":
            with told_of_set(config.anchors, name):
                load_examples(one)
    is_vllm = config.score.backend == "vllm"
    tokenizer = load_tokenizer(config.model)
    prompt = make_prompt(tokenizer, config.prompt)
    text_config = load_config(config.model, any_architecture=is_vllm).get_text_config()
    check_token_ids(prompt, tokenizer, getattr(text_config, "vocab_size", None), config.model.path)
    check_weights(config.model, any_architecture=is_vllm)


def check_token_ids(
    prompt: Prompt, tokenizer: Any, num_embeddings: int | None, model_path: str
) -> None:
    """Raise UserError for a token of the prompt's template that the model has no embedding for:
    every row would be skipped. WARN of others, whose rows will be.
    """
    if num_embeddings is None:
        return
    names = {
        token_id: token
        for token, token_id in tokenizer.get_vocab().items()
        if token_id >= num_embeddings
    }
    if not names:
        return
    shown = Example((Message("user", "x"), Message("assistant", "x")))
    of_template = {*prompt.demonstration(shown).token_ids, *prompt.anchor(shown).token_ids}
    told = (
        f"model.path={model_path}: its tokenizer has tokens past the model's {num_embeddings:,} "
        "embeddings"
    )
    if asked := sorted(names.keys() & of_template):
        raise UserError(
            f"{told}, {names[asked[0]]!r} ({asked[0]}) of its prompt template among them, so that "
            "no row can be scored: give the tokenizer that the model was trained with, resize its "
            "embeddings, or set prompt=alpaca"
        )
    first = min(names)
    logger.warning(
        "%s (%d, such as %r, %d): rows that hold one are skipped",
        *(told, len(names), names[first], first),
    )


def check_signals(signals: Sequence[str], backend: str) -> None:
    """Raise UserError for what the backend cannot tell of a row."""
    for name in signals:
        if backend == "vllm" and name in NEEDS_STATES:
            raise UserError(
                f"signals=[{name}]: score.backend=vllm shows no hidden states, of which {name} is "
                "made: take score.backend=transformers, or leave it out"
            )


def check_fields(out_dir: str, prefix: str) -> None:
    """Raise UserError for candidates with a field that selecting them, with select.prefix, would
    write too.
    """
    check_clash(fields_like(out_dir, [prefix + name for name in OUR_COLUMNS]), prefix)
