"""study=correlation: each arm is trained and evaluated in turn; what an arm gave is kept, and the
same call goes on with those that are missing.

selections/study-* -> models/study-* -> evaluation -> studies/correlation/arms/*.json
"""

import hashlib
import logging
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.checks import check_method
from nuggets_ray.evaluate.likelihood.paired import BENCHMARK, MEAN_LOGPROB
from nuggets_ray.evaluate.likelihood.rows import check_held_out
from nuggets_ray.evaluate.models import BASE
from nuggets_ray.evaluate.report import format_page
from nuggets_ray.evaluate.results import ALL, Result, Results, read_results, write_results
from nuggets_ray.run.joined import read_rows
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest
from nuggets_ray.run.selections import write_selection
from nuggets_ray.run.study_arms import read_arm, write_arm
from nuggets_ray.stages.cluster.workers import connected
from nuggets_ray.stages.evaluate.job import evaluate
from nuggets_ray.stages.finetune.job import check_finetune, finetune
from nuggets_ray.studies.arms import StudyRows, TrainingArm, only, plan_arms
from nuggets_ray.studies.correlation import ArmResult
from nuggets_ray.studies.correlation_report import correlation_report
from nuggets_ray.studies.facts import run_facts
from nuggets_ray.studies.page import Report
from nuggets_ray.studies.study_rows import STUDY_PREFIX, mean_signal, read_study_rows

logger = logging.getLogger(__name__)

STUDY = "correlation"
PRIMARY = f"{BENCHMARK}/{MEAN_LOGPROB}"
SET_NAME = "study-correlation"
"""As what the held-out rows are evaluated, beside the user's own evaluations."""


def study_correlation(config: Config) -> Report:
    """Train and evaluate the arms that are missing, and report all that are known.

    Raises UserError for what the user can mend, before a model is loaded.
    """
    facts = run_facts(config.out_dir, config.seed)
    _check(config)
    rows = read_study_rows(config.out_dir, config.study.by)
    study = config.study
    arms, missing = plan_arms(rows, study.by, study.groups, study.seeds, config.seed)
    asked = only(arms, study.arms)
    for signal in missing:
        logger.warning("no arms of %s: this run does not have it", signal)
    results = {arm.label: _known(config, rows, arm) for arm in arms}
    todo = [arm for arm in asked if results[arm.label] is None]
    logger.info("%d trainings, %d of them known already", len(asked), len(asked) - len(todo))
    with connected(config.cluster):
        for number, arm in enumerate(todo):
            logger.info("arm %s, %d of %d", arm.label, number + 1, len(todo))
            results[arm.label] = _train(config, rows, arm)
    known = [result for result in results.values() if result is not None]
    left_out = [arm.label for arm in arms if results[arm.label] is None]
    return correlation_report(known, left_out, missing, config.study, facts | _settings(config))


def _check(config: Config) -> None:
    check_finetune(config.finetune)
    if config.evaluate.method != BENCHMARK:
        raise UserError(
            f"evaluate={config.evaluate.method}: study=correlation evaluates by likelihood: leave "
            "it out"
        )
    check_method(config.evaluate, config.judge, config.generate)
    check_held_out(config.out_dir, config.evaluate.held_out_path)


def _settings(config: Config) -> dict[str, str]:
    finetune_ = config.finetune
    steps = f"{finetune_.epochs:g} epochs" + (
        f", at most {finetune_.max_steps} steps" if finetune_.max_steps else ""
    )
    held_out = config.evaluate.held_out_path or "rows of the data itself (data.holdout)"
    return {
        "training": f"{finetune_.method}, {steps} of {finetune_.batch_rows} rows, learning rate "
        f"{finetune_.learning_rate:g}",
        "held-out rows": held_out,
    }


def _key(config: Config, rows: StudyRows, arm: TrainingArm) -> dict[str, Any]:
    """What an arm's numbers rest on: with another, they are computed again."""
    ids = "\n".join(sorted(rows.example_id_N[arm.row_K].tolist()))
    not_of_the_weights = ("selection", "selections", "name", "allow_partial", "max_failures")
    made = asdict(config.finetune)
    scored = (read_manifest(config.out_dir) or {}).get("fingerprint", {})
    return {
        "rows": hashlib.sha256(ids.encode()).hexdigest(),
        "finetune": {name: made[name] for name in made if name not in not_of_the_weights},
        "seed": config.seed + arm.seed,
        "weights": scored.get("weights"),
        "template": scored.get("template"),
        "held_out": [_file_hash(config), config.evaluate.limit],
    }


def _file_hash(config: Config) -> str | None:
    """Of the held-out rows' file, None where it is no single file."""
    own = RunFolder(config.out_dir).held_out
    uri = config.evaluate.held_out_path or own
    return io.sha256(uri) if uri != "demo" and io.exists(uri) else uri


