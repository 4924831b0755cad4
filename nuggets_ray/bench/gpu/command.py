"""`python -m nuggets_ray.bench.engine --gpu`: the engine on a GPU that nobody has looked at yet.

At most ten minutes on a machine with torch and transformers alone: no Ray, no Hydra, no network, no
data. A section that fails is told and the next one begins; each is printed as it ends, and --out
FILE holds the figures so far as rows {case, contender, metric, value, unit}. `--tiny` does the same
on a CPU with tiny models: that the command works, not how fast anything is.
"""

import importlib.util
import logging
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers

from nuggets_ray.bench.flop import DENSE_SIZE, data_sheet_flops, dense_rate
from nuggets_ray.bench.gpu.checks import check_all
from nuggets_ray.bench.gpu.speed import Bench, Timed, settings
from nuggets_ray.bench.random_models import BARS
from nuggets_ray.bench.rows import Row, format_number, make_row, write_rows
from nuggets_ray.errors import UserError
from nuggets_ray.markdown import markdown_table
from nuggets_ray.score.kernels.varlen import ASKS_FOR_GQA
from nuggets_ray.score.replica import grow_segments
from nuggets_ray.score.speed import Speed

logger = logging.getLogger(__name__)

LIMIT_S = 600.0
CHECKS_SHARE = 0.35
"""Of the time, at most, for whether it is right."""
TINY_DENSE = 256


@dataclass(slots=True)
class Session:
    """The device, when everything has to have ended, the figures so far, and what failed."""

    device: torch.device
    is_tiny: bool
    ends: float
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    dense: float | None = None

    def left_s(self, share: float = 1.0) -> float:
        """Seconds before the end; of `share` of the time."""
        return self.ends - (1 - share) * LIMIT_S - time.monotonic()


def gpu_bench(is_tiny: bool, out: str) -> dict[str, Any]:
    """Print every section; the JSON object of the last line. Raises UserError without a GPU unless
    `is_tiny`."""
    if not is_tiny and not torch.cuda.is_available():
        raise UserError("--gpu: there is no GPU here (or torch cannot see it): --tiny tries a CPU")
    device = torch.device("cpu" if is_tiny else "cuda")
    if device.type == "cuda":
        grow_segments()
    session = Session(device, is_tiny, time.monotonic() + LIMIT_S)
    models = ["tiny"] if is_tiny else list(BARS)
    sections: dict[str, Callable[[], Iterator[str]]] = {
        "the machine": partial(_machine, session),
        "is it right?": partial(_checks, session),
        "what the machine can do": partial(_dense, session),
        **{f"how fast: {name}": partial(_speed, session, name) for name in models},
    }
    for title, section in sections.items():
        _run(title, section, session)
        if out:
            write_rows(out, session.rows)
    status = "done" if not session.failures else "failed"
    print(f"\n{len(session.failures)} of it failed or was left out.", flush=True)
    for failure in session.failures:
        print(f"* {failure}", flush=True)
    wrote = [out] if out else []
    return {"wrote": wrote, "status": status, "num_rows": len(session.rows)}


def _run(title: str, section: Callable[[], Iterator[str]], session: Session) -> None:
    print(f"\n## {title}\n", flush=True)
    if session.left_s() <= 0:
        session.failures.append(f"{title}: skipped, no time left")
        return
    started = time.monotonic()
    try:
        for paragraph in section():
            print(f"{paragraph}\n", flush=True)
    # whatever a machine that nobody has seen raises: the other sections are still worth having
    except Exception as error:
        logger.exception("%s", title)
        session.failures.append(f"{title}: {type(error).__name__}: {error}")
    print(f"({time.monotonic() - started:.0f} s)", flush=True)


def _machine(session: Session) -> Iterator[str]:
    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "varlen_attn asks for enable_gqa": str(ASKS_FOR_GQA),
        "triton": str(importlib.util.find_spec("triton") is not None),
        "C++ compiler": str(shutil.which("g++") or shutil.which("clang++")),
    }
    if session.device.type == "cuda":
        gpu = torch.cuda.get_device_properties(session.device)
        sheet = data_sheet_flops(gpu.name)
        facts |= {
            "GPU": gpu.name,
            "compute capability": f"{gpu.major}.{gpu.minor}",
            "memory": f"{gpu.total_memory / 2**30:.1f} GiB",
            "CUDA": str(torch.version.cuda),
            "data sheet, dense bfloat16": f"{sheet / 1e12:.0f} TFLOP/s" if sheet else "not known",
        }
    session.rows += [make_row("machine", "", name, value, "") for name, value in facts.items()]
    yield "\n".join(f"* {name}: {value}" for name, value in facts.items())


