"""The word 5-grams of a text."""

from nuggets_ray.data.shingles import shingles


def test_shingles_by_hand() -> None:
    assert shingles("a b c d e f") == {("a", "b", "c", "d", "e"), ("b", "c", "d", "e", "f")}
    assert shingles("a b") == {("a", "b")}
    assert shingles("Ａ,  b!\nC.") == {("a", "b", "c")}, "NFKC, no case, no punctuation"
    assert shingles("?!") == {("?!",)}
    assert shingles("") == {("",)}
    assert shingles("我爱北京天安门") == shingles("我爱北京,天安门。")
    assert len(shingles("我爱北京天安门")) == 3