def _known(config: Config, rows: StudyRows, arm: TrainingArm) -> ArmResult | None:
    kept = read_arm(config.out_dir, STUDY, arm.label)
    if kept is None:
        return None
    key, result = kept
    if key != _key(config, rows, arm):
        changed = [n for n, value in _key(config, rows, arm).items() if key.get(n) != value]
        logger.warning("%s was of another %s: computed again", arm.label, " and ".join(changed))
        return None
    return ArmResult(**result)


def _train(config: Config, rows: StudyRows, arm: TrainingArm) -> ArmResult:
    """Select, train, evaluate, keep the numbers; the weights go unless they are to be kept."""
    _select(config, rows, arm)
    seed = config.seed + arm.seed
    own = replace(config.finetune, selection=arm.label, selections=[], name=None)
    finetune(replace(config, seed=seed, finetune=own))
    base, trained = _evaluate(config, arm)
    assert base.value is not None and trained.value is not None
    result = ArmResult(
        name=arm.name,
        kind=arm.kind,
        seed=arm.seed,
        num_rows=len(arm.row_K),
        num_answer_tokens=int(rows.num_answer_tokens_N[arm.row_K].sum()),
        mean_signal=mean_signal(rows, config.study.by, arm.row_K),
        gain=trained.value - base.value,
        held_out=trained.data["rows"],
    )
    write_arm(config.out_dir, STUDY, arm.label, _key(config, rows, arm), asdict(result))
    if not config.study.keep_models:
        _remove(config.out_dir, arm.label)
    return result


def _remove(out_dir: str, label: str) -> None:
    """An arm's weights, and what its training left; the log-probs of its answers stay, row by row,
    in evaluation/likelihood/."""
    folder = RunFolder(out_dir)
    of_arm = f"{label}-"
    merged = io.list_folders(folder.evaluation.all_merged)
    keys = [name.removeprefix(of_arm) for name in merged if name.startswith(of_arm)]
    for uri in (
        *(folder.evaluation.merged(label, key) for key in keys),
        folder.model(label).path,
        folder.training(label).path,
        folder.config(f"finetune-{label}"),
    ):
        io.delete(uri)


def _evaluate(config: Config, arm: TrainingArm) -> tuple[Result, Result]:
    """The log-prob of the held-out answers under the base and the arm. The user's own evaluation,
    and what its primary metric is pinned to, is left as it was."""
    uri = RunFolder(config.out_dir).evaluation.results
    before = _users_own(read_results(config.out_dir)) if io.exists(uri) else None
    evaluated = replace(
        config.evaluate,
        models=[BASE, arm.label],
        name=SET_NAME,
        show_answers=0,
        compare=[],
        primary=read_results(config.out_dir).primary if io.exists(uri) else PRIMARY,
    )
    evaluate(replace(config, evaluate=evaluated))
    found = {
        result.model: result
        for result in read_results(config.out_dir).results
        if (result.benchmark, result.metric, result.subset) == (BENCHMARK, MEAN_LOGPROB, ALL)
        and result.name == SET_NAME
    }
    _put_back(config.out_dir, before)
    return found[BASE], found[arm.label]


def _users_own(results: Results) -> Results | None:
    """Without what a killed study left; None where that was all."""
    own = tuple(result for result in results.results if result.name != SET_NAME)
    return replace(results, results=own) if own else None


def _put_back(out_dir: str, before: Results | None) -> None:
    folder = RunFolder(out_dir).evaluation
    if before is None:
        io.delete(folder.results)
        io.delete(folder.results_page)
        return
    write_results(out_dir, before)
    io.write_bytes(folder.results_page, format_page(before).encode())


def _select(config: Config, rows: StudyRows, arm: TrainingArm) -> None:
    """selections/study-ARM-SEED, which says that the study chose it."""
    ids_K = rows.example_id_N[arm.row_K]
    value_K = rows.values[config.study.by][arm.row_K]
    ours = pa.table(
        {
            f"{STUDY_PREFIX}example_id": pa.array(ids_K.tolist(), pa.string()),
            f"{STUDY_PREFIX}signal": pa.array(value_K, pa.float64(), from_pandas=True),
        }
    )
    settings = {
        **asdict(SelectConfig(rule="top_k", k=len(ids_K), prefix=STUDY_PREFIX)),
        "by": f"study {arm.name} of {config.study.by}",
        "name": arm.label,
        "seed": config.seed,
    }
    record = {"settings": settings, "num_rows": len(ids_K), "partial": False}
    texts = read_rows(config.out_dir, ids_K)
    write_selection(config.out_dir, arm.label, texts, ours, record)
