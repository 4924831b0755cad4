"""Run by test_vllm.py in a process of its own, since vLLM changes the process it is imported into:
the vLLM backend on a tiny and on the demo model, float32, as {case: facts} in JSON on the last
line.

python vllm_cases.py FOLDER     (where the tiny model may be written)
"""

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import make_anchor, make_model, random_ids
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.evaluate.generate.answer import Answer, Asked
from nuggets_ray.evaluate.generate.answerer import Answerer
from nuggets_ray.evaluate.generate.chat import conversation
from nuggets_ray.model.load import load_model, resolve_path
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import make_engine
from nuggets_ray.score.reference import reference_log_probs
from nuggets_ray.score.vllm_engine import VllmEngine, make_vllm_engine
from nuggets_ray.score.vllm_pairs import make_pairs, sampling_keywords

# head_dim: the smallest that vLLM's attention takes on a CPU
SIZES = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
ANCHOR_SIZES = [(5, 1), (4, 9), (1, 30), (0, 6), (3, 0), (0, 0), (40, 20)]
ANCHORS = [make_anchor(seed, *sizes) for seed, sizes in enumerate(ANCHOR_SIZES)]
CHUNKS = Encoding(random_ids(50, 40), np.arange(40) % 7 == 3)
PREFIXES = [random_ids(100 + n, n) for n in (0, 1, 31, 32, 33, 64, 95)]
LONG = random_ids(200, 90)


def anchors_at_a_block_s_end() -> list[Encoding]:
    """With the same first 4 tokens: behind a prefix of 60, a hit of 64 ends at the first answer
    token of the second and third, and before that of the last two."""
    same = random_ids(300, 4)
    return [
        Encoding(np.concatenate([same, random_ids(301 + n, 20)]), np.arange(24) >= first_answer)
        for n, first_answer in enumerate((0, 4, 4, 5, 6))
    ]


def tiny_cases(folder: Path) -> dict[str, Any]:
    model = make_model("llama", **SIZES)
    model.save_pretrained(folder)
    engine = make_vllm_engine(
        ModelConfig(path=str(folder)),
        "float32",
        ANCHORS,
        max_prefix_tokens=150,
        # the tiny model has no tokenizer
        arguments={"skip_tokenizer_init": True},
    )

    def case(
        anchors: Sequence[Encoding],
        prefixes: Sequence[np.ndarray],
        same_salt: bool = False,
        reads: bool = True,
    ) -> dict[str, Any]:
        one = copy.copy(engine)
        one.anchors, one.reads_prefix_cache = list(anchors), reads
        one.counts = {"num_pairs": 0, "num_rescored": 0}
        found = []
        for prefix in prefixes:  # one by one: with the same salt they find each other's blocks
            if same_salt:
                one.num_prefixes = 0
            found.append(one.log_probs([prefix])[0])
        engine.num_prefixes = one.num_prefixes + 1000
        expected = reference_log_probs(model, anchors, prefixes)
        return facts(one, np.array(found), expected)

    together = engine.log_probs(PREFIXES)
    cases = {"together": facts(engine, together, reference_log_probs(model, ANCHORS, PREFIXES))}
    cases["alone"] = case([*ANCHORS, CHUNKS], PREFIXES)
    cases["cache off"] = case([*ANCHORS, CHUNKS], PREFIXES, reads=False)
    cases["twins"] = case([ANCHORS[2], ANCHORS[2], ANCHORS[2]], [PREFIXES[2], PREFIXES[6]])
    cases["same candidate again"] = case(ANCHORS, [LONG, LONG, LONG])
    cases["same candidate again, same salt"] = case(ANCHORS, [LONG, LONG, LONG], same_salt=True)
    longer = [np.concatenate([LONG[:70], random_ids(201 + n, 30)]) for n in range(2)]
    cases["shared beginning, same salt"] = case(ANCHORS, longer, same_salt=True)
    cases["a block's end"] = case(anchors_at_a_block_s_end(), [random_ids(400, 60)])
    return cases


def demo_case() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    anchors = [
        Encoding(rng.integers(0, 49152, num_tokens), np.arange(num_tokens) >= first_answer)
        for num_tokens, first_answer in ((20, 12), (15, 0), (50, 30))
    ]
    anchors.append(Encoding(anchors[2].token_ids, np.arange(50) % 5 == 1))
    prefixes = [rng.integers(0, 49152, n) for n in (0, 64)]
    demo = ModelConfig(path="demo")
    engine = make_vllm_engine(demo, "float32", anchors, max_prefix_tokens=100)
    ours = make_engine(load_model(demo, "float32", "cpu"), anchors, engine="tree")
    return facts(engine, engine.log_probs(prefixes), ours.log_probs(prefixes))


def facts(engine: VllmEngine, found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    return {
        "found": found.tolist(),
        "expected": expected.tolist(),
        "num_rescored": engine.num_rescored,
        "num_pairs": engine.counts["num_pairs"],
        "reads_prefix_cache": engine.reads_prefix_cache,
        "why": engine.why,
    }


def rows_that_vllm_accepts() -> int:
    """How many pairs' keywords for the rows asked for pass vLLM's own check; they cannot run on a
    CPU without Triton."""
    from vllm import SamplingParams
    from vllm.config import ModelConfig as VllmModelConfig

    config = VllmModelConfig(resolve_path(ModelConfig(path="demo")), max_model_len=200)
    num_accepted = 0
    for pair in make_pairs(PREFIXES, ANCHORS):
        params = SamplingParams(**sampling_keywords(pair, rows_only=True, reads=True))
        params.verify(config, None, None, None)
        num_accepted += 1
    return num_accepted


def answers_of_a_misread_tokenizer(folder: Path) -> dict[str, list[str]]:
    """Texts by backend, of a model whose tokenizer.json its class misreads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials, alphabet = ["<s>", "</s>", "<unk>"], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=specials)
    tokenizer.train_from_iterator(["  the ten", " a sea", " an end\n"] * 9, trainer)
    size = tokenizer.get_vocab_size()
    make_model("llama", **SIZES, vocab_size=size).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    described = {"tokenizer_class": "LlamaTokenizerFast", **roles}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    asked = [Asked(conversation([text])) for text in ("the ten", "an end", "a ten", "tenth")]
    texts = {}
    for backend in ("vllm", "transformers"):
        more = {"max_model_len": 500} if backend == "vllm" else {}
        settings = GenerateConfig(backend=backend, max_tokens=40, stop=[" t"], vllm=more)
        answerer = Answerer(
            ModelConfig(str(folder)), PromptConfig("alpaca"), settings, "float32", 0
        )
        found = [answer for answer in answerer.answer(asked, [0] * 4) if isinstance(answer, Answer)]
        texts[backend] = [f"{answer.text}|{answer.is_cut}" for answer in found]
    return texts


if __name__ == "__main__":
    tiny = Path(sys.argv[1])
    found = {
        "cases": {**tiny_cases(tiny / "scored"), "demo": demo_case()},
        "num_accepted": rows_that_vllm_accepts(),
        "answers": answers_of_a_misread_tokenizer(tiny / "answering"),
    }
    print(json.dumps(found))
