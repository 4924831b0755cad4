"""`python -m nuggets_ray JOB [key=value ...]`, and the command `nuggets` of an installed wheel."""

import sys
from difflib import get_close_matches

from nuggets_ray.cli import guard
from nuggets_ray.errors import UserError
from nuggets_ray.jobs import JOBS, run_job

HELP = ("-h", "--help")


def main() -> None:
    """Run the job that the first argument names; without one, list the jobs."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in JOBS:
        sys.exit(guard(lambda: _list_jobs(name)))
    del sys.argv[1]
    run_job(name)


def _list_jobs(name: str) -> None:
    """Print the jobs where help is asked for; UserError for any other name."""
    if name not in HELP:
        meant = get_close_matches(name, JOBS, n=1)
        raise UserError(
            f"{name}: there is no such job: take one of {', '.join(JOBS)}"
            + (f"; did you mean {meant[0]}?" if meant else "")
        )
    print("nuggets JOB [key=value ...], or python -m nuggets_ray JOB [key=value ...]\n")
    for job in JOBS.values():
        print(f"  {job.name:<10}{job.about}")
    print("\nnuggets JOB --help lists the keys of a job and their values.", flush=True)


if __name__ == "__main__":
    main()
