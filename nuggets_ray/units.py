"""Sizes, times and counts as people say them: 76 KiB, 55 s, 3 h 20 min, 1.2 PFLOP."""

SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def size_text(num_bytes: float) -> str:
    """A size in the largest unit of which there is at least one."""
    step = 0
    while abs(num_bytes) >= 1023.5 and step < len(SIZES) - 1:
        num_bytes, step = num_bytes / 1024, step + 1
    return f"{num_text(num_bytes)} {SIZES[step]}"


def duration_text(seconds: float) -> str:
    """A time in at most two units, rounded: 0.4 s, 55 s, 4 min 30 s, 3 h 20 min, 2 days 3 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds else "0 s"
    units = [(1, "s"), (MINUTE_S, "min"), (HOUR_S, "h"), (DAY_S, "days")]
    for (small, small_name), (large, large_name) in zip(units, units[1:], strict=False):
        limit = {MINUTE_S: HOUR_S, HOUR_S: DAY_S}.get(large, float("inf"))
        num_small = round(seconds / small)
        if small == 1 and num_small < MINUTE_S:
            return f"{num_small} s"
        if num_small * small < limit:
            whole, left = divmod(num_small, large // small)
            name = "day" if large == DAY_S and whole == 1 else large_name
            return f"{whole} {name} {left} {small_name}" if left else f"{whole} {name}"
    raise AssertionError("days have no limit")


def scaled_text(amount: float, unit: str) -> str:
    """An amount with the prefix that leaves one to three digits before the point: 1.2 PFLOP."""
    step = 0
    while abs(amount) >= 999.5 and step < len(PREFIXES) - 1:
        amount, step = amount / 1000, step + 1
    return f"{num_text(amount)} {PREFIXES[step]}{unit}"


def num_text(number: float) -> str:
    """A number in three digits, or in all of those before the point."""
    if abs(number) >= 99.95 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 9.995 else f"{number:.2g}"
