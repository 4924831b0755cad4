"""Sizes, times and counts as people say them."""

import pytest

from nuggets_ray.units import duration_text, num_text, scaled_text, size_text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"),
        (512, "512 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1 KiB"),
        (77_824, "76 KiB"),
        (1024**2 - 1, "1 MiB"),
        (2.5 * 2**30, "2.5 GiB"),
        (13.37 * 2**30, "13.4 GiB"),
        (3000 * 2**50, "3,000 PiB"),
    ],
)
def test_a_size(num_bytes: float, text: str) -> None:
    assert size_text(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (55, "55 s"),
        (59.6, "1 min"),
        (270, "4 min 30 s"),
        (3599.7, "1 h"),
        (12_000, "3 h 20 min"),
        (86_399, "1 day"),
        (100_000, "1 day 4 h"),
        (3 * 86_400 + 7200, "3 days 2 h"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 FLOP"), (7, "7 FLOP"), (999.7, "1 kFLOP"), (2.5e12, "2.5 TFLOP"), (3e18, "3 EFLOP")],
)
def test_an_amount_with_its_prefix(amount: float, text: str) -> None:
    assert scaled_text(amount, "FLOP") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1234.5, "1,234"), (0.0234, "0.023"), (3.14, "3.1"), (12.34, "12.3"), (-2.0, "-2")],
)
def test_a_number(number: float, text: str) -> None:
    assert num_text(number) == text
