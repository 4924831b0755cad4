"""What a judge is asked in tests: texts of no benchmark, about a model of no run."""

from nuggets_ray.evaluate.judge.judge import About, JudgeTask
from nuggets_ray.records import Message

ABOUT = About("mt_bench/question", "81", 1, ("golden",))


def tasks(*texts: str) -> list[JudgeTask]:
    return [JudgeTask((Message("user", text),), ABOUT) for text in texts]
