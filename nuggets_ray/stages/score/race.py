"""schedule=race and schedule=explore on Ray: round after round, what schedule/race.py or explore.py
plans is computed by warm workers.

The run folder is the state: rounds/ holds each plan and its answers, scores/ the rows that met
every anchor. So whatever ended an attempt, the next one replays the folder and goes on: it computes
what decided rounds still wait for, then plans anew.
"""

import logging
from dataclasses import asdict

import numpy as np
import ray

from nuggets_ray import io
from nuggets_ray.config.schema import Config
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.run.candidates import CandidateIds
from nuggets_ray.run.funnel import funnel_line, read_funnel
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.posterior import posterior_basis, write_posterior
from nuggets_ray.run.round_times import RoundTimes
from nuggets_ray.run.rounds import Round, read_rounds, write_round
from nuggets_ray.schedule.explore import (
    begin_explore,
    explore_settings,
    plan_explore,
    record_explore,
    why_not_explore,
)
from nuggets_ray.schedule.posterior import basis, posterior_of_run
from nuggets_ray.schedule.race import RacePlan, RaceSettings, plan, plan_rest, why_full
from nuggets_ray.schedule.race_cost import later_cost
from nuggets_ray.schedule.record import ask_cost, record_race, round_asks, saved_passes
from nuggets_ray.schedule.replay import Field, Replay, race_hashes, spent_barriers
from nuggets_ray.schedule.seen import ALL, Entrants
from nuggets_ray.schedule.todo import Todo
from nuggets_ray.schedule.wanted import wanted_rows, wanted_score
from nuggets_ray.score.one_shot import self_anchor_of
from nuggets_ray.score.raced import write_complete, write_eliminated
from nuggets_ray.score.rounding import known_noise
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.pool import ScorerPool
from nuggets_ray.stages.score.round import Racing, compute
from nuggets_ray.stages.score.rows import make_progress, timed
from nuggets_ray.stages.score.worker import Setup

logger = logging.getLogger(__name__)

MAX_BLOCKS = 4096
"""Tickets of a pool; a race that needs more starts its workers again."""


def is_raced(
    run: Run, config: Config, candidates: CandidateIds, todo: Todo, base: ZeroShot
) -> bool:
    """Whether there are rounds to run; where a schedule falls back to full, it is said why."""
    if read_rounds(config.out_dir):
        return True  # what was seen by a race is not computed again under schedule=full
    name = config.schedule.name
    if name == "full":
        return False
    num_rows, num_anchors = len(_entrant_rows(candidates, todo)), len(base.anchors)
    if name == "explore":
        reason = why_not_explore(num_rows, num_anchors, config.explore.num_anchors)
    else:
        reason = why_full(num_rows, num_anchors, wanted_rows(config.race, config.select, num_rows))
    if reason is not None:
        logger.warning("schedule=%s has nothing to gain here, so all is scored: %s", name, reason)
        run.manifest[name] = {"fell_back": reason}
    return reason is None


def race(
    run: Run,
    setup: Setup,
    candidates: CandidateIds,
    todo: Todo,
    base: ZeroShot,
    prompt: Prompt,
    workers: Workers,
) -> dict[str, str]:
    """Race the candidates of `todo`, with those that are scored already, to the end;
    {content_id: reason} of those that cannot be scored.

    Under schedule=full, in a folder that was raced, every row is completed; under schedule=explore
    every row meets the same few anchors and none is completed but the pilot.
    """
    is_explore = setup.config.schedule.name == "explore"
    if is_explore:
        begin_explore(run)
    racing = _start(run, setup.config, candidates, todo, base, prompt)
    num_rows = len(racing.rows)
    progress = make_progress(run, num_rows, todo.num_reused, setup.config, workers)
    with (
        timed(run, progress, todo.num_reused),
        ScorerPool(run, setup, ray.put(base), workers, progress, MAX_BLOCKS) as pool,
    ):
        times = RoundTimes(run, workers.num_workers)
        while True:
            state = racing.replay()
            if state.waiting:
                num_waiting = sum(len(waiting.rows) for waiting in state.waiting)
                run.tell(f"round {state.waiting[-1].number}: {num_waiting} candidates to compute")
                progress.expect(num_waiting, _later_s(racing, state, workers))
                with times.of(state.waiting[-1].number, pool.idle_worker_s):
                    racing.leave(compute(racing, state.waiting, pool, workers))
                continue
            if (state.is_covered_N & (state.seen.stage_N != ALL)).any():
                write_complete(run, racing.field, base, state)
                continue
            step = _plan(racing, state)
            if not step.asks:
                break
            _decide(racing, step, state)
    state = racing.replay()
    status = "explored" if is_explore else "eliminated"
    write_eliminated(run, racing.field, base, candidates.copies(), state, status)
    if is_explore:
        record_explore(run, racing.entrants, state.seen)
        return racing.unscored
    run.manifest.pop("explore", None)
    rounds = read_rounds(run.out_dir)
    record_race(run, racing.settings, racing.entrants, racing.field, step, rounds)
    return racing.unscored


