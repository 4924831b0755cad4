"""Fixtures that every test may use: the benchmark data folder, and a tiny seeded model with its
tokenizer.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# nothing is timed in a test: a busy machine is no failure
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Processes that share the tests share the cores: one thread each, or they wait in turn."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests first: what they find, an integration test would find late."""
    items.sort(key=lambda item: "integration" in item.path.parts)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A job that a test runs in its own process sets logging up, to a stream that ends with it."""
    loggers = [logging.getLogger(), logging.getLogger("nuggets_ray")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    for handler in list(loggers[0].handlers):
        if type(handler) is logging.StreamHandler:
            loggers[0].removeHandler(handler)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data (NUGGETS_TEST_DATA, default: shared/data beside the clone); the test
    is skipped where it is absent.
    """
    folder = Path(os.environ.get("NUGGETS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}: set NUGGETS_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def field_data(test_data: Path) -> Path:
    """The folder of small files as people have them, each with NAME.expected.json beside it: what a
    reader should make of it. Beside the folder of real data; skipped where it is absent.
    """
    folder = test_data.parent / "field" / "data"
    if not folder.is_dir():
        pytest.skip(f"no files of the field at {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a seeded two-layer Llama and a byte-level tokenizer, as save_pretrained writes
    them.
    """
    from tiny_models import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("tiny_model"))
