"""The score job with workers in which something is wrong."""

import subprocess
import textwrap
from pathlib import Path

from score_runs import command, environment

KILLS_ITS_WORKER = """
def poisoned(score):
    def score_or_die(self, candidates, demonstrations, signals):
        if any(example.messages[0].text.startswith("Say number 77 ") for _, example in candidates):
            os.kill(os.getpid(), signal.SIGKILL)
        return score(self, candidates, demonstrations, signals)

    return score_or_die


for name in ("score_some", "answer_some"):
    setattr(scorer.Scorer, name, poisoned(getattr(scorer.Scorer, name)))
"""
"""The row of number 77, of `write_rows`, ends whoever scores it."""

FAULTY = '''
"""The score job, in whose workers something is wrong."""

import ray


def break_worker():
    import sys

    sys.path.insert(0, HERE)
    from late import when_imported

    def change(scorer):
        import os
        import signal

FAULT

    when_imported("nuggets_ray.stages.score.worker", change)


if __name__ == "__main__":
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=150_000_000, log_to_driver=False,
        runtime_env={"worker_process_setup_hook": break_worker},
    )
    from nuggets_ray.jobs import run_job

    run_job("score")
'''


def run_faulty(fault: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The score job, whose workers have a fault: the body of a function that runs in each."""
    script = tmp_path / "faulty.py"
    script.write_text(_script(fault), encoding="utf-8")
    return subprocess.run(
        [*command("score", *arguments)[:1], str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(),
    )


def _script(fault: str) -> str:
    here = repr(str(Path(__file__).parent))
    return FAULTY.replace("HERE", here).replace("FAULT", textwrap.indent(fault, " " * 8))
