"""Examples -> anchors: their text, token ids and answer masks."""

import logging
from collections.abc import Sequence

from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor, Example

logger = logging.getLogger(__name__)


def encode_anchors(examples: Sequence[Example], anchor_set: str, prompt: Prompt) -> list[Anchor]:
    """The anchors in order, their ids numbered within the set."""
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


def warn_of_cuts(anchors: Sequence[Anchor]) -> None:
    """WARN of anchors that prompt.max_anchor_tokens cuts."""
    cut = [anchor for anchor in anchors if anchor.encoding.num_dropped_tokens]
    empty = sum(anchor.encoding.num_answer_tokens == 0 for anchor in anchors)
    if cut:
        dropped = sum(anchor.encoding.num_dropped_tokens for anchor in cut)
        logger.warning(
            "prompt.max_anchor_tokens cuts %d of %d anchors (%d tokens dropped); %d keep no answer "
            "token and always tie",
            len(cut), len(anchors), dropped, empty,
        )  # fmt: skip
