"""What every method of an evaluation needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nuggets_ray.config.schema import Config
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.evaluate.results import Results
from nuggets_ray.run.layout import EvaluationFolder, RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.trained_on import TrainedSelection
from nuggets_ray.stages.cluster.workers import Workers


@dataclass(frozen=True, slots=True)
class Context:
    """The models whole, where and in what they compute.

    `selections` {model: the selection it was trained on}; `results` are those so far.
    """

    config: Config
    models: Sequence[EvalModel]
    dtype: str
    workers: Workers
    run: Run
    results: Results
    selections: Mapping[str, TrainedSelection] = field(default_factory=dict)

    @property
    def folder(self) -> EvaluationFolder:
        """evaluation/ of the run."""
        return RunFolder(self.config.out_dir).evaluation
