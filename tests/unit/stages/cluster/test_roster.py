"""Who works, as the log and the status tell it; without Ray."""

import logging
from dataclasses import replace

import pytest

from nuggets_ray.run.stage_status import WorkerCounts
from nuggets_ray.stages.cluster import roster as module
from nuggets_ray.stages.cluster.deaths import Exit, LifeEvent, Process
from nuggets_ray.stages.cluster.roster import WAIT_SAID_S, Roster

FIRST = Process("node-1", "worker-1", "actor-1")
OTHER = Process("node-2", "worker-2", "actor-2")
AGAIN = replace(FIRST, worker_id="worker-3")
CRASH = Exit("SYSTEM_ERROR", "Worker unexpectedly exits with a connection error code 2.")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="nuggets_ray")
    return caplog


@pytest.fixture
def roster() -> Roster:
    roster = Roster(2, Clock())
    roster.follow_nodes({"node-1": "alpha", "node-2": "beta"})
    return roster


def start_both(roster: Roster) -> None:
    roster.follow([LifeEvent(FIRST), LifeEvent(OTHER), LifeEvent(FIRST, 12.34)])


def test_loading_and_ready(roster: Roster, said: pytest.LogCaptureFixture) -> None:
    assert roster.counts == WorkerCounts(wanted=2)
    start_both(roster)
    assert roster.counts == WorkerCounts(wanted=2, loading=1, ready=1)
    assert said.messages == [
        "worker 1 of 2 loads the model",
        "worker 2 of 2 loads the model",
        "worker 1 of 2 is ready after 12.3 s",
    ]
    roster.follow([LifeEvent(FIRST), LifeEvent(FIRST, 0.0)])  # told again
    assert len(said.messages) == 3


def test_a_worker_that_is_lost_and_replaced(roster: Roster, said: pytest.LogCaptureFixture) -> None:
    start_both(roster)
    roster.follow_exits({"worker-1": CRASH})
    assert roster.counts == WorkerCounts(wanted=2, loading=1, lost=1)
    assert "worker 1 of 2 is lost (by a signal such as SIGKILL or SIGSEGV: Ray says" in said.text
    assert "unexpectedly exits" in said.text
    roster.follow([LifeEvent(AGAIN), LifeEvent(AGAIN, 3.0)])
    assert roster.counts == WorkerCounts(wanted=2, loading=1, ready=1, lost=1, replaced=1)
    assert "worker 1 of 2 starts again and loads the model" in said.messages
    roster.follow_exits({"worker-1": CRASH})
    assert roster.counts.lost == 1, "told once"


def test_one_whose_next_life_is_told_first(
    roster: Roster, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "exits_of", lambda processes: {})
    start_both(roster)
    roster.follow([LifeEvent(AGAIN)])
    assert roster.counts == WorkerCounts(wanted=2, loading=2, lost=1, replaced=1)
    assert "worker 1 of 2 is lost (by a signal such as SIGKILL or SIGSEGV)" in said.text


def test_memory_in_ray_s_own_word(roster: Roster, said: pytest.LogCaptureFixture) -> None:
    start_both(roster)
    roster.follow_exits({"worker-2": Exit("NODE_OUT_OF_MEMORY", "long")})
    assert "worker 2 of 2 is lost (Ray ended them because the memory of their node" in said.text
    assert roster.num_out_of_memory == 1


def test_one_that_ended_as_it_should_is_not_lost(
    roster: Roster, said: pytest.LogCaptureFixture
) -> None:
    start_both(roster)
    roster.follow_exits({"worker-1": Exit("INTENDED_USER_EXIT", "ray.kill")})
    roster.begin()
    roster.follow([LifeEvent(OTHER)])
    assert roster.counts == WorkerCounts(wanted=2, loading=1)
    assert "lost" not in said.text


def test_nodes_come_and_go_with_their_workers(
    roster: Roster, said: pytest.LogCaptureFixture
) -> None:
    start_both(roster)
    roster.follow_nodes({"node-1": "alpha", "node-3": "gamma"})
    assert {"node beta is lost", "node gamma joined"} <= set(said.messages)
    assert "worker 2 of 2 is lost (its node beta is lost)" in said.text
    assert roster.counts == WorkerCounts(wanted=2, ready=1, lost=1)


def test_waiting_is_said_once(said: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    roster = Roster(2, clock)
    roster.follow([])
    for _ in range(3):
        clock.now_s += WAIT_SAID_S
        roster.follow([LifeEvent(FIRST)])
    waits = [line for line in said.messages if line.startswith("waiting for 1 of 2 workers")]
    assert len(waits) == 1
    roster.follow([LifeEvent(OTHER)])
    roster.follow_exits({"worker-2": CRASH})
    for _ in range(3):
        clock.now_s += WAIT_SAID_S
        roster.follow([])
    assert len([line for line in said.messages if line.startswith("waiting for 1")]) == 2


def test_one_that_hangs_is_lost_by_that(roster: Roster, said: pytest.LogCaptureFixture) -> None:
    start_both(roster)
    roster.follow([LifeEvent(FIRST, hung_s=30.0)])
    assert roster.counts == WorkerCounts(wanted=2, loading=1, lost=1)
    assert "worker 1 of 2 is lost (one call of the engine took over 30 s" in said.text
    roster.follow_exits({"worker-1": CRASH})
    assert roster.counts.lost == 1


def test_more_are_wanted_while_more_come_up_to_the_most() -> None:
    more = [replace(FIRST, worker_id=f"worker-{n}", actor_id=f"actor-{n}") for n in range(4)]
    for most, wanted in ((3, 3), (0, 2)):
        roster = Roster(2, Clock(), most=most)
        roster.follow([LifeEvent(process) for process in more])
        assert roster.counts.wanted == wanted
