"""The jobs of the command line, each defined once: what jobs/*.py, `python -m nuggets_ray` and
`nuggets` run.
"""

import sys
from pathlib import PurePath
from typing import Any, NoReturn

from nuggets_ray.cli import Job, Main, run
from nuggets_ray.config.keys import all_keys, section_of, sections
from nuggets_ray.config.schema import Config, PromptConfig

PATHS = ("data.path", "model.path", "out_dir")
SCORE_USES = (
    *("data", "model", "prompt", "anchors", "score", "schedule", "race", "explore", "cluster"),
)
SCORE_GENERAL = ("out_dir", "seed", "progress_s", "signals")
NOT_OF_THE_PIPELINE = ("bench", "plan", "show", "status", "study")
LIBRARIES = "torch, transformers and ray"
STUDY_READS = ("evaluate.held_out_path", "evaluate.limit")
STUDY_UNREAD = (
    *(key for key in all_keys() if section_of(key) == "evaluate" and key not in STUDY_READS),
    *("finetune.selection", "finetune.selections", "finetune.name"),
)
EVALUATE_UNREAD = (
    *("data.path", "data.limit", "data.on_too_long", "data.excerpt_chars", "data.retry"),
    *("score.engine", "score.max_pack_tokens", "score.block_rows", "score.block_s", "score.vllm"),
    *("score.gpu_attention", "score.compile_layers", "score.compile_head", "score.fuse_products"),
)


def run_job(name: str) -> NoReturn:
    """Run the job of this name with the arguments of the process, and end the process."""
    run(JOBS[name], sys.argv[1:])


def _plan() -> Main:
    def main(config: Config) -> dict[str, Any]:
        if _is_glance(config):
            from nuggets_ray.prepare.glance import glance

            return glance(config.data, config.model, config.prompt)
        from nuggets_ray.stages.score.plan import plan

        return plan(config)

    return main


def _is_glance(config: Config) -> bool:
    return config.plan.only == "data"


def _score() -> Main:
    from nuggets_ray.stages.score.job import score

    return score


def _select() -> Main:
    def main(config: Config) -> dict[str, Any]:
        if config.select.diversity == "none":
            from nuggets_ray.run.select import select_and_report

            return select_and_report(config)
        from nuggets_ray.stages.select import select

        return select(config)

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
    from nuggets_ray.bench import dtypes, engines, finetune, peers, race, real_matrix

    benches = {
        "engine": engines.bench,
        "peers": peers.bench,
        "dtypes": dtypes.bench,
        "finetune": finetune.bench,
        "race": race.bench,
        "real_matrix": real_matrix.bench,
    }
    return lambda config: benches[config.bench.name](config)


def _study() -> Main:
    def main(config: Config) -> dict[str, Any]:
        if _is_of_files(config):
            from nuggets_ray.studies.study import study_run

            return study_run(config.out_dir, config.study, config.seed)
        from nuggets_ray.stages.study import study

        return study(config)

    return main


def _is_of_files(config: Config) -> bool:
    """A study of a run that is scored, which computes nothing on models."""
    return not config.data.path and config.study.name != "correlation"


def _status() -> Main:
    from nuggets_ray.run.watch_status import show_status

    return lambda config: show_status(config.out_dir, config.status)


def _show() -> Main:
    from nuggets_ray.run.show import show_rows

    return lambda config: show_rows(config.out_dir, config.show)


def _report() -> Main:
    from nuggets_ray.report.report import write_report

    return lambda config: write_report(config.out_dir, config.report)


def _selection_folder(config: Config) -> tuple[str, str]:
    """The folder under selections/, by the key that names it."""
    from nuggets_ray.select import default_name

    return "select.name", config.select.name or default_name(config.select)


def _model_folder(config: Config) -> tuple[str, str]:
    """The folder under models/, by the key that names it."""
    name = config.finetune.name or config.finetune.selection or PurePath(config.data.path).stem
    return "finetune.name", name


