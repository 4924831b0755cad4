"""How long a training still takes, from what its own steps have taken.

No time is told before steps have been measured: what a step takes hangs on the model, the lengths
of the rows and the network between the workers, of which the rate of matrix multiplication knows
nothing.
"""

from collections import deque

TOLD_AFTER_STEPS = 3
RECENT_STEPS = 50


class Pace:
    """The clock of a training of `num_steps` steps. The first step after a start, which warms up,
    is left out once there are others; evaluations and checkpoints count by their mean a step.
    """

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps
        self.start()

    def start(self) -> None:
        """A group of workers begins: what an earlier one took is no measure for it."""
        self._step_s: deque[float] = deque(maxlen=RECENT_STEPS)
        self._num_measured = 0
        self._beside_s = 0.0

    def add_step(self, seconds: float) -> None:
        """One optimizer step took so long."""
        if self._num_measured == 1:
            self._step_s.clear()
        self._step_s.append(seconds)
        self._num_measured += 1

    def add_beside(self, seconds: float) -> None:
        """An evaluation or a checkpoint took so long."""
        self._beside_s += seconds

    @property
    def is_just_measured(self) -> bool:
        """Whether the step added last is the one after which a time can be told."""
        return self._num_measured == TOLD_AFTER_STEPS

    def left_s(self, step: int) -> float | None:
        """Seconds from the end of `step` to that of the last, None before enough is measured."""
        if self._num_measured < TOLD_AFTER_STEPS:
            return None
        mean_s = sum(self._step_s) / len(self._step_s)
        return (self._num_steps - step) * (mean_s + self._beside_s / self._num_measured)
