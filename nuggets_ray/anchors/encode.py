"""Examples -> anchors: their text, token ids and answer masks."""

from collections.abc import Sequence

from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Example


def encode_anchors(examples: Sequence[Example], anchor_set: str, prompt: Prompt) -> list[Anchor]:
    return [
        Anchor(
            anchor_id=f"{anchor_set}-{index}",
            content_id=example.content_id,
            anchor_set=anchor_set,
            text=prompt.text(example),
            encoding=prompt.anchor(example),
        )
        for index, example in enumerate(examples)
    ]
