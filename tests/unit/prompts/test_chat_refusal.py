"""A chat template that takes no plain conversation is refused by its cause, in its own words."""

import copy
import logging

import prompt_cases
import pytest
from prompt_cases import CHATML_SPECIALS

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.prompts.prompt import Prompt, make_prompt, warn_of_template

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}"
    "{{ part.text }}{% endfor %}<|im_end|>\n{% endfor %}"
)
CAUSES = {
    "raises": (
        "{{ raise_exception('Only for \\n translation') }}",
        r"template refuses a plain conversation of 2 turns \(it says: Only for translation\)",
    ),
    "raises at a second exchange": (
        "{% if messages | length > 2 %}{{ raise_exception('One turn only') }}{% endif %}" + TURNS,
        r"template refuses a plain conversation of 4 turns \(it says: One turn only\)",
    ),
    "wants a system turn": (
        "{% if messages[0].role != 'system' %}{{ raise_exception('First comes system') }}"
        "{% endif %}" + TURNS,
        r"template wants a system turn in front \(it says: First comes system\)",
    ),
    "wants a system turn, unsaid": (
        "{% if messages[0].role == 'system' %}" + TURNS + "{% endif %}",
        r"template wants a system turn in front: set prompt=alpaca",
    ),
    "wants tools": (
        "{{ tools | length }} tools\n" + TURNS,
        r"template wants tools that can be called \(it says: .*(None|undefined)",
    ),
    "wants parts": (PARTS, r"template takes a turn's content as parts, not as text: set"),
    "wants parts, and says so": (
        "{% if messages[0].content is string %}{{ raise_exception('Parts, please') }}{% endif %}"
        + PARTS,
        r"template takes .* content as parts, not as text \(it says: Parts, please\): set",
    ),
    "drops a turn": ("{{ messages[-1].content }}", r"template drops a turn or renders"),
}


def make(template: object) -> Prompt:
    """The prompt of a chat template's source, or of several by name."""
    specials = tuple(CHATML_SPECIALS)
    tokenizer = copy.deepcopy(prompt_cases.tokenizer(specials=specials, bos=specials[0]))
    tokenizer.chat_template = template
    return make_prompt(tokenizer, PromptConfig(template="auto"))


@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_told_in_the_templates_own_words(cause: str) -> None:
    template, sentence = CAUSES[cause]
    with pytest.raises(UserError, match="prompt.template=chat: this tokenizer's chat " + sentence):
        make(template)


def test_several_templates_need_a_default(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"one of several \(rag, tool_use\), none of which"):
        make({"rag": TURNS, "tool_use": TURNS})
    with caplog.at_level(logging.WARNING):
        warn_of_template(make({"default": TURNS, "tool_use": TURNS}))
    assert "chat templates (default, tool_use) default is used" in caplog.text
