"""Tables that read well as plain text."""

from nuggets_ray.markdown import markdown_table


def test_columns_are_aligned_and_cells_harmless() -> None:
    table = markdown_table(["name", "n"], [["a|b", "1"], ["two\nlines", "100"]])
    assert table.splitlines() == [
        "| name      | n   |",
        "| --------- | --- |",
        "| a\\|b      | 1   |",
        "| two lines | 100 |",
    ]
