"""The jobs of the command line, each defined once: what jobs/*.py, `python -m nuggets_ray` and
`nuggets` run.
"""

import sys
from pathlib import PurePath
from typing import Any, NoReturn

from nuggets_ray.cli import Job, Main, run
from nuggets_ray.config.keys import sections
from nuggets_ray.config.schema import Config

PATHS = ("data.path", "model.path", "out_dir")
SCORE_USES = ("model", "data", "prompt", "anchors", "score", "schedule", "cluster")
LIBRARIES = "torch, transformers and ray"


def run_job(name: str) -> NoReturn:
    """Run the job of this name with the arguments of the process, and end the process."""
    run(JOBS[name], sys.argv[1:])


def _plan() -> Main:
    from nuggets_ray.stages.score.plan import plan

    return plan


def _score() -> Main:
    from nuggets_ray.stages.score.job import score

    return score


def _select() -> Main:
    from nuggets_ray.run.select import select_candidates

    def main(config: Config) -> dict[str, Any]:
        result = select_candidates(config)
        _print_selection(result)
        return result

    return main


def _finetune() -> Main:
    from nuggets_ray.stages.finetune.job import finetune

    return finetune


def _evaluate() -> Main:
    from nuggets_ray.stages.evaluate.job import evaluate

    return evaluate


def _pipeline() -> Main:
    from nuggets_ray.stages.pipeline import pipeline

    return pipeline


def _bench() -> Main:
    from nuggets_ray.bench import dtypes, engine, finetune, peers

    benches = {
        "engine": engine.bench,
        "peers": peers.bench,
        "dtypes": dtypes.bench,
        "finetune": finetune.bench,
    }
    return lambda config: benches[config.bench.name](config)


def _print_selection(result: dict[str, Any]) -> None:
    keys = (
        "num_rows",
        "num_scored",
        "num_candidates",
        "cutoff",
        "mean_golden_score",
        "mean_answer_tokens",
    )
    print(f"selection {result['name']}" + (" (partial)" if result["partial"] else ""))
    for key in keys:
        value = result[key]
        shown = "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        print(f"  {key:<20}{shown:>12}")


def _selection_folder(config: Config) -> tuple[str, str]:
    """The folder under selections/, by the key that names it."""
    from nuggets_ray.select import default_name

    return "select.name", config.select.name or default_name(config.select)


def _model_folder(config: Config) -> tuple[str, str]:
    """The folder under models/, by the key that names it."""
    name = config.finetune.name or config.finetune.selection or PurePath(config.data.path).stem
    return "finetune.name", name


_ALL = (
    Job(
        name="plan",
        about="what a scoring run would do and cost, before it does",
        load=_plan,
        uses=(*SCORE_USES, "plan"),
        requires=PATHS,
        imports=LIBRARIES,
    ),
    Job(
        name="score",
        about="score an instruction dataset",
        load=_score,
        uses=SCORE_USES,
        requires=PATHS,
        imports=LIBRARIES,
    ),
    Job(
        name="select",
        about="keep the best (or worst, longest, random) candidates of a scored run",
        load=_select,
        uses=("select",),
        folder=_selection_folder,
    ),
    Job(
        name="finetune",
        about="fine-tune a base model on a selection of a run, or on any data",
        load=_finetune,
        uses=("model", "data", "prompt", "finetune", "cluster"),
        folder=_model_folder,
        imports=LIBRARIES,
    ),
    Job(
        name="evaluate",
        about="evaluate the models of a run, or any others",
        load=_evaluate,
        uses=("model", "data", "prompt", "score", "evaluate", "generate", "judge", "cluster"),
        folder=None,  # results.json is kept over all evaluations of a run
        imports=LIBRARIES,
    ),
    Job(
        name="pipeline",
        about="every stage in turn, skipping what is done",
        load=_pipeline,
        uses=tuple(section for section in sections() if section not in ("bench", "plan")),
        requires=PATHS,
        imports=LIBRARIES,
    ),
    Job(
        name="bench",
        about="measure speed on this machine, or what bfloat16 changes",
        load=_bench,
        uses=("bench", "model", "data", "prompt", "score"),
        requires=(),
        folder=None,
        imports="torch and transformers",
    ),
)
JOBS = {job.name: job for job in _ALL}
