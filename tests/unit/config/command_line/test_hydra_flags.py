"""Hydra's flags as a user types them, mistakes beside them included: exit code and streams."""

import json
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.cli import Job, Main, run
from nuggets_ray.config.keys import sections
from nuggets_ray.config.schema import Config
from nuggets_ray.select import default_name

RAN = pytest.CaptureFixture[str]


def values(config: Config) -> dict[str, Any]:
    return {"out_dir": config.out_dir, "seed": config.seed, "anchors": config.anchors.method}


def end(*arguments: str, main: Main = values, **settings: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        run(Job("made_up", "nothing", lambda: main, sections(), **settings), arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-h"], ["made_up: nothing", "\n  out_dir ", "\ndata: The rows"]),
        (["--help", "data.limit=5", "select=top_k"], ["only. [5; at least 1]", "[top_k]"]),
        (
            ["data.path=/a (1)", "-c", "job", "--package", "data", "seed=2"],
            ["@package data", "path: /a (1)"],
        ),
        (["--cfg=job", "--resolve", "-p", "out_dir", "out_dir=/r/${seed}"], ["/r/0"]),
        (["--info", "config", "seed=5"], ["seed: 5"]),
        (["--version"], ["Hydra 1."]),
        (["--hydra-help"], ["== Flags =="]),
    ],
)
def test_what_is_shown(arguments: list[str], shown: list[str], capsys: RAN) -> None:
    assert end(*arguments) == 0
    streams = capsys.readouterr()
    assert all(text in streams.out for text in shown), streams.out
    assert streams.err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cfg", "job", "data.pth=x"], "did you mean data.path=x?"),
        (["data.pth=x", "--help"], "did you mean data.path=x?"),
        (["--info", "config", "anchors=20"], "did you mean anchors.num=20?"),
        (["-m", "data.pth=a,b", "out_dir=/x"], "did you mean data.path=a,b?"),
        (["-m", "anchors=random,kmean", "out_dir=/x"], "did you mean anchors=kmeans?"),
        (["-m", "seed=1,abc", "out_dir=/x-${seed}"], "seed=abc: must be a whole number"),
        (["-m", "seed=1,-2", "out_dir=/x-${seed}"], "seed=-2: must be at least 0"),
        (["-m", "seed=1,2"], "out_dir is missing"),
        (["-m", "anchors.path=/a,/b", "out_dir=/x"], "anchors=file anchors.path=/a"),
        (["-m", "seed=interval(1,2)", "out_dir=/x"], "one by one"),
        (["-m", "out_dir=/a (1),/b"], "a run for each"),
        (["--foo"], "--foo: there is no such flag"),
        (["-n", "3"], "did you mean data.limit=3?"),
        (["--limit=5"], "did you mean data.limit=5?"),
        (["--data.path", "/x (1)"], "did you mean 'data.path=/x (1)'?"),
        (["--num-anchors", "20"], "did you mean anchors.num=20?"),
        (["--model.trust-remote-code"], "did you mean model.trust_remote_code=true?"),
        (["-model.path=/m"], "did you mean model.path=/m?"),
        (["--multi-run", "seed=1"], "did you mean --multirun?"),
        (["--dry-run"], "jobs/plan.py"),
        (["--config-name", "x"], "--config-dir FOLDER"),
        (["--config-dir", "/nowhere"], "no such folder"),
        (["--cfg", "jub"], "--cfg job"),
        (["--cfg"], "--cfg job"),
        (["--cfg", "job", "-p", "dta"], "--package data"),
        (["--cfg", "job", "--multirun"], "give one of them"),
        (["--resolve"], "--cfg job"),
        (["--help", "--resolve"], "--cfg job"),
        (["--help=x"], "takes no value"),
    ],
)
def test_a_mistake_beside_a_flag_is_the_same_sentence(
    arguments: list[str], words: str, capsys: RAN
) -> None:
    assert end(*arguments) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("error: ") and words in streams.err, streams.err
    assert streams.err.count("\n") == 1


def swept(capsys: RAN) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]


@pytest.mark.parametrize(
    ("sweep", "apart"),
    [
        (["seed=1,2"], "${seed}"),
        (["seed=range(1,2)", "anchors=random,kmeans"], "${seed}-${hydra:runtime.choices.anchors}"),
        (["data.path=/a/x,/b/x"], "${hydra:job.num}"),
    ],
)
def test_runs_of_a_sweep_do_not_share_a_folder(sweep: list[str], apart: str, capsys: RAN) -> None:
    assert end("--multirun", *sweep, "out_dir=/runs/a") == 2
    said = capsys.readouterr().err
    assert "would both write out_dir=/runs/a" in said and f"'out_dir=/runs/a-{apart}'" in said
    assert end("--multirun", *sweep, f"out_dir=/runs/a-{apart}") == 0
    folders = [found["out_dir"] for found in swept(capsys)]
    assert len(set(folders)) == len(folders) >= 2
    assert all("$" not in folder for folder in folders)


def test_runs_that_write_by_other_names_may_share_a_folder(capsys: RAN) -> None:
    def folder(config: Config) -> tuple[str, str]:
        return "select.name", config.select.name or default_name(config.select)

    draws = ("-m", "select.by=random", "select.draw=0,1", "out_dir=/r")
    assert end(*draws, folder=folder) == 0
    assert len(swept(capsys)) == 2
    shares = ("-m", "select.fraction=0.1,0.2", "out_dir=/r")
    assert end(*shares, folder=folder) == 2
    assert "'select.name=golden-${select.fraction}'" in capsys.readouterr().err
    assert end(*shares, folder=None) == 0


def test_a_sweep_ends_with_the_code_of_its_first_failure(capsys: RAN) -> None:
    sweep = ("-m", "seed=1,0,2", "out_dir=/x-${seed}")
    assert end(*sweep, main=lambda config: {"share": 1 // config.seed}) == 1
    assert swept(capsys) == [{"share": 1}]


def test_a_folder_of_experiments_of_one_s_own(tmp_path: Path, capsys: RAN) -> None:
    (tmp_path / "experiment").mkdir()
    for name, text in {"mine": "seed: 7", "typo": "sed: 7", "text": "seed: x"}.items():
        file = tmp_path / "experiment" / f"{name}.yaml"
        file.write_text(f"# @package _global_\n{text}\n")
    (tmp_path / "experiment" / "cut.yaml").write_text("seed: [7\n")
    flag = ("--config-dir", str(tmp_path), "out_dir=/x")
    assert end(*flag, "experiment=mine") == 0
    assert swept(capsys)[0]["seed"] == 7
    for name, words in {
        "typo": "experiment/typo.yaml: sed: there is no such key; did you mean seed=...?",
        "text": "experiment/text.yaml: seed: ",
        "cut": "experiment/cut.yaml",
        "mien": "did you mean experiment=mine?",
    }.items():
        assert end(*flag, f"experiment={name}") == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1, said
