"""The cases and contenders of bench=engine, by name; what makes each fast."""

MADE_FAST = {
    "tree": "demonstration and anchors once through the model; vocabulary at answer tokens only",
    "tree_compiled": "tree, its decoder layers and log-softmax compiled (score.compile_*=true)",
    "tree_signals": "tree, with signals=[perplexity,ifd,rds] taken down of each candidate",
    "kv_cache": "the demonstration's cache expanded over batches of anchors of similar length",
    "plain": "whole sequences in batches of similar length",
}
CASES = {
    "cut-200": ("tree", "tree_compiled", "tree_signals", "kv_cache", "plain"),
    "uncut-200": ("tree", "tree_compiled", "tree_signals", "kv_cache", "plain"),
    "cut-50": ("tree", "tree_compiled"),
    "uncut-50": ("tree", "tree_compiled"),
    "cut-400": ("tree", "tree_compiled"),
    "uncut-400": ("tree", "tree_compiled"),
}