def write_posteriors(
    run: Run,
    config: Config,
    candidates: CandidateIds,
    todo: Todo,
    base: ZeroShot,
    prompt: Prompt,
) -> None:
    """Write the posterior score of every row, whatever the schedule was, or say why there is
    none. Where nothing was told that is new, it is there already."""
    racing = _start(run, config, candidates, todo, base, prompt)
    seen = racing.replay().seen
    field = racing.field
    told = basis(field.content_id_N, field.zero_shot_M, seen, racing.settings)
    if posterior_basis(run.out_dir) == told:
        return
    io.delete(RunFolder(run.out_dir).posterior)
    scores = posterior_of_run(racing.entrants, seen, racing.settings)
    if isinstance(scores, str):
        is_needed = config.schedule.name == "explore"
        logger.log(
            logging.WARNING if is_needed else logging.INFO, "no posterior scores: %s", scores
        )
        return
    ids_N = field.content_id_N
    write_posterior(run.out_dir, ids_N, scores.score_N, scores.low_N, scores.high_N, told)


def _entrant_rows(candidates: CandidateIds, todo: Todo) -> np.ndarray:
    """Distinct rows that are scored or can be."""
    is_left_out_N = np.isin(candidates.content_id_N, list(todo.left_out))
    return np.flatnonzero(~candidates.is_duplicate_N & ~is_left_out_N)


def _start(
    run: Run,
    config: Config,
    candidates: CandidateIds,
    todo: Todo,
    base: ZeroShot,
    prompt: Prompt,
) -> Racing:
    rows = _entrant_rows(candidates, todo)
    ids_N = candidates.content_id_N[rows]
    self_N = np.full(len(rows), -1)
    anchors = {anchor.content_id for anchor in base.anchors}
    for index in np.flatnonzero(np.isin(ids_N, list(anchors))):
        own = self_anchor_of(str(ids_N[index]), base, prompt)
        self_N[index] = -1 if own is None else own
    entrants = Entrants(
        hash_N=race_hashes(ids_N, config.seed),
        demo_tokens_N=candidates.num_tokens_N[rows],
        anchor_tokens_M=np.array([anchor.encoding.num_tokens for anchor in base.anchors]),
        rounding_M=known_noise(base.anchors),
    )
    field = Field(ids_N, self_N, base.zero_shot_A)
    settings = _settings(config, len(rows))
    return Racing(run, config, candidates, base, settings, rows, entrants, field, {})


def _settings(config: Config, num_rows: int) -> RaceSettings:
    if config.schedule.name == "explore":
        return explore_settings(config.race, config.select, num_rows)
    is_race = config.schedule.name == "race"
    return RaceSettings(
        wanted_rows(config.race, config.select, num_rows) if is_race else num_rows,
        config.race.max_loss,
        pilot=config.race.pilot,
        max_barriers=config.race.rounds,
        min_score=wanted_score(config.race, config.select) if is_race else None,
    )


def _plan(racing: Racing, state: Replay) -> RacePlan:
    """The next round. Where every row is wanted, all that is missing is asked at once."""
    if racing.config.schedule.name == "full":
        step = plan_rest(racing.entrants, state.seen)
    elif racing.config.schedule.name == "explore":
        num_anchors = racing.config.explore.num_anchors
        step = plan_explore(racing.entrants, state.seen, racing.settings, num_anchors)
    else:
        rounds = read_rounds(racing.run.out_dir)
        spent = spent_barriers(rounds, racing.settings, len(racing.rows))
        step = plan(racing.entrants, state.seen, racing.settings, spent)
    return step


def _decide(racing: Racing, step: RacePlan, state: Replay) -> None:
    """Put a plan on disk: from then on it is authoritative."""
    rounds, settings, entrants = read_rounds(racing.run.out_dir), racing.settings, racing.entrants
    number = rounds[-1].number + 1 if rounds else 0
    ids_N = racing.field.content_id_N
    asks = round_asks(ids_N, step, settings)
    passes, tokens = ask_cost(entrants, step.asks)
    report = {
        **asdict(step.report),
        "min_score": settings.min_score,
        "max_loss": settings.max_loss,
        "num_candidates": len(ids_N),
        "num_anchors": entrants.num_anchors,
        "num_passes": passes,
        "num_tokens": tokens,
        "num_passes_saved": saved_passes(entrants, state.seen, step),
    }
    write_round(racing.run.out_dir, Round(number, asks, step.target, step.block, report))
    name = "explore" if racing.config.schedule.name == "explore" else "race"
    logger.info(
        "%s: %s", name, funnel_line(read_funnel(racing.run.out_dir, racing.run.manifest)[-1])
    )


def _later_s(racing: Racing, state: Replay, workers: Workers) -> float | None:
    """Seconds of the rounds after the one that waits, expected; None of what is no race."""
    run = racing.run
    if racing.config.schedule.name != "race":
        return None
    funnel = read_funnel(run.out_dir, run.manifest)
    decided = read_rounds(run.out_dir)[-1]
    cost = later_cost(racing.entrants, racing.settings, state.seen, funnel[-1], decided.target)
    tokens_per_s: float = run.manifest["calibration"]["tokens_per_s"]
    return cost.tokens / tokens_per_s / workers.num_workers
