"""How the tree's layers are computed: choices that change its speed, and its log-probs by rounding
alone.

    gpu_attention     on a GPU: merge or gather (kernels/varlen.py), flex (kernels/flex.py)
    compile_layers    each decoder layer compiled around the attention (compiled.py)
    compile_head      the logits' log-softmax in one compiled pass (head.py)
    fuse_products     queries, keys and values as one product, gate and up as another
                      (fused_products.py)
None of the last three has been timed on a GPU, so all are off unless they are asked for.
"""

from dataclasses import dataclass, replace

from nuggets_ray.config.schema import ScoreConfig


@dataclass(frozen=True, slots=True)
class Speed:
    """The choices; `gpu_attention` may be auto: what is faster at start, of merge and gather."""

    gpu_attention: str = "auto"
    compile_layers: bool = False
    compile_head: bool = False
    fuse_products: bool = False

    def __post_init__(self) -> None:
        if self.compile_layers and self.fuse_products:  # an object a layer: graphs for each
            raise ValueError("compiled layers cannot have fused products")

    def told(self) -> str:
        """In a few words, for a sentence that names the engine."""
        flags = ("compile_layers", "compile_head", "fuse_products")
        return ", ".join([self.gpu_attention, *(flag for flag in flags if getattr(self, flag))])


UNASKED = Speed()
AS_IT_IS = Speed("merge")
"""Nothing compiled and nothing fused: on a CPU always, unless it is asked for."""


def speed_of(score: ScoreConfig) -> Speed:
    """As the configuration asks."""
    return Speed(score.gpu_attention, score.compile_layers, score.compile_head, score.fuse_products)


def to_try(asked: Speed, device_type: str) -> list[Speed]:
    """What to try in turn until one agrees with the reference: as asked (merge for auto), without
    what is compiled and fused, and on a GPU by flex."""
    first = asked if asked.gpu_attention != "auto" else replace(asked, gpu_attention="merge")
    ways = [first, Speed(first.gpu_attention)]
    if device_type == "cuda":
        ways.append(Speed("flex"))
    return list(dict.fromkeys(ways))
