"""Tables as Markdown that reads well as plain text too. Imports nothing of the package."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The cells as a Markdown table, a line each; `|` and line breaks in them are made harmless."""
    clean = [
        [" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in [header, *rows]
    ]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    clean.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in clean]
    return "\n".join("| " + " | ".join(row) + " |" for row in padded)
