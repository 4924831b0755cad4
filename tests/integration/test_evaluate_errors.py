"""Evaluation that ends in one sentence, with what was done so far kept; and an adapter."""
