"""Why a chat template cannot put a demonstration in front of an anchor: the template is asked, and
what it says is told.
"""

from collections.abc import Callable
from typing import Any

from nuggets_ray.errors import UserError
from nuggets_ray.prompts.chat_renderer import SENTINEL, ChatRenderer, Turn, sentinels

MAX_WORDS_CHARS = 200
PAIR = ("user", "assistant")
TOOL = (
    '{"type": "function", "function": {"name": "look_up", "description": "Looks a word up.", '
    '"parameters": {"type": "object", "properties": {"word": {"type": "string"}}, '
    '"required": ["word"]}}}'
)


def refusal(tokenizer: Any) -> UserError:
    """The sentence for a template that does not take plain conversations of two and four turns."""
    renderer = ChatRenderer(tokenizer)
    reason = next(told for cause in CAUSES if (told := cause(tokenizer, renderer)))
    return UserError(f"prompt.template=chat: this tokenizer's chat template {reason}")


def names_of(tokenizer: Any) -> list[str]:
    """The names of the tokenizer's chat templates, [] where it has one without a name."""
    return sorted(tokenizer.chat_template) if isinstance(tokenizer.chat_template, dict) else []


def _is_unnamed(tokenizer: Any, renderer: ChatRenderer) -> str | None:
    names = names_of(tokenizer)
    if not names or "default" in names:
        return None
    return (
        f"is one of several ({', '.join(names)}), none of which is called default: keep the one "
        "that you mean as chat_template in its tokenizer_config.json, or set prompt=alpaca"
    )


def _wants_system(tokenizer: Any, renderer: ChatRenderer) -> str | None:
    if not _is_taken(renderer, sentinels(("system", *PAIR))):
        return None
    return f"wants a system turn in front{_words(renderer)}: set prompt=alpaca"


def _wants_tools(tokenizer: Any, renderer: ChatRenderer) -> str | None:
    if not _is_taken(renderer, sentinels(PAIR), (TOOL,)):
        return None
    return f"wants tools that can be called{_words(renderer)}: set prompt=alpaca"


def _wants_parts(tokenizer: Any, renderer: ChatRenderer) -> str | None:
    parts: list[Turn] = [
        turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in sentinels(PAIR)
    ]
    if not _is_taken(renderer, parts):
        return None
    return f"takes a turn's content as parts, not as text{_words(renderer)}: set prompt=alpaca"


def _raises(tokenizer: Any, renderer: ChatRenderer) -> str | None:
    for roles in (PAIR, PAIR + PAIR):
        if words := _words(renderer, roles):
            return f"refuses a plain conversation of {len(roles)} turns{words}: set prompt=alpaca"
    return None


def _is_unstable(tokenizer: Any, renderer: ChatRenderer) -> str:
    return (
        "drops a turn or renders an example differently next to another, so no demonstration can "
        "stand in front of an anchor: set prompt=alpaca"
    )


CAUSES: tuple[Callable[[Any, ChatRenderer], str | None], ...] = (
    *(_is_unnamed, _wants_system, _wants_tools, _wants_parts, _raises, _is_unstable),
)
"""In this order: the first that is so is told."""


def _is_taken(renderer: ChatRenderer, turns: list[Turn], tools: tuple[str, ...] = ()) -> bool:
    """Whether the template shows every turn with this, and not a plain question and its answer
    without."""
    shown = renderer.render(turns, tools) or ""
    plain = renderer.render(sentinels(PAIR)) or ""
    return _shows(shown, len(turns)) and not _shows(plain, len(PAIR))


def _shows(rendered: str, num_turns: int) -> bool:
    return SENTINEL.findall(rendered) == [str(index) for index in range(num_turns)]


def _words(renderer: ChatRenderer, roles: tuple[str, ...] = PAIR) -> str:
    """What the template says to turns of these roles, in brackets; nothing where it takes them."""
    said = renderer.refuses(sentinels(roles))
    return f" (it says: {said[:MAX_WORDS_CHARS]})" if said else ""
