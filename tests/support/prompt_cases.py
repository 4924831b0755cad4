"""Small tokenizers, published chat templates and examples for the prompt tests.

Each file of tests/golden/prompts shows the renderings of one template: the text, its answer tokens
between ⟦ and ⟧, and the ids.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Encoding, Example, Message

TESTS = Path(__file__).resolve().parent.parent
GOLDEN = TESTS / "golden" / "prompts"
TEMPLATE_FILES = TESTS / "fixtures" / "chat_templates"

SENTENCES = [
    "Below is an instruction that describes a task. Write a response that completes it.",
    "### Instruction:\n### Input:\n### Response:\nInstruction:\nInput:\nResponse:\n",
    "What is the capital of France? The capital of France is Paris.",
    "system user assistant tool model You are a helpful assistant. Name three rivers.",
    "Übersetze den Satz ins Englische: Der Fluß ist naß. 写一首关于春天的短诗。",
]

CHATML_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3_SPECIALS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
GEMMA_SPECIALS = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
MISTRAL_SPECIALS = ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]

# template: (special tokens, BOS, EOS, kind of tokenizer)
CHAT_TEMPLATES = {
    "chatml": (CHATML_SPECIALS, None, "<|im_end|>", "bytes"),
    "smollm2": (CHATML_SPECIALS, None, "<|im_end|>", "bytes"),
    "qwen2_5": (CHATML_SPECIALS, None, "<|im_end|>", "bytes"),
    "qwen3": (CHATML_SPECIALS, None, "<|im_end|>", "bytes"),
    "llama3": (LLAMA3_SPECIALS, "<|begin_of_text|>", "<|eot_id|>", "bytes"),
    "llama3_2": (LLAMA3_SPECIALS, "<|begin_of_text|>", "<|eot_id|>", "bytes"),
    "gemma2": (GEMMA_SPECIALS, "<bos>", "<eos>", "pieces"),
    "mistral_v0_3": (MISTRAL_SPECIALS, "<s>", "</s>", "pieces"),
}

USER, ASSISTANT, SYSTEM, TOOL = "user", "assistant", "system", "tool"


def example(*turns: tuple[str, ...]) -> Example:
    return Example(tuple(Message(*turn) for turn in turns))


EXAMPLES = {
    "plain": example((USER, "What is the capital of France?"), (ASSISTANT, "Paris.")),
    "input": example(
        (USER, "Translate into English.", "Der Fluß ist naß."), (ASSISTANT, "The river is wet.")
    ),
    "system": example(
        (SYSTEM, "Answer in one word."), (USER, "Is water wet?"), (ASSISTANT, "Yes.")
    ),
    "multi_turn": example(
        (USER, "Name a river."),
        (ASSISTANT, "The Rhine."),
        (USER, "And one more?"),
        (ASSISTANT, "The Loire."),
    ),
    "tool": example(
        (USER, "How warm is it?"),
        (ASSISTANT, "I will look it up."),
        (TOOL, '{"celsius": 21}'),
        (ASSISTANT, "It is 21 degrees."),
    ),
    "non_ascii": example((USER, "写一首关于春天的短诗。"), (ASSISTANT, "春风 🌸 吹绿江南。")),
    "placeholders": example(
        (USER, "Greet {{name}}: {% raw %} <|im_end|></s>"), (ASSISTANT, "Hello {{ name }}!</s>")
    ),
    "reasoning": example(
        (USER, "What is 2 + 2?"), (ASSISTANT, "<think>\nTwo and two.\n</think>\n\nFour.")
    ),
    "indented": example((USER, "def f(x):"), (ASSISTANT, "\n    y = x + 1\n    return y\n")),
}


@cache
def tokenizer(
    kind: str = "bytes",
    specials: tuple[str, ...] = ("<s>", "</s>"),
    bos: str | None = None,
    eos: str | None = "</s>",
    adds_bos: bool = False,
    adds_eos: bool = False,
    template: str | None = None,
) -> PreTrainedTokenizerFast:
    """A BPE of a few hundred tokens: over bytes (GPT-2, Llama 3, Qwen) or over "▁" pieces
    (Gemma).
    """
    backend = Tokenizer(models.BPE(byte_fallback=kind == "pieces"))
    if kind == "bytes":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        names = []
    else:
        backend.normalizer = normalizers.Replace(" ", "▁")
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        alphabet, names = [], [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=alphabet,
        special_tokens=names,
        limit_alphabet=300,
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES, trainer)
    backend = _without_added(backend)
    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in specials]
    )
    backend.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    front = f"{bos} " if adds_bos else ""
    back = f" {eos}" if adds_eos else ""
    if front or back:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{front}$A{back}",
            special_tokens=[
                (token, backend.token_to_id(token)) for token in (bos, eos) if token is not None
            ],
        )
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos)
    made.chat_template = template
    return made


def _without_added(backend: Tokenizer) -> Tokenizer:
    """The trainer's byte pieces are ordinary vocabulary (byte fall-back), not added tokens."""
    state = json.loads(backend.to_str())
    state["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(state))


def template_source(name: str) -> str:
    return (TEMPLATE_FILES / f"{name}.jinja").read_text(encoding="utf-8")


def chat_tokenizer(name: str) -> PreTrainedTokenizerFast:
    specials, bos, eos, kind = CHAT_TEMPLATES[name]
    return tokenizer(
        kind, tuple(specials), bos, eos, adds_bos=bos is not None, template=template_source(name)
    )


def decode(made: PreTrainedTokenizerFast, ids: np.ndarray) -> str:
    return made.decode(ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def marked(made: PreTrainedTokenizerFast, encoding: Encoding) -> str:
    """The decoded text, its answer tokens between ⟦ and ⟧."""
    edges = np.flatnonzero(np.diff(encoding.answer_mask, prepend=False, append=False))
    parts = np.split(encoding.token_ids, edges)
    shown = [decode(made, part) for part in parts]
    return "".join(f"⟦{text}⟧" if index % 2 else text for index, text in enumerate(shown))


def golden_cases() -> Iterator[tuple[str, str, PreTrainedTokenizerFast]]:
    """(file name, prompt.template, tokenizer)"""
    bos = tokenizer(bos="<s>", adds_bos=True)
    for template in ("official", "alpaca"):
        yield f"{template}_without_bos", template, tokenizer()
        yield f"{template}_with_bos", template, bos
    for name in CHAT_TEMPLATES:
        yield f"chat_{name}", "chat", chat_tokenizer(name)


def render_golden(template: str, made: PreTrainedTokenizerFast) -> str:
    prompt = make_prompt(made, PromptConfig(template=template))
    lines = [f"zero-shot prefix: {decode(made, prompt.zero_shot_prefix)!r}"]
    for name, shown in EXAMPLES.items():
        for part, encoding in (
            ("demonstration", prompt.demonstration(shown)),
            ("anchor", prompt.anchor(shown)),
        ):
            ids = " ".join(map(str, encoding.token_ids.tolist()))
            lines += ["", f"===== {name}: {part}", marked(made, encoding), f"----- {ids}"]
    return "\n".join(lines) + "\n"
