"""The loss curve is a picture."""

from nuggets_ray.finetune.curve import loss_curve


def test_the_curve_is_a_png() -> None:
    history = [{"step": s, "loss": 1.0 / s, "learning_rate": 1e-3} for s in range(1, 5)]
    png = loss_curve([*history, {"step": 4, "eval_loss": 0.5}], "golden")
    assert png.startswith(b"\x89PNG") and len(png) > 5_000