def _study_folder(config: Config) -> tuple[str, str]:
    """The folder under studies/, by the key that names it."""
    return "study.name", config.study.name


def _taken_by_training(config: Config) -> dict[str, Any]:
    """What `finetune` takes from the run: the model, and for a selection how its rows are read."""
    from nuggets_ray.run.job_configs import taken_from_run

    is_of_run = config.finetune.selection is not None
    prompt = config.prompt if is_of_run else PromptConfig("alpaca")  # auto is the model's own then
    return taken_from_run(config.out_dir, config.model, prompt)


def _taken_by_evaluation(config: Config) -> dict[str, Any]:
    """What `evaluate` takes from the run: the base model and the prompt."""
    from nuggets_ray.run.job_configs import taken_from_run

    return taken_from_run(config.out_dir, config.model, config.prompt)


_ALL = (
    Job(
        name="plan",
        about="what a scoring run would do and cost, before it does",
        load=_plan,
        uses=("plan", *SCORE_USES),
        examples={
            "data.path=rows.jsonl model.path=/models/m out_dir=runs/first": (
                "the rows, the tokens, the memory and the hours of scoring with these settings"
            ),
            "data.path=rows.jsonl model.path=/models/m out_dir=runs/first anchors.num=20": (
                "the same against 20 anchors"
            ),
            "data.path=rows.jsonl model.path=/models/m out_dir=runs/a plan.price_per_hour=3": (
                "in money too, at 3 a GPU-hour"
            ),
        },
        general=("out_dir", "seed", "signals"),
        requires=PATHS,
        needs_only_first=_is_glance,
        imports=LIBRARIES,
    ),
    Job(
        name="score",
        about="score an instruction dataset",
        load=_score,
        uses=SCORE_USES,
        examples={
            "data.path=rows.jsonl model=demo out_dir=runs/try data.limit=200 anchors.num=20": (
                "200 rows against 20 anchors, with the small demo model"
            ),
            "data.path=rows.jsonl model.path=/models/m out_dir=runs/first": (
                "every row against 100 anchors drawn from the rows"
            ),
            "data.path=s3://b/rows model.path=/models/m out_dir=s3://b/run anchors.num=50": (
                "rows and run folder in an object store, 50 anchors"
            ),
        },
        general=SCORE_GENERAL,
        requires=PATHS,
        imports=LIBRARIES,
    ),
    Job(
        name="select",
        about="keep the best (or worst, longest, random) candidates of a scored run",
        load=_select,
        uses=("select", "cluster"),
        examples={
            "out_dir=runs/first": "the best 5% of the scored rows, as selections/golden",
            "out_dir=runs/first select.by=random select.draw=1": (
                "as many random rows, to compare with"
            ),
            "out_dir=runs/a select.per=category": (
                "the best 5%, as many of each category as it has rows"
            ),
        },
        general=("out_dir", "seed"),
        folder=_selection_folder,
    ),
    Job(
        name="show",
        about="rows of a scored run, with the anchors that they helped and hurt most",
        load=_show,
        uses=("show",),
        examples={
            "out_dir=runs/first": "the ten best rows",
            "out_dir=runs/first show.order=bottom show.num=3": "the three worst",
            "out_dir=runs/first show.search=python show.text=false": (
                "the best of those that hold a word, without their texts"
            ),
        },
        general=("out_dir",),
        folder=None,  # it writes nothing
    ),
    Job(
        name="finetune",
        about="fine-tune a base model on a selection of a run, or on any data",
        load=_finetune,
        uses=("finetune", "model", "data", "prompt", "cluster", "track"),
        examples={
            "out_dir=runs/first finetune.selection=golden": (
                "all weights of the run's model, on its golden rows"
            ),
            "out_dir=runs/first finetune.selection=golden finetune=lora": ("an adapter instead"),
            "out_dir=runs/other data.path=rows.jsonl model.path=/models/m": (
                "on any rows, without scores"
            ),
        },
        unread=("data.on_too_long", "data.excerpt_chars", "data.retry"),
        takes=_taken_by_training,
        folder=_model_folder,
        imports=LIBRARIES,
    ),
    Job(
        name="evaluate",
        about="evaluate the models of a run, or any others",
        load=_evaluate,
        uses=(
            *("evaluate", "generate", "judge", "model", "data", "prompt", "score", "cluster"),
            "track",
        ),
        examples={
            "out_dir=runs/first evaluate.held_out_path=test.jsonl": (
                "the models of the run on rows of your own, by likelihood"
            ),
            "out_dir=runs/a evaluate=mt_bench evaluate.prompts_path=mt.jsonl judge.model=/m/j": (
                "answers to MT-Bench, graded by a judge model"
            ),
            "out_dir=runs/first evaluate=lm_eval evaluate.tasks=[arc_easy]": (
                "on tasks of EleutherAI's harness"
            ),
        },
        unread=EVALUATE_UNREAD,
        takes=_taken_by_evaluation,
        folder=None,  # results.json is kept over all evaluations of a run
        imports=LIBRARIES,
    ),
    Job(
        name="pipeline",
        about="every stage in turn, skipping what is done",
        load=_pipeline,
        uses=tuple(section for section in sections() if section not in NOT_OF_THE_PIPELINE),
        examples={
            "experiment=demo": ("the demo: our rows, the small model, a few steps of training"),
            "data.path=rows.jsonl model.path=/models/m out_dir=runs/first": (
                "score, and select golden, bottom, longest and random rows"
            ),
            "experiment=verdict data.path=rows.jsonl model.path=/models/m out_dir=runs/v": (
                "and train on each, to see whether golden rows help"
            ),
        },
        general=SCORE_GENERAL,
        requires=PATHS,
        imports=LIBRARIES,
    ),
    Job(
        name="report",
        about="a run as one page for a browser: rows, scores, curves, verdict",
        load=_report,
        uses=("report",),
        examples={
            "out_dir=runs/first": "report/index.html, of a run that still goes on too",
            "out_dir=runs/first report.text=false": "without the texts of the rows",
            "out_dir=runs/first report.selection=best": "with the cut of another selection",
        },
        general=("out_dir",),
    ),
    Job(
        name="study",
        about="what a score is worth: how far it rests on its anchors, and whether it pays",
        load=_study,
        uses=(*("study", *SCORE_USES, "finetune", "evaluate", "track"),),
        examples={
            "study=anchor_robustness out_dir=runs/first": (
                "would other anchors keep the same rows? from the scores of a run"
            ),
            "study=correlation out_dir=runs/first finetune.max_steps=20": (
                "does a model learn more from rows with higher scores? 12 arms and more, trained"
            ),
            "study=anchor_robustness data.path=rows.jsonl model=demo out_dir=runs/a": (
                "the rows scored first, where they are not yet"
            ),
        },
        unread=STUDY_UNREAD,
        takes=_taken_by_evaluation,
        needs_only_first=_is_of_files,
        folder=_study_folder,
        imports=LIBRARIES,
    ),
    Job(
        name="status",
        about="what a run is doing, or how it ended, read from its folder",
        load=_status,
        uses=("status",),
        examples={
            "out_dir=runs/first": "once",
            "out_dir=runs/first status.watch=true": "again and again, until Ctrl-C",
            "out_dir=s3://bucket/first status.json=true": "from anywhere, for a program",
        },
        general=("out_dir",),
        folder=None,  # it writes nothing
    ),
    Job(
        name="bench",
        about="measure speed on this machine, or what bfloat16 changes",
        load=_bench,
        uses=("bench", "model", "data", "prompt", "score"),
        examples={
            "bench=engine": "the engine against this machine's rate of matrix products",
            "bench=peers bench.repeats=3 bench.out=peers.json": (
                "beside what else a user could run"
            ),
            "bench=dtypes": "what bfloat16 does to the answer",
        },
        general=("seed",),
        requires=(),
        folder=None,
        imports="torch and transformers",
    ),
)
JOBS = {job.name: job for job in _ALL}
