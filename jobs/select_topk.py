"""Keep the best (or worst, longest, random) candidates of a scored run: out_dir/selections/<name>/.

python jobs/select_topk.py out_dir=/data/runs/first select=top_fraction select.fraction=0.05
"""

from typing import Any

from nuggets_ray.cli import run
from nuggets_ray.config.schema import Config
from nuggets_ray.select import default_name


def main(config: Config) -> dict[str, Any]:
    """Write the selection, print its summary and return it."""
    from nuggets_ray.run.select import select_candidates

    result = select_candidates(config)
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
    return result


def folder(config: Config) -> tuple[str, str]:
    """The folder under selections/, by the key that names it."""
    return "select.name", config.select.name or default_name(config.select)


if __name__ == "__main__":
    run(main, uses=("select",), folder=folder)
