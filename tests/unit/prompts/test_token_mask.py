"""Segments to ids: the border rule, and special-token text in the data."""

import numpy as np
import prompt_cases
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from nuggets_ray.prompts.token_mask import SegmentTokenizer, TextSegment, copy_backend


def word_pieces(*pieces: str, **added: AddedToken) -> PreTrainedTokenizerFast:
    """A BPE whose merges build exactly these pieces out of characters, without any
    pre-tokeniser.
    """
    characters = sorted(set("".join(pieces)))
    merges, vocabulary = [], list(characters)
    for piece in pieces:
        for end in range(2, len(piece) + 1):
            if piece[:end] not in vocabulary:
                merges.append((piece[: end - 1], piece[end - 1]))
                vocabulary.append(piece[:end])
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    backend.add_tokens(list(added.values()))
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def tokens(tokenizer: PreTrainedTokenizerFast, ids: np.ndarray) -> list[str]:
    return tokenizer.convert_ids_to_tokens(ids.tolist())


def test_a_token_across_the_border_belongs_to_the_answer():
    segments = [
        TextSegment("xa:"),
        TextSegment("by", is_data=True, is_answer=True),
        TextSegment("zx"),
    ]
    tokenizer = word_pieces("a:b", "yz", "x")
    ids, mask = SegmentTokenizer(tokenizer).encode(segments)
    assert tokens(tokenizer, ids) == ["x", "a:b", "yz", "x"]
    assert mask.tolist() == [False, True, True, False]


def test_spaces_inside_an_answer_count_though_their_offsets_are_trimmed_away():
    tokenizer = prompt_cases.tokenizer()
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    trimmed = PreTrainedTokenizerFast(tokenizer_object=backend)
    segments = [TextSegment("Q:   "), TextSegment("one     two", is_data=True, is_answer=True)]
    segments += [TextSegment("     end")]
    expected_ids, expected_mask = SegmentTokenizer(tokenizer).encode(segments)
    ids, mask = SegmentTokenizer(trimmed).encode(segments)
    assert ids.tolist() == expected_ids.tolist()
    assert prompt_cases.decode(trimmed, ids[mask]) == "one     two"
    assert prompt_cases.decode(tokenizer, ids[expected_mask]) == "one     two"


def test_special_tokens_are_special_in_the_templates_own_text_only():
    tokenizer = prompt_cases.tokenizer(specials=("<s>", "</s>", "<s><s>"))
    made = SegmentTokenizer(tokenizer)
    special = tokenizer.convert_tokens_to_ids(["<s><s>", "<s>", "</s>"])
    ids, _ = made.encode([TextSegment("<s><s><s></s>")])
    assert ids.tolist() == special
    ids, _ = made.encode([TextSegment("<s><s><s></s>", is_data=True)])
    assert not set(special) & set(ids.tolist())
    assert prompt_cases.decode(tokenizer, ids) == "<s><s><s></s>"
    # An added token that is not special means the same wherever it stands, as in transformers.
    ids, _ = made.encode([TextSegment("<think>"), TextSegment("<think>", is_data=True)])
    assert ids.tolist() == [tokenizer.convert_tokens_to_ids("<think>")] * 2


def test_a_special_token_that_swallows_spaces_still_does():
    mask_token = AddedToken("[M]", lstrip=True, rstrip=True, special=True)
    tokenizer = word_pieces("a ", "b", mask_token=mask_token)
    text = "a [M] b"
    ids, _ = SegmentTokenizer(tokenizer).encode([TextSegment(text)])
    assert ids.tolist() == tokenizer(text)["input_ids"]
    assert tokens(tokenizer, ids) == ["a", "[M]", "b"]


def test_the_tokenizer_itself_is_left_as_it_was():
    tokenizer = prompt_cases.tokenizer(bos="<s>", adds_bos=True)
    before = tokenizer.backend_tokenizer.to_str()
    SegmentTokenizer(tokenizer).encode([TextSegment("<s>"), TextSegment("<s>", is_data=True)])
    assert tokenizer.backend_tokenizer.to_str() == before
    assert tokenizer("<s>", add_special_tokens=False)["input_ids"] == [tokenizer.bos_token_id]


def test_truncation_and_padding_of_the_tokenizer_are_ignored():
    tokenizer = prompt_cases.tokenizer()
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    cutting = PreTrainedTokenizerFast(tokenizer_object=backend)
    text = "What is the capital of France?"
    ids, _ = SegmentTokenizer(cutting).encode([TextSegment(text)])
    assert ids.tolist() == tokenizer(text)["input_ids"]
    assert (copy_backend(cutting).truncation, copy_backend(cutting).padding) == (None, None)


def test_no_text_gives_no_ids():
    ids, mask = SegmentTokenizer(prompt_cases.tokenizer()).encode([TextSegment("")])
    assert (ids.shape, ids.dtype, mask.shape, mask.dtype) == ((0,), np.int64, (0,), bool)


def test_what_is_put_in_front_by_default():
    both = prompt_cases.tokenizer(bos="<s>", adds_bos=True, adds_eos=True)
    assert SegmentTokenizer(both).leading_special_ids().tolist() == [both.bos_token_id]
    assert SegmentTokenizer(prompt_cases.tokenizer()).leading_special_ids().tolist() == []
    backend = Tokenizer(models.WordLevel({"a": 0, "[U]": 1}, unk_token="[U]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    none = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert SegmentTokenizer(none).leading_special_ids().tolist() == []
