"""Write tests/golden/prompts/*.txt anew. Run by `make golden`; review the difference."""

from prompt_cases import GOLDEN, golden_cases, render_golden


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.glob("*.txt"):
        old.unlink()
    for name, template, tokenizer in golden_cases():
        (GOLDEN / f"{name}.txt").write_text(render_golden(template, tokenizer), encoding="utf-8")


if __name__ == "__main__":
    main()