def _checks(session: Session) -> Iterator[str]:
    rows, num_wrong = [], 0
    for checked in check_all(session.device, lambda: session.left_s(CHECKS_SHARE)):
        case = f"{checked.family}, {checked.dtype}"
        told = checked.failure or ("right" if checked.is_right else "WRONG")
        value = told if checked.failure else checked.off_nats
        session.rows.append(make_row(case, checked.way, "off", value, "nats"))
        off = "" if checked.failure else f"{checked.off_nats:.2g}"
        rows.append([case, checked.way, off, f"{checked.allowed_nats:.2g}", told])
        if not checked.is_right:
            num_wrong += 1
            session.failures.append(f"{case}, {checked.way}: {told}")
    yield markdown_table(["model", "way", "off, nats", "allowed", ""], rows)
    yield f"{len(rows) - num_wrong} of {len(rows)} ways are right."


def _dense(session: Session) -> Iterator[str]:
    size = TINY_DENSE if session.is_tiny else DENSE_SIZE
    dtype = torch.float32 if session.is_tiny else torch.bfloat16
    session.dense = dense_rate(session.device, dtype, size)
    session.rows.append(make_row("dense", "", "rate", session.dense, "FLOP/s"))
    yield f"A product of two {size:,}-squares: {session.dense / 1e12:.3g} TFLOP/s."


def _speed(session: Session, name: str) -> Iterator[str]:
    if session.dense is None:
        raise RuntimeError("there is no dense rate to compare with")
    bench = Bench(name, session.device, session.dense)
    try:
        yield from _timings(session, bench)
    finally:
        bench.close()


def _timings(session: Session, bench: Bench) -> Iterator[str]:
    best: Timed | None = None
    best_speed, all_timed, longest_s = Speed("merge"), [], 0.0
    for setting, speed, pack in settings(session.device):
        pack_tokens = pack or (best.pack_tokens if best else 0)
        if not pack_tokens:
            continue
        if session.left_s() < 2 * longest_s:
            session.failures.append(f"{bench.name}, {setting}: skipped, no time left")
            continue
        started = time.monotonic()
        timed = bench.timed(setting, speed, pack_tokens)
        longest_s = max(longest_s, time.monotonic() - started)
        all_timed.append(timed)
        if timed.failure:
            session.failures.append(f"{bench.name}, {setting}, {pack_tokens}: {timed.failure}")
        elif best is None or timed.flops > best.flops:
            best, best_speed = timed, speed
    if best is None:
        raise RuntimeError(f"nothing of {bench.name} could be timed")
    own = bench.rates(best.pack_tokens).in_turn
    yield _table(session, bench, all_timed, own)
    yield _verdict(bench, best, session)
    seconds = bench.profile(best.pack_tokens, best_speed)
    total = sum(seconds.values())
    for group, group_s in seconds.items():
        session.rows.append(make_row(bench.name, "profile", group, group_s, "s"))
    rows = [[group, f"{s / total:.1%}"] for group, s in seconds.items()]
    yield f"Where the time goes ({best.setting}):\n\n" + markdown_table(["group", "share"], rows)


def _table(session: Session, bench: Bench, all_timed: list[Timed], own: float) -> str:
    sheet = None
    if session.device.type == "cuda":
        sheet = data_sheet_flops(torch.cuda.get_device_name(session.device))
    rows = []
    for timed in all_timed:
        setting = f"{timed.setting}, {timed.pack_tokens:,}"
        if timed.failure:
            rows.append([setting, timed.failure, *["-"] * 7])
            continue
        shares = {"data sheet": sheet, "dense": bench.dense, "own products": own}
        figures = {"row_s": (timed.row_s, "s"), "rate": (timed.flops, "FLOP/s")}
        figures |= {f"of {k}": (timed.flops / rate, "") for k, rate in shares.items() if rate}
        figures |= {"peak": (timed.peak_bytes, "bytes"), "formula": (timed.formula_bytes, "bytes")}
        session.rows += [
            make_row(f"{bench.name}, {timed.pack_tokens}", timed.setting, metric, *figure)
            for metric, figure in figures.items()
        ]
        rows.append(
            [
                setting,
                format_number(1e3 * timed.row_s),
                format_number(timed.flops / 1e12),
                *(f"{timed.flops / rate:.1%}" if rate else "-" for rate in shares.values()),
                format_number(timed.peak_bytes / 2**30),
                format_number(timed.formula_bytes / 2**30) if timed.formula_bytes else "-",
            ]
        )
    header = ["setting, pack", "ms a row", "TFLOP/s", "of the data sheet", "of dense here"]
    header += ["of own products", "peak GiB", "formula GiB"]
    return markdown_table(header, [row[: len(header)] for row in rows])


def _verdict(bench: Bench, best: Timed, session: Session) -> str:
    share = best.flops / bench.dense
    told = f"Best: {best.setting} with packs of {best.pack_tokens:,}, {share:.1%} of the dense rate"
    if (bar := BARS.get(bench.name)) is None:
        return f"{told}."
    session.rows.append(make_row(bench.name, best.setting, "bar", bar, ""))
    return f"{told}; the bar is {bar:.0%}: {'reached' if share >= bar else 'missed'}."
