"""Mistakes and questions are answered before torch, Ray and their like are imported.

Each job has one process, which is asked everything in turn.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nuggets_ray.jobs import JOBS

HEAVY = (
    *("torch", "ray", "transformers", "sklearn", "scipy", "vllm", "deepspeed", "peft", "lm_eval"),
    *("accelerate", "matplotlib", "huggingface_hub"),
)
ASK = """
import contextlib, io, json, sys
from nuggets_ray.cli import run
from nuggets_ray.jobs import JOBS

job, calls, heavy = sys.argv[1], json.loads(sys.argv[2]), set(json.loads(sys.argv[3]))
for call in calls:
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            run(JOBS[job], call)
        except SystemExit as end:
            code = end.code
    answer = [code, stdout.getvalue(), stderr.getvalue(), sorted(heavy & set(sys.modules))]
    print(json.dumps(answer), flush=True)
"""

EVERY_JOB = [
    (["--help"], 0, "Usage: python jobs/"),
    (["--cfg", "job"], 0, "out_dir: ''"),
    (["data.pth=x"], 2, "data.pth: there is no such key; did you mean data.path=x?"),
    (["data.limit=many"], 2, "data.limit=many"),
    (["seed=-1"], 2, "seed=-1: must be at least 0"),
]
NO_DATA = (["data.path=/nowhere", "model.path={model}"], 2, "data.path=/nowhere: there is no such")
NO_MODEL = (["data.path=demo", "model.path=/nowhere"], 2, "model.path=/nowhere does not exist")
NO_MATCH = (
    ["data.path=demo", "model.path={model}", "select.match_length=mine"],
    2,
    "select.match_length=mine: out_dir=",
)
NO_ANCHORS = (
    ["data.path=demo", "model.path={model}", "anchors=file", "anchors.path=/nowhere"],
    2,
    "anchors.path=/nowhere: there is no such file",
)
NO_SET = (
    ["data.path=demo", "model.path={model}", "anchors.sets={m: {path: /nowhere}}"],
    2,
    "anchors.sets.m: anchors.path=/nowhere: there is no such file",
)
NO_FORMAT = (
    ["data.path={rows}", "model.path={model}", "data.format=dolly"],
    2,
    "data.format=dolly: none of the first 3 rows",
)
NO_COLUMN = (
    ["data.path={rows}", "model.path={model}", "data.columns={instruction: q, output: a}"],
    2,
    "the fields of the rows are instruction, output",
)
FEW_ROWS = (
    ["data.path={rows}", "model.path={model}"],
    2,
    "anchors.num=100 is more than the 3 different candidates",
)
NO_FOLDER = (
    ["data.path=demo", "model.path={model}", "out_dir={model}/config.json/run"],
    2,
    "cannot be written (Not a directory)",
)
NO_SELECTION = (["model.path={model}", "finetune.selection=best"], 2, "finetune.selection=best: ")
NO_ROWS = (["model.path={model}"], 2, "evaluate.held_out_path is missing")
NO_PROMPTS = (
    ["data.path=demo", "model.path={model}", "evaluate=mt_bench", "evaluate.prompts_path=/nowhere"],
    2,
    "evaluate.prompts_path=/nowhere: there is no such file",
)
NO_SUCH = (
    ["model.path={model}", "evaluate.models=[base,golden]"],
    2,
    "evaluate.models=golden: ",
)
WRONG_STAGE = (
    [*NO_DATA[0][1:], "data.path=demo", "finetune.deepspeed={zero_optimization:{stage:4}}"],
    2,
    "stage=4: take one of",
)
EXPLORED = (
    ["data.path=demo", "model.path={model}", "schedule=explore"],
    2,
    "add select.by=posterior_score",
)
OF_JOB = {
    "plan": [NO_DATA, NO_MODEL, NO_ANCHORS, NO_SET, NO_FOLDER, NO_FORMAT, NO_COLUMN, FEW_ROWS],
    "score": [
        *(NO_DATA, NO_MODEL, NO_ANCHORS, NO_FOLDER, NO_FORMAT, NO_COLUMN, FEW_ROWS),
    ],
    "select": [([], 2, "holds no scores yet")],
    "show": [([], 2, "holds no scores yet")],
    "status": [([], 2, "no run has begun there")],
    "finetune": [NO_DATA, NO_MODEL, NO_FOLDER, NO_SELECTION, WRONG_STAGE, NO_FORMAT, NO_COLUMN],
    "evaluate": [NO_MODEL, NO_ROWS, NO_PROMPTS, NO_SUCH],
    "pipeline": [
        *(NO_MATCH, NO_DATA, NO_MODEL, NO_ANCHORS, NO_FOLDER, NO_PROMPTS, WRONG_STAGE, EXPLORED),
    ],
    "report": [([], 2, "no run has begun there")],
    "study": [([], 2, "holds no scores yet"), NO_DATA, NO_MODEL, NO_ANCHORS],
    "bench": [NO_MODEL, (["bench=finetune", *NO_DATA[0]], 2, NO_DATA[2])],
}


def ask(job: str, *calls: list[str]) -> list[tuple[int, str, str, list[str]]]:
    """Exit code, stdout, stderr and the heavy modules imported so far, after each call."""
    finished = subprocess.run(
        [sys.executable, "-c", ASK, job, json.dumps(calls), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [tuple(json.loads(line)) for line in finished.stdout.splitlines()]


def _filled(argument: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        argument = argument.replace(name, place)
    return argument


@pytest.mark.long
@pytest.mark.parametrize("job", sorted(JOBS))
def test_what_is_asked_and_what_is_wrong_is_told_without_the_libraries(
    job: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    rows = tmp_path / "rows.jsonl"
    row = {"instruction": "Double it.", "output": ""}
    rows.write_text("".join(json.dumps(row | {"output": f"{n}"}) + "\n" for n in range(3)))
    places = {"{model}": str(model), "{rows}": str(rows)}
    given = [([_filled(one, places) for one in told], *answer) for told, *answer in OF_JOB[job]]
    for arguments, *_ in given:
        if not any(argument.startswith("out_dir=") for argument in arguments):
            arguments.append(f"out_dir={tmp_path / 'run'}")
    cases = [*EVERY_JOB, *given]
    answers = ask(job, *(case[0] for case in cases))
    for (arguments, code, words), answer in zip(cases, answers, strict=True):
        assert answer[0] == code, (arguments, answer)
        assert words in answer[1 if code == 0 else 2], (arguments, answer)
        assert answer[2].count("\n") == (code != 0), (arguments, answer)
        assert answer[3] == [], arguments
    assert not (tmp_path / "run").exists()


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # import raises ModuleNotFoundError
from nuggets_ray.cli import run
from nuggets_ray.jobs import JOBS
run(JOBS[sys.argv[1]], sys.argv[2:])
"""


def test_the_first_line_of_a_log_is_written_before_the_libraries_are_imported(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text("{}")
    paths = ("data.path=demo", f"model.path={tmp_path}", f"out_dir={tmp_path / 'run'}")
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "score", *paths],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    first, *rest = finished.stderr.splitlines()
    assert first.endswith("INFO nuggets_ray.cli: importing torch, transformers and ray")
    assert any("import of torch halted" in line for line in rest)
    assert finished.returncode == 1
