"""A chat template for a base model that has none: the Alpaca rendering that it was trained on.

Without one, whoever chats with the trained model would have to know its prompt.
"""

import json
from typing import Any

from nuggets_ray.prompts.spelled import TOOLS_HEADING
from nuggets_ray.prompts.templates import PREAMBLE, SEPARATOR


def alpaca_chat_template(header: str, end_of_answer: str) -> str:
    """Jinja text that renders messages as `prompt=alpaca` trains on them.

    `header` is the special tokens in front (BOS, or nothing), `end_of_answer` what an answer ends
    with. An Alpaca row's input stands under its instruction, as one text.
    """
    gap, preamble = _quoted(SEPARATOR), _quoted(PREAMBLE)
    return (
        f"{{{{ {_quoted(header)} }}}}"
        f"{_SYSTEM}{{% if system %}}{{{{ system + {gap} }}}}{{% endif %}}"
        f"{{{{ {preamble} }}}}"
        "{% for turn in turns %}"
        f"{{% if not loop.first %}}{{{{ {gap} }}}}{{% endif %}}"
        "{% if turn['role'] == 'assistant' %}"
        f"{_ANSWER}{{{{ {_quoted('### Response:' + chr(10))} + answer.text }}}}"
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


# spelled.with_tools in Jinja
_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] | trim %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% if tools %}"
    f"{{% set system = (system + {_quoted(SEPARATOR)} if system else '')"
    f" + {_quoted(TOOLS_HEADING)} + '\\n' + tools | map('tojson') | join('\\n') %}}"
    "{% endif %}"
)

# records.without_blank_edges and spelled.spell_answer in Jinja
_ANSWER = (
    "{% set text = (turn['content'] or '').rstrip() %}{% set stripped = text.lstrip() %}"
    "{% set before = text[:text | length - stripped | length] %}"
    "{% set answer = namespace(text=before[before.rstrip(' \\t') | length:] + stripped) %}"
    "{% for call in turn['tool_calls'] or [] %}"
    "{% set arguments = call['function']['arguments'] %}"
    "{% if answer.text %}{% set answer.text = answer.text + '\\n' %}{% endif %}"
    "{% set answer.text = answer.text + '<tool_call>\\n{\"name\": '"
    " + call['function']['name'] | tojson + ', \"arguments\": '"
    " + (arguments if arguments is string else arguments | tojson) + '}\\n</tool_call>' %}"
    "{% endfor %}"
    "{% if turn['reasoning_content'] %}"
    "{% set answer.text = '<think>\\n' + turn['reasoning_content'] | trim + '\\n</think>\\n\\n'"
    " + answer.text %}"
    "{% endif %}"
)
