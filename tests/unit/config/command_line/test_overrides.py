"""What a command line stands for, and what each mistake on it is told, with what was meant."""

import json
import logging
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from nuggets_ray.config.command_line import overrides
from nuggets_ray.config.compose import load
from nuggets_ray.config.keys import sections
from nuggets_ray.errors import UserError

SCORING = ("model", "data", "prompt", "anchors", "score", "schedule", "race", "cluster")

ODD = [
    "/data/a (1).jsonl",
    "/data/a=b&c;d|e<f>.jsonl",
    '/data/it\'s "so".jsonl',
    "/data/a,b[1]{2}:c.jsonl",
    "/data/100%#$x!?*.jsonl",
    "/data/é 質問 \U0001f600.jsonl",
    "/data/back\\slash\\",
    "/data/\\\"'\\'",
    "s3://bucket/a b=(1).jsonl",
    "/data/~",
]
WORDS = ["1e5", "true", "0x10", "1_000", "007", "nan", "Null", "none", "1,2", "-1", ".5", "on"]


@pytest.mark.parametrize("path", ODD)
def test_a_path_is_what_was_typed(path: str) -> None:
    mapping, several = json.dumps({"output": path}), json.dumps([path, "/x"])
    paths = [f"data.path={path}", f"model.path={path}", f"evaluate.compare={several}"]
    config = load([*paths, f"data.columns.input={path}", f"anchors.columns={mapping}"])
    assert config.data.path == config.model.path == path
    assert config.evaluate.compare == [path, "/x"]
    assert config.data.columns == {"input": path}
    assert config.anchors.columns == {"output": path}


@pytest.mark.parametrize("word", WORDS)
def test_a_name_is_no_number_and_no_truth(word: str) -> None:
    named = word not in ("Null", "none")  # which are none where none may be given
    names = [f"finetune.name={word}", f"select.name={word}"] if named else []
    config = load([f"out_dir={word}", f'evaluate.models=["a",{word}]', *names])
    assert config.out_dir == os.path.abspath(word)
    assert config.evaluate.models == ["a", *word.split(",")]
    assert {config.finetune.name, config.select.name} == ({word} if named else {None})


