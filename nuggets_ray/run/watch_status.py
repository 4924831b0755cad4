"""Print the status of a run: once, or again and again until Ctrl-C."""

import signal
import sys
import time
from dataclasses import asdict
from typing import Any

from nuggets_ray.config.status import StatusConfig
from nuggets_ray.run.status import RunStatus, read_status
from nuggets_ray.run.status_text import status_lines


def show_status(out_dir: str, config: StatusConfig) -> dict[str, Any]:
    """Print how the run in `out_dir` is doing; returns that, whole under status.json.

    On a terminal status.watch keeps one screen, elsewhere it prints one after the other. Raises
    UserError where no run has begun.
    """
    if config.watch:
        # what is told of Ctrl-C elsewhere, that something is being finished, is not so here
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            _watch(out_dir, config)
        except KeyboardInterrupt:
            sys.stdout.flush()
    status = read_status(out_dir)
    if config.json:
        return as_json(status)
    if not config.watch:
        print("\n".join(status_lines(status, time.time())), flush=True)
    return {"wrote": [], "status": "done", "stage": status.stage, "state": status.state}


def as_json(status: RunStatus) -> dict[str, Any]:
    """The status under the names of the dataclasses."""
    return {"wrote": [], "status": "done", "is_alive": status.is_alive, **asdict(status)}


def _watch(out_dir: str, config: StatusConfig) -> None:
    import json

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    if config.json or not console.is_terminal:
        while True:
            status = read_status(out_dir)
            lines = (
                [json.dumps(as_json(status))] if config.json else status_lines(status, time.time())
            )
            print("\n".join([*lines, *([] if config.json else [""])]), flush=True)
            time.sleep(config.every_s)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            lines = status_lines(read_status(out_dir), time.time())
            live.update(Text("\n".join(lines), no_wrap=False), refresh=True)
            time.sleep(config.every_s)
