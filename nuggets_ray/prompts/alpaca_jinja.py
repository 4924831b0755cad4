"""A chat template for a base model that has none: the Alpaca rendering that it was trained on.

Without one, whoever chats with the trained model would have to know its prompt.
"""

import json
from typing import Any

from nuggets_ray.prompts.templates import PREAMBLE, SEPARATOR

# records.without_blank_edges in Jinja
_ANSWER = (
    "{% set text = turn['content'].rstrip() %}{% set stripped = text.lstrip() %}"
    "{% set before = text[:text | length - stripped | length] %}"
    "{{ before[before.rstrip(' \\t') | length:] }}{{ stripped }}"
)


def alpaca_chat_template(header: str, end_of_answer: str) -> str:
    """Jinja text that renders messages as `prompt=alpaca` trains on them.

    `header` is the special tokens in front (BOS, or nothing), `end_of_answer` what an answer ends
    with. An Alpaca row's input stands under its instruction, as one text.
    """
    gap, preamble = _quoted(SEPARATOR), _quoted(PREAMBLE)
    return (
        f"{{{{ {_quoted(header)} }}}}"
        "{% if messages[0]['role'] == 'system' %}"
        f"{{{{ messages[0]['content'] | trim }}}}{{{{ {gap} }}}}{{% set turns = messages[1:] %}}"
        "{% else %}{% set turns = messages %}{% endif %}"
        f"{{{{ {preamble} }}}}"
        "{% for turn in turns %}"
        f"{{% if not loop.first %}}{{{{ {gap} }}}}{{% endif %}}"
        "{% if turn['role'] == 'assistant' %}"
        f"{{{{ {_quoted('### Response:' + chr(10))} }}}}{_ANSWER}"
        f"{{{{ {_quoted(end_of_answer)} }}}}"
        "{% else %}"
        "{{ '### ' + ('Instruction' if turn['role'] == 'user' else turn['role'] | capitalize)"
        f" + {_quoted(':' + chr(10))} }}}}{{{{ turn['content'] | trim }}}}"
        "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}"
        f"{{{{ {_quoted(SEPARATOR + '### Response:' + chr(10))} }}}}"
        "{% endif %}"
    )


def give_chat_template(tokenizer: Any, header_ids: list[int]) -> bool:
    """Write the template into a tokenizer that has none; whether it was needed."""
    if tokenizer.chat_template:
        return False
    header = "".join(tokenizer.convert_ids_to_tokens(header_ids))
    tokenizer.chat_template = alpaca_chat_template(header, tokenizer.eos_token)
    return True


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
