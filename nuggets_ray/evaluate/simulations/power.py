"""What the verdict's rule finds: experiments of known effect, judged by the rule itself.

    python -m nuggets_ray.evaluate.simulations.power           about two minutes of one core
Prints the two tables that stand in nuggets_ray/evaluate/README.md: the power where rows are so many
that their noise does not count, and outcomes over rows with noise, also where training tokens
have an effect of their own. An effect is in standard deviations of a training, by which two
trainings on rows drawn in the same way differ. Suffix: N rows.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nuggets_ray.evaluate.verdict.evidence import BOTTOM, GOLDEN, OTHER, RANDOM, Arm, gather
from nuggets_ray.evaluate.verdict.paragraph import BETTER, NOT_TOLD_APART, WORSE
from nuggets_ray.evaluate.verdict.power import found_share
from nuggets_ray.evaluate.verdict.verdict import decide
from nuggets_ray.markdown import markdown_table

NUM_EXPERIMENTS = 200
EFFECTS = (0.0, 2.0, 3.0, 4.0, 5.0)
DESIGNS = {
    (3, 0): "3 + 0",
    (3, 1): "3 + 1",
    (3, 3): "3 + 3 (`experiment=verdict_small`)",
    (5, 5): "5 + 5 (`experiment=verdict`)",
}
"""{(random draws matched in rows, in tokens): what they are called}"""
NUM_ROWS, ROW_NOISE = 40, 0.7
"""Rows, and what the value of each differs by beside its own level, in standard deviations of a
training: together as noisy as 500 rows of 2.5 each.
"""


@dataclass(frozen=True, slots=True)
class World:
    """`effect`: of the golden rows beside their tokens; `token_effect`: of training on as many
    tokens as the golden rows have, in place of as many rows.
    """

    effect: float
    token_effect: float = 0.0


WORLDS = {
    (3, 3): (World(0), World(3), World(0, 5)),
    (5, 5): (World(0), World(3), World(5), World(0, 5), World(5, 5), World(5, -5)),
}
"""{random draws matched in rows, in tokens: the worlds in which they are judged}"""


def make_arms(rng: np.random.Generator, num_draws: tuple[int, int], world: World) -> list[Arm]:
    """Golden, draws of both kinds, base and bottom, each trained once."""
    level_N = rng.normal(-2.0, 20.0, NUM_ROWS)

    def arm(name: str, kind: str, mean: float, in_tokens: bool = False) -> Arm:
        noise_N = ROW_NOISE * rng.normal(size=NUM_ROWS)
        return Arm(name, kind, level_N + mean + rng.normal() + noise_N, in_tokens)

    row_draws, token_draws = num_draws
    return [
        arm("golden", GOLDEN, world.effect + world.token_effect),
        *(arm(f"random-{k}", RANDOM, 0.0) for k in range(row_draws)),
        *(
            arm(f"random-{k}-tokens", RANDOM, world.token_effect, in_tokens=True)
            for k in range(row_draws, row_draws + token_draws)
        ),
        arm("base", OTHER, -20.0),
        arm("bottom", BOTTOM, -1.0),
    ]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Shares of the experiments: by outcome, and where explained_by_tokens was seen."""

    better: float
    worse: float
    explained_by_tokens: float


def outcomes_of(num_draws: tuple[int, int], world: World, num_experiments: int) -> Outcomes:
    """What the rule says of so many experiments, seeded."""
    rng = np.random.default_rng(0)
    counts = dict.fromkeys((BETTER, WORSE, NOT_TOLD_APART), 0)
    num_explained = 0
    for seed in range(num_experiments):
        verdict = decide(gather(make_arms(rng, num_draws, world), "simulated", seed=seed))
        counts[verdict.outcome] += 1
        num_explained += "explained_by_tokens" in verdict.signs
    better, worse = counts[BETTER] / num_experiments, counts[WORSE] / num_experiments
    return Outcomes(better, worse, num_explained / num_experiments)


def power_table(designs: Sequence[tuple[int, int]] = tuple(DESIGNS)) -> str:
    """How often each design finds each effect, in Markdown."""
    rows = [
        (DESIGNS[draws], *(f"{found_share(draws, effect):.1%}" for effect in EFFECTS))
        for draws in designs
    ]
    header = (
        "random draws, in rows + in tokens",
        *(f"effect {effect:g}" for effect in EFFECTS),
    )
    return markdown_table(header, rows)


def outcome_table(num_experiments: int) -> str:
    """What the rule says in each world, in Markdown."""
    rows = []
    for draws, worlds in WORLDS.items():
        for world in worlds:
            found = outcomes_of(draws, world, num_experiments)
            shares = (found.better, found.worse, found.explained_by_tokens)
            rows.append(
                (
                    f"{draws[0]} + {draws[1]}",
                    f"{world.effect:g}",
                    f"{world.token_effect:g}",
                    *(f"{share:.1%}" for share in shares),
                )
            )
    header = ("draws", "effect", "effect of tokens", "better", "worse", "tokens may explain it")
    return markdown_table(header, rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=NUM_EXPERIMENTS)
    print(power_table())
    print()
    print(outcome_table(parser.parse_args().experiments))


if __name__ == "__main__":
    main()
