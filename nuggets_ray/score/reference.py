"""The engine's slow, obvious twin: one (prefix, anchor) pair a forward, through the model's own
forward.

    log_prob(anchor | prefix) = mean over answer tokens t of log softmax(logits[t - 1])[token t]

Legend: T tokens of the pair, V vocabulary, C candidates, A anchors.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from nuggets_ray.records import Encoding
from nuggets_ray.score.rope import forget_longer_sequences


@torch.inference_mode()
def reference_log_probs(
    model: PreTrainedModel, anchors: Sequence[Encoding], prefixes: Sequence[np.ndarray]
) -> np.ndarray:
    """Mean log-prob of every anchor's answer after every prefix, in nats per answer token, (C, A)
    float32.

    0.0 for an anchor without answer tokens. After an empty prefix an anchor's very first token has
    no prediction and does not count.
    """
    means_CA = np.zeros((len(prefixes), len(anchors)), dtype=np.float32)
    for c, prefix in enumerate(prefixes):
        for a, anchor in enumerate(anchors):
            token_ids_T = np.concatenate([prefix, anchor.token_ids]).astype(np.int64)
            answers = len(prefix) + np.flatnonzero(anchor.answer_mask)
            answers = answers[answers > 0]
            if not len(answers):
                continue
            forget_longer_sequences(model)
            input_ids = torch.from_numpy(token_ids_T)[None].to(model.device)
            logits_TV = model(input_ids=input_ids, use_cache=False).logits[0]
            log_probs_TV = logits_TV.float().log_softmax(dim=-1).cpu().numpy()
            means_CA[c, a] = log_probs_TV[answers - 1, token_ids_T[answers]].mean(dtype=np.float64)
    return means_CA
