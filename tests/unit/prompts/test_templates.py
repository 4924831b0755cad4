"""Each prompt template's own token ids, non-ASCII text and all, through the engine and its twin."""

import numpy as np
import pytest
from prompt_cases import EXAMPLES, golden_cases
from tiny_models import make_model

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.score.engine import Engine
from nuggets_ray.score.reference import reference_log_probs

CASES = list(golden_cases())
FAMILIES = ["llama", "qwen3", "gpt_neox", "gpt2"]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[name for name, _, _ in CASES])
def test_a_rendering_scores_as_in_the_reference(case):
    _, template, tokenizer = CASES[case]
    prompt = make_prompt(tokenizer, PromptConfig(template=template))
    model = make_model(FAMILIES[case % len(FAMILIES)], vocab_size=len(tokenizer))
    anchors = [prompt.anchor(example) for example in EXAMPLES.values()]
    prefixes = [prompt.demonstration(example).token_ids for example in EXAMPLES.values()][:4]
    prefixes.append(prompt.zero_shot_prefix)
    found = Engine(model, anchors, "tree", "", 128).log_probs(prefixes)
    expected = reference_log_probs(model, anchors, prefixes)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert np.isfinite(expected).all() and (expected < 0).all()
    assert expected[:-1].std(axis=0).min() > 1e-3  # the demonstration matters to every anchor
