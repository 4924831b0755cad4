"""Examples -> anchors: their text, token ids and answer masks."""

import logging
from collections.abc import Sequence

from nuggets_ray.model.weights.files import some
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


def warn_of_anchors(anchors: Sequence[Anchor]) -> None:
    """WARN of anchors that prompt.max_anchor_tokens cuts, and of others without an answer."""
    cut = [anchor for anchor in anchors if anchor.encoding.num_dropped_tokens]
    empty = sum(anchor.encoding.num_answer_tokens == 0 for anchor in cut)
    if cut:
        dropped = sum(anchor.encoding.num_dropped_tokens for anchor in cut)
        logger.warning(
            "prompt.max_anchor_tokens cuts %d of %d anchors (%d tokens dropped); %d keep no answer "
            "token and always tie",
            len(cut), len(anchors), dropped, empty,
        )  # fmt: skip
    whole = [anchor for anchor in anchors if not anchor.encoding.num_dropped_tokens]
    if ids := [anchor.anchor_id for anchor in whole if not anchor.encoding.num_answer_tokens]:
        logger.warning(
            "%d of %d anchors have no answer token and always tie (%s): prompt=official lets the "
            "answer begin at the token count of the prompt alone, which may be past its end: take "
            "anchors with longer answers, or another prompt",
            *(len(ids), len(anchors), some(ids)),
        )
