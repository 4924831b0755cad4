"""Whose death is counted against a block or a model, from what processes tell; without Ray."""

from dataclasses import replace

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.stages.cluster.deaths import Exit, Journal, Process, cannot_load, died, reason

FIRST = Process("node-1", "worker-1", "actor-1")
SECOND = Process("node-1", "worker-2", "actor-1")
THIRD = Process("node-2", "worker-3", "actor-1")
OTHER = Process("node-2", "worker-4", "actor-2")
CRASH = Exit(
    "SYSTEM_ERROR",
    "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes "
    "include: (1) many",
)


def test_a_block_names_those_that_began_with_it_and_never_ended() -> None:
    journal = Journal()
    assert journal.hold("a", FIRST) == []
    assert journal.hold("b", OTHER) == []
    assert journal.hold("a", SECOND) == [FIRST]
    assert journal.hold("a", THIRD) == [FIRST, SECOND]
    journal.release("a")
    assert journal.hold("a", OTHER) == []


def test_a_process_that_was_out_of_reach_and_is_asked_again_has_not_died() -> None:
    journal = Journal()
    journal.hold("a", FIRST)
    assert journal.hold("a", FIRST) == []
    assert journal.hold("a", SECOND) == [FIRST]
    assert journal.hold("a", SECOND) == [FIRST]


@pytest.mark.parametrize(
    ("live_nodes", "exits", "dead"),
    [
        ({"node-1", "node-2"}, {}, [FIRST, THIRD]),
        ({"node-2"}, {}, [THIRD]),  # a lost node is not the row's doing
        (set(), {"worker-1": CRASH}, []),
        ({"node-1"}, {"worker-1": CRASH}, [FIRST]),
        ({"node-1"}, {"worker-1": Exit("INTENDED_SYSTEM_EXIT", "drained")}, []),
        ({"node-1"}, {"worker-1": Exit("NODE_OUT_OF_MEMORY", "")}, [FIRST]),
    ],
)
def test_only_deaths_on_a_live_node_count(
    live_nodes: set[str], exits: dict[str, Exit], dead: list[Process]
) -> None:
    assert died([FIRST, THIRD], live_nodes, exits) == dead


def test_losses_while_loading_count_in_a_row_until_one_is_ready() -> None:
    journal = Journal()
    journal.loading(FIRST)
    assert journal.lost_loading == []
    journal.loading(SECOND)
    journal.loading(OTHER)
    journal.loading(THIRD)
    assert journal.lost_loading == [FIRST, SECOND]
    journal.ready(OTHER)
    assert journal.lost_loading == []
    journal.loading(replace(FIRST, worker_id="worker-5"))
    assert journal.lost_loading == [THIRD]


def test_one_that_was_ready_and_is_replaced_was_not_lost_while_it_loaded() -> None:
    journal = Journal()
    journal.loading(FIRST)
    journal.ready(FIRST)
    journal.loading(SECOND)
    assert journal.lost_loading == []


def test_the_reason_is_the_memory_where_that_can_be_told() -> None:
    dead = [FIRST, SECOND]
    assert "Ray ended them because the memory" in reason(dead, Exit("NODE_OUT_OF_MEMORY", "long"))
    assert "the kernel ended" in reason([FIRST, replace(SECOND, num_oom_kills=1)], CRASH)
    # another node's kernel is another matter
    assert "kernel" not in reason([replace(THIRD, num_oom_kills=7), FIRST], CRASH)
    told = reason(dead, CRASH)
    assert told.startswith("by a signal such as SIGKILL")
    assert "'Worker unexpectedly exits with a connection error code 2. End of file'" in told
    assert "causes" not in told


def test_the_sentence_names_key_value_and_way_out() -> None:
    config = load(["model.path=/models/large", "cluster.num_workers=3"])
    told = cannot_load(config.model, config.cluster, "the kernel ended processes")
    assert told.startswith("model.path=/models/large: 3 workers in a row died while they loaded")
    assert "(the kernel ended processes)" in told and "cluster.num_workers=3" in told
