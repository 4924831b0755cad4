"""The work as Data-Juicer sees it, by its own rule; the environment it needs."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nuggets_ray.bench import data_juicer
from nuggets_ray.bench.data_juicer import environment_python, text_work
from nuggets_ray.bench.task import NotMeasured
from nuggets_ray.bench.workload import Workload
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.records import Encoding


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path):
    return load_tokenizer(ModelConfig(path=str(tiny_model)))


def encode(tokenizer, prompt: str, answer: str) -> Encoding:
    ids = [tokenizer(text).input_ids for text in (prompt, answer)]
    mask = np.arange(len(ids[0]) + len(ids[1])) >= len(ids[0])
    return Encoding(np.array(ids[0] + ids[1]), mask)


def make(tokenizer, anchors: list[tuple[str, str]]) -> Workload:
    prefixes = [np.array(tokenizer(text).input_ids) for text in ("Say hi.\nHello", "Count. 1 2")]
    return Workload("text-9", tuple(prefixes), tuple(encode(tokenizer, *pair) for pair in anchors))


def test_ids_and_answers_are_those_of_its_own_rule(tokenizer) -> None:
    anchors = [("Name a city.\n", "Paris, of course"), ("Add.\n", "Four")]
    work = text_work(make(tokenizer, anchors), tokenizer)
    assert work.texts
    assert work.texts.prefixes == ("Say hi.\nHello", "Count. 1 2")
    assert work.texts.anchors == (("Name a city.", "Paris, of course"), ("Add.", "Four"))
    for prefix, text in zip(work.prefixes, work.texts.prefixes, strict=True):
        for anchor, (prompt, answer) in zip(work.anchors, work.texts.anchors, strict=True):
            # InContextInfluenceFilter._loss: blanks between, the loss over the last tokens
            whole = tokenizer(" ".join([text, prompt, answer])).input_ids
            np.testing.assert_array_equal(np.concatenate([prefix, anchor.token_ids]), whole)
            assert tokenizer.bos_token_id is not None
            scored = len(tokenizer(answer).input_ids) - 1
            assert anchor.answer_mask.sum() == scored and anchor.answer_mask[-scored:].all()


def test_an_answer_that_it_could_not_tell_apart_is_refused(tokenizer) -> None:
    with pytest.raises(NotMeasured, match="too short"):
        text_work(make(tokenizer, [("Add.\n", "4")]), tokenizer)


def test_a_tokenizer_that_merges_across_the_blank_is_refused(tokenizer) -> None:
    class Merging:
        bos_token_id = None

        def decode(self, ids) -> str:
            return tokenizer.decode(ids)

        def __call__(self, text: str):
            ids = tokenizer(text).input_ids
            return SimpleNamespace(input_ids=ids if len(ids) < 20 else [*ids[:5], 0, *ids[7:]])

    with pytest.raises(NotMeasured, match="joins"):
        text_work(make(tokenizer, [("Name a city.\n", "Paris, of course")]), Merging())


def test_without_its_environment_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUGGETS_CACHE", str(tmp_path))
    with pytest.raises(NotMeasured, match="bench.make_peer_env=true"):
        environment_python()
    folder = data_juicer.environment_folder()
    folder.mkdir()
    (folder / data_juicer.STAMP).touch()
    assert environment_python() == folder / "bin" / "python"
    data_juicer.make_environment()  # there already: nothing to do
    assert list(folder.iterdir()) == [folder / data_juicer.STAMP]
