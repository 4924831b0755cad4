"""The endpoint's key: where it comes from, and that no error shows it."""

import logging
from pathlib import Path

import pytest

from nuggets_ray.config.evaluate import JudgeConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.judge.key import read_key

KEY = "sk-secret-123"


def from_file(path: Path) -> JudgeConfig:
    return JudgeConfig(api_key_env="JUDGE_KEY", api_key_path=str(path))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


def test_a_file_goes_before_the_variable(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-other")
    key = read_key(from_file(key_file))
    assert (key.text, key.name) == (KEY, f"judge.api_key_path={key_file}")
    assert read_key(JudgeConfig(api_key_env="JUDGE_KEY")).text == "sk-other"


def test_an_endpoint_may_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    assert read_key(JudgeConfig(api_key_env="JUDGE_KEY")).text == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (" \n", "is empty"),
        (f"{KEY}\nexport", "holds characters that no key has"),
        ("sk-\N{SNOWMAN}", "holds characters that no key has"),
    ],
)
def test_a_file_that_holds_no_key(key_file: Path, content: str, reason: str) -> None:
    key_file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=reason) as caught:
        read_key(from_file(key_file))
    assert KEY not in str(caught.value) and str(key_file) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read .No such file"):
        read_key(from_file(tmp_path / "nothing"))


def test_a_file_that_everyone_may_read_is_a_warning(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="nuggets_ray"):
        assert read_key(from_file(key_file)).text == KEY and caplog.messages == []
        key_file.chmod(0o644)
        assert read_key(from_file(key_file)).text == KEY
    assert f"everyone on this machine may read it: chmod 600 {key_file}" in caplog.text
    assert KEY not in caplog.text