def test_home_is_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = load(["data.path=~/a b.jsonl", "out_dir=~", "model.path=~/m"])
    assert (config.data.path, config.out_dir) == ("/home/me/a b.jsonl", "/home/me")
    assert config.model.path == "/home/me/m"


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (['data.path="/data/a (1).jsonl"'], "data.path", "/data/a (1).jsonl"),
        (["select.name=null"], "select.name", None),
        (["data.limit=1_000"], "data.limit", 1000),
        (["data.limit= 5 "], "data.limit", 5),
        (["+seed=3"], "seed", 3),
        (["++seed=3"], "seed", 3),
        (["model.trust_remote_code=Yes"], "model.trust_remote_code", True),
        (["finetune.learning_rate=1e-5"], "finetune.learning_rate", 1e-5),
        (["out_dir=/runs/${seed}", "seed=4"], "out_dir", "/runs/4"),
        (["out_dir=/runs/\\${seed}"], "out_dir", "/runs/${seed}"),
        (['evaluate.models=[a (1),"b, c",it\'s]'], "evaluate.models", ["a (1)", "b, c", "it's"]),
        (['generate.stop=["\\n", "###"]'], "generate.stop", ["\n", "###"]),
        (
            ["data.columns={instruction: Frage (kurz), output: 'a, b'}"],
            "data.columns",
            {"instruction": "Frage (kurz)", "output": "a, b"},
        ),
        (
            ['finetune.deepspeed={"zero_optimization": {"stage": 3, "x y": [1e-5, null, "é"]}}'],
            "finetune.deepspeed",
            {"zero_optimization": {"stage": 3, "x y": [1e-5, None, "é"]}},
        ),
        (
            ["select.quotas={open question: 200, 数学: 1e2, a-b: 0.5}"],
            "select.quotas",
            {"open question": 200, "数学": 100, "a-b": 0.5},
        ),
        (['select.quotas={"x, y": 1}'], "select.quotas", {"x, y": 1}),
        (["select.quotas.maths=200"], "select.quotas", {"maths": 200}),
        (["judge.body.tool_choice=none"], "judge.body", {"tool_choice": "none"}),
        (["judge.body.user=é & co"], "judge.body", {"user": "é & co"}),
        (["experiment=null", "seed=1"], "seed", 1),
    ],
)
def test_what_a_value_stands_for(arguments: list[str], key: str, value: object) -> None:
    found: object = load(arguments)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("anchors=20", "anchors.num=20"),
        ("anchors=/a.jsonl", "anchors=file anchors.path=/a.jsonl"),
        ("anchors=kmean", "anchors=kmeans"),
        ("select=100", "select=top_k select.k=100"),
        ("select=0.05", "select=top_fraction select.fraction=0.05"),
        ("select=5%", "select=top_fraction select.fraction=0.05"),
        ("select=random", "select.by=random"),
        ("data=/x.jsonl", "data.path=/x.jsonl"),
        ("'data=/x (1).jsonl'", "'data.path=/x (1).jsonl'"),
        ("model=/m", "model.path=/m"),
        ("model=org/name", "model.path=org/name"),
        ("finetune=3", "finetune.epochs=3"),
        ("finetune=golden", "finetune.selection=golden"),
        ("finetune=qlora", "finetune=lora"),
        ("cluster=2", "cluster.num_workers=2"),
        ("cluster=ray://h:1", "cluster.address=ray://h:1"),
        ("score=vllm", "score.backend=vllm"),
        ("evaluate=golden", "'evaluate.models=[golden]'"),
        ("judge=gpt-4o", "judge.model=gpt-4o"),
        ("evaluate.models=golden", "'evaluate.models=[golden]'"),
        ("evaluate.models=/m,base", "'evaluate.models=[/m,base]'"),
        ("evaluate.models=base evaluate.models=golden", "'evaluate.models=[base,golden]'"),
        ("finetune.selections=golden", "'finetune.selections=[golden]'"),
        ("'generate.stop=# #'", "'generate.stop=[\"# #\"]'"),
        ("evaluate.models=[base, golden]", "'evaluate.models=[base, golden]'"),
        ("finetune.lr=1e-4", "finetune.learning_rate=1e-4"),
        ("num_anchors=20", "anchors.num=20"),
        ("cluster.num_gpus=2", "cluster.gpus_per_worker=2"),
        ("num_train_epochs=2", "finetune.epochs=2"),
        ("batch_size=8", "finetune.batch_rows=8"),
        ("topk=9", "select=top_k select.k=9"),
        ("k=9", "select=top_k select.k=9"),
        ("model_name_or_path=/m", "model.path=/m"),
        ("dataset=/d", "data.path=/d"),
        ("output_dir=/o", "out_dir=/o"),
        ("gpus=2", "cluster.gpus_per_worker=2"),
        ("max_length=512", "prompt.max_demonstration_tokens=512"),
        ("Data-Path=/x", "data.path=/x"),
        ("evaluate.model=a", "'evaluate.models=[a]'"),
        ("data.colums.output=x", "data.columns.output=x"),
        ("data.columns.質問=instruction", "'data.columns.instruction=質問'"),
        ("'data.columns={質問: instruction}'", "'data.columns.instruction=質問'"),
        ("data.columns=instruction:q data.columns=output:a", "data.columns.instruction=q"),
        ("data.columns={instruction: q, output: a}", "'data.columns={instruction: q, output: a}'"),
        ("'finetune.deepspeed={a: é}'", '\'finetune.deepspeed={"a": "é"}\''),
        ("data.limit=1,000", "data.limit=1000"),
        ("data.limit=10k", "data.limit=10000"),
        ("data.limit=1e3", "data.limit=1000"),
        ("data.limit=None", "data.limit=null"),
        ("anchors.num=all", "anchors.num=null"),
        ("finetune.epochs=0,5", "finetune.epochs=0.5"),
        ("finetune.warmup_fraction=3%", "finetune.warmup_fraction=0.03"),
        ("data.limit==5", "data.limit=5"),
        ("'out_dir=/x '", "out_dir=/x"),
        ("'out_dir=\"/x'", "out_dir=/x"),
        ("'seed=1 model.path=x y'", "seed=1 'model.path=x y'"),
        ("finetune.learning_rate=2e−5", "finetune.learning_rate=2e-05"),
        ("out_dir=/x\r", "out_dir=/x"),
        ("out_dir=“/x”", "out_dir=/x"),
        ("data.path=~nobody-here/x", "'data.path=./~nobody-here/x'"),
        ("data.limit 5", "data.limit=5"),
        ("seed = 3", "seed=3"),
        ("seed= 3", "seed=3"),
        ("data.limit: 5", "data.limit=5"),
        ("data.limit:5", "data.limit=5"),
        ("rows.jsonl", "data.path=rows.jsonl"),
        ("data.path=/a b.jsonl", "'data.path=/a b.jsonl'"),
        ("lora", "finetune=lora"),
        ("score.dtype=bf16", "score.dtype=bfloat16"),
        ("experiment=dmeo", "experiment=demo"),
    ],
)
def test_what_was_meant_is_told_ready_to_paste(arguments: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        load(shlex.split(arguments.replace("\r", "'\r'")))
    message = str(caught.value)
    assert message.endswith(f"did you mean {meant}?"), message
    assert message.isprintable()
    overrides.read(shlex.split(meant), sections())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prompt=1"], ["prompt=1", "alpaca, auto, chat, official"]),
        (["schedule=quick"], ["schedule=quick", "full"]),
        (["score=3"], ["score=3", "section", "score.dtype, score.backend"]),
        (["seed=abc"], ["seed=abc", "whole number"]),
        (["seed=1,2"], ["seed=1,2", "--multirun"]),
        (["seed=-1"], ["seed=-1", "at least 0"]),
        (["seed=4294967296"], ["seed=4294967296", "at most 4294967295"]),
        (["evaluate.turns=7"], ["evaluate.turns=7", "at most 2"]),
        (["finetune.lora_dropout=1"], ["finetune.lora_dropout=1", "at most 0.99"]),
        (['finetune.deepspeed={"a": 1e400}'], ["finetune.deepspeed", "finite"]),
        (["data.columns.a.b=x"], ["data.columns.a.b", "no such key"]),
        (["out_dir=${a"], ["out_dir=", "as text it is \\${"]),
        (["data.limit=99999999999999999999"], ["data.limit=99999999999999999999", "too large"]),
        (["select.fraction=nan"], ["select.fraction=nan", "finite number"]),
        (["score.block_s=inf"], ["score.block_s=inf", "finite number"]),
        (["model.trust_remote_code=maybe"], ["maybe", "true or false"]),
        (["select.name=None"], ["select.name=null", "'select.name=\"None\"'"]),
        (["out_dir=???"], ["out_dir=???"]),
        (["out_dir=runs/${sed}"], ["out_dir", "'sed'", "\\${"]),
        (["out_dir=/x\udcff"], ["out_dir=/x\\udcff", "UTF-8"]),
        (["data.columns.質問=x"], ["質問", "instruction, input, output, system, messages"]),
        (["data.columns.output="], ["data.columns.output=", "column"]),
        (["~seed"], ["~seed", "taken out"]),
        (["~anchors=random"], ["~anchors=random", "taken out"]),
        ([""], ["empty argument"]),
        (["=3"], ["=3", "key=value"]),
        (["score.vllm=3"], ["score.vllm=3", "mapping"]),
        (["select.quotas={maths}"], ["select.quotas={maths}", "{maths: 200, writing: 100}"]),
        (["select.quotas={a: 20%}"], ["select.quotas.a=20%", "select.quotas.a=0.2"]),
        (["finetune.optimizer=adam"], ["finetune.optimizer", "learning_rate"]),
        (["resume=true"], ["resume", "same command"]),
        (["judge.api_key=sk-secret"], ["judge.api_key_env=..."]),
        (["warmup_steps=100"], ["finetune.warmup_fraction=..."]),
        (["anchors.path=/a"], ["anchors.path=/a", "anchors=file anchors.path=/a"]),
        (["hydra.foo=1"], ["hydra.foo", "no such key"]),
        (["anchors@x=file"], ["anchors@x", "no such key"]),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(arguments)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.isprintable() and "sk-secret" not in message


@pytest.mark.parametrize("key", ["lr", "epochs", "learning_rate", "fraction", "repeats", "models"])
def test_a_job_suggests_no_key_that_it_does_not_use(key: str) -> None:
    with pytest.raises(UserError, match="this job has no such key") as caught:
        load([f"{key}=1"], SCORING)
    assert "did you mean" not in str(caught.value)
    assert re.search(r"is one of jobs/\w+\.py\)$", str(caught.value))


def test_a_known_name_is_not_taken_for_another_that_looks_like_it() -> None:
    with pytest.raises(UserError, match=r"select\.k is one of jobs/select_topk\.py"):
        load(["topk=3"], ("evaluate", "generate"))  # and not generate.stop


def test_the_keys_of_the_job_come_first() -> None:
    with pytest.raises(UserError, match=r"did you mean anchors\.num=20\?"):
        load(["num_anchors=20"], SCORING)
    with pytest.raises(UserError, match=r"did you mean bench\.num_anchors=20\?"):
        load(["bench.num_anchor=20"], ("bench",))


def test_a_key_that_is_given_twice_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load(["seed=1", "anchors=file", "seed=2", "anchors=random", "seed=2"])
    assert (config.seed, config.anchors.method) == (2, "random")
    assert [record.message for record in caplog.records] == [
        "seed=1 is not used: seed=2 comes after it",
        "anchors=file is not used: anchors=random comes after it",
    ]


def test_mappings_that_are_given_twice_are_merged(caplog: pytest.LogCaptureFixture) -> None:
    config = load(["data.columns={instruction: q}", "data.columns={output: a}"])
    assert config.data.columns == {"instruction": "q", "output": "a"}
    assert caplog.records == []


def test_a_hint_survives_a_shell(tmp_path: Path) -> None:
    path = '/data/it\'s "$HOME" `x` \\ (1)&é.jsonl'
    with pytest.raises(UserError) as caught:
        load([f"data={path}"])
    hint = str(caught.value).partition("did you mean ")[2].removesuffix("?")
    shell = subprocess.run(
        ["bash", "-c", f"printf %s {hint}"], capture_output=True, text=True, check=True
    )
    assert load([shell.stdout]).data.path == path


def test_misspelt_retry_is_answered_with_a_list_that_is_taken() -> None:
    with pytest.raises(UserError, match=r"did you mean data.retry=\[killed_worker,error\]\?"):
        load(["data.retry=[killed_worker,errors]"])
    assert load(["data.retry=[killed_worker,error]"]).data.retry == ["killed_worker", "error"]


def test_word_boundary_of_a_regular_expression_is_no_backspace() -> None:
    config = load([r'model.ignore_keys=["\blm_head\b"]'])
    assert config.model.ignore_keys == [r"\blm_head\b"]


def test_escaped_comma_in_a_list_parts_nothing() -> None:
    assert load([r"generate.stop=[a\,b,c]"]).generate.stop == ["a,b", "c"]
