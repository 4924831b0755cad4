"""The models that were trained on selections: loss by step, what each was trained on, how to serve
it. A training that goes on, or died, shows the steps that it told of.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nuggets_ray import io
from nuggets_ray.config.keys import shell_command
from nuggets_ray.report.chart import MARKERS, SERIES, Chart, draw, label
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Grid, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Training"
PREFIX = "finetune-"
FEW_STEPS = 50


@dataclass(frozen=True, slots=True)
class Trained:
    """A training: its metrics by step, losses on held-out rows among them, and finetune.json where
    the model is whole.
    """

    name: str
    history: Sequence[Mapping[str, Any]]
    record: Mapping[str, Any]
    status: str

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """(steps, values) of a metric."""
        told = [record for record in self.history if record.get(name) is not None]
        return [one["step"] for one in told], [one[name] for one in told]


def training(material: Material) -> Section:
    """The section: loss curves of all models in one chart, a line a model in the table."""
    trained = read_trainings(material)
    if not trained:
        command = f"{shell_command('finetune')} out_dir={shlex.quote(material.out_dir)}"
        absent = f"Nothing was trained: {command} finetune.selection=golden"
        return Section("training", TITLE, absent=absent)
    drawn = [one for one in trained if one.series("loss")[0]]
    return Section(
        "training",
        TITLE,
        {
            "table": _table(trained),
            "commands": [
                (f"Serve {one.name}", _serve(material, one)) for one in trained if one.record
            ],
            "cards": [one.name for one in trained if one.record],
        },
        (_curves(drawn),) if drawn else (),
    )


def read_trainings(material: Material) -> list[Trained]:
    """The trainings of the run, in the order that they began."""
    trainings = []
    for stage, told in material.manifest.get("stages", {}).items():
        if not stage.startswith(PREFIX):
            continue
        name = stage.removeprefix(PREFIX)
        steps: dict[tuple[int, bool], Mapping[str, Any]] = {}
        for attempt in told["attempts"]:  # a later one goes on from a checkpoint of the one before
            for record in _metrics(material, attempt["attempt_id"]):
                if "step" in record:
                    steps[record["step"], "eval_loss" in record] = record
        uri = material.folder.model(name).record
        record = io.read_json(uri) if io.exists(uri) else {}
        history = [steps[key] for key in sorted(steps)]
        trainings.append(Trained(name, history, record, str(told["status"])))
    return trainings


def _metrics(material: Material, attempt_id: str) -> list[dict[str, Any]]:
    uri = material.folder.metrics(attempt_id)
    if not io.exists(uri):
        return []
    records = []
    for line in io.read_bytes(uri).splitlines():
        try:
            records.append(dict(json.loads(line)))
        except ValueError:
            continue  # the last line of a run that was killed as it wrote
    return records


def _table(trained: Sequence[Trained]) -> Grid:
    rows = []
    for one in trained:
        summary = one.record.get("summary", {})
        settings = one.record.get("settings", {})
        steps, losses = one.series("loss")
        _, held = one.series("eval_loss")
        rows.append(
            [
                one.name,
                one.status,
                str(settings.get("finetune.method", "")),
                f"{summary['num_rows']:,}" if "num_rows" in summary else "",
                f"{steps[-1]:,}" if steps else "",
                f"{losses[0]:.3f}" if losses else "",
                f"{losses[-1]:.3f}" if losses else "",
                f"{held[-1]:.3f}" if held else "",
            ]
        )
    header = (
        *("model", "status", "method", "rows", "steps", "first loss", "last loss"),
        "loss on held-out rows",
    )
    return Grid(header, rows, "Losses are nats per answer token, over the rows trained on")


def _serve(material: Material, one: Trained) -> str:
    path = shlex.quote(material.folder.model(one.name).path)
    settings, exported = one.record.get("settings", {}), one.record.get("exported", {})
    if settings.get("finetune.method") == "lora" and not exported.get("finetune.lora_merge"):
        base = shlex.quote(str(material.settings.get("model", {}).get("path", "BASE")))
        return f"vllm serve {base} --enable-lora --lora-modules {one.name}={path}"
    return f"vllm serve {path} --served-model-name {one.name}"


def _curves(trained: Sequence[Trained]) -> Chart:
    def plot(figure: "Figure") -> None:
        from matplotlib.ticker import MaxNLocator

        axes: Any = figure.subplots()
        for place, one in enumerate(trained):
            colour = SERIES[place % len(SERIES)]
            steps, losses = one.series("loss")
            marker = MARKERS[place % len(MARKERS)] if len(steps) < FEW_STEPS else ""
            style = "-" if place < len(SERIES) else ":"
            axes.plot(steps, losses, style, color=colour, marker=marker, label=label(one.name))
            held_steps, held = one.series("eval_loss")
            if held:
                axes.plot(held_steps, held, "--", color=colour, marker="x")
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (nats per answer token)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(ncols=2 if len(trained) > 5 else 1)

    held = any(one.series("eval_loss")[0] for one in trained)
    alt = f"Training loss by step of {len(trained)} models" + (
        "; dashed: the loss on held-out rows." if held else "."
    )
    return draw("training", alt, plot)
