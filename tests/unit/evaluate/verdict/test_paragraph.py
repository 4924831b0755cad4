"""The paragraph as it is read: whole sentences, and nothing that the evidence does not show."""

from verdict_arms import make_arms

from nuggets_ray.evaluate.verdict.evidence import gather
from nuggets_ray.evaluate.verdict.verdict import decide

ROWS = {"random_0": 1.0, "random_1": 1.1, "random_2": 1.2}
TOKENS = {"random_3_tokens": 1.1, "random_4_tokens": 1.2, "random_5_tokens": 1.3}


def paragraph(num_rows: int = 60, is_of_pool: bool = False, **means: float) -> str:
    evidence = gather(make_arms(num_rows, **means), "likelihood/mean_logprob")
    return decide(evidence, is_of_pool).paragraph


def test_a_verdict_reads_as_sentences() -> None:
    text = paragraph(golden=2.0, **ROWS, **TOKENS)
    assert text.startswith(
        "golden is better than random draws by likelihood/mean_logprob: it has 2, the average of 3 "
        "draws matched in rows is 1.1, that of 3 draws matched in tokens is 1.2. One more draw "
        "would lie between 0.7794 and 1.421 if matched in rows and between 0.8794 and 1.521 if "
        "matched in tokens (95%, if trainings are normal); golden lies above both ranges. Row by "
        "row, over 60 rows, the difference of golden from the draws matched in rows is +0.9 ["
    )
    assert " and from the draws matched in tokens +0.8 [" in text
    assert "; p is Holm's for 2 comparisons. " in text
    assert text.endswith(
        "This holds for this model, this way of training, one golden model and these rows."
    )


def test_between_the_kinds_it_says_which_range_holds_golden() -> None:
    tokens = {name: mean + 1.0 for name, mean in TOKENS.items()}
    text = paragraph(golden=2.1, **ROWS, **tokens)
    assert (
        "golden lies above the range of those matched in rows and within the range of those "
        "matched in tokens."
    ) in text
    assert "so training tokens may explain it." in text
    assert "This holds for" not in text


def test_few_rows_stand_beside_the_exact_test_without_an_interval() -> None:
    text = paragraph(num_rows=12, golden=2.0, **ROWS, base=0.0)
    assert "is +0.9 (p = 0.00098, too few rows for an interval)" in text
    assert "Row by row against the other models: base +2 (p = 0.00098, too few rows" in text


def test_what_would_have_been_missed_is_told_in_the_metric_s_unit() -> None:
    text = paragraph(golden=1.2, **ROWS, **TOKENS)
    assert " nats per answer token, 3.3 standard deviations of a training, would have been" in text
    assert "That does not show that they are equal." in text


def test_rows_of_the_pool_are_told_and_others_are_not() -> None:
    told = "The rows were held out of the pool that was selected from"
    assert told in paragraph(golden=2.0, **ROWS, is_of_pool=True)
    assert told not in paragraph(golden=2.0, **ROWS)


def test_several_draws_are_listed_once() -> None:
    text = paragraph(golden=2.0, random_0=1.0, random_1_tokens=1.5)
    assert "golden has 2, random-0 1 and random-1-tokens 1.5." in text
