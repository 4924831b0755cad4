"""Ids of former versions: a row in which nothing new is read keeps its own."""

import pytest

from nuggets_ray import read_examples

GOLDEN = [
    (
        "52f189d807540b979b34d2d435887082",
        "alpaca",
        {
            "instruction": " Übersetze. ",
            "input": "Guten Tag\n",
            "output": "Good day\n\n",
            "system": "Be brief.",
            "id": 7,
        },
    ),
    (
        "3f7b2346edb4695d95fd8f24f0fd8395",
        "dolly",
        {
            "instruction": "Who wrote it?",
            "context": "Emma is by Austen.",
            "response": "\nJane Austen",
            "category": "closed_qa",
        },
    ),
    (
        "b36d4bb30b1c3368b6e414d3d1de83ab",
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "Hi"},
                {"from": "gpt", "value": "Hello!\n  Hm.  "},
                {"from": "gpt", "value": "Ask."},
                {"from": "human", "value": "Bye"},
            ]
        },
    ),
    (
        "33c4c8e8a605325edcae25e5bbb37aa0",
        "messages",
        {
            "messages": [
                {"role": "system", "content": ""},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": "Hello!"},
                {"role": "tool", "content": "{}"},
                {"role": "assistant", "content": "So."},
            ]
        },
    ),
    (
        "0588f6eb74cfbdc42121246c698ad4d7",
        "prompt_completion",
        {"prompt": "2 + 2 =", "completion": "4"},
    ),
    (
        "7e7ed1cfe62b812acaeb61a155d13805",
        "self_instruct",
        {
            "instruction": "Add.",
            "instances": [{"input": "2 and 2", "output": "4"}, {"input": "", "output": "写"}],
        },
    ),
]


@pytest.mark.parametrize("content_id, format, row", GOLDEN, ids=[case[1] for case in GOLDEN])
def test_a_row_keeps_the_id_of_former_versions(
    content_id: str, format: str, row: dict[str, object]
) -> None:
    [read] = read_examples([row], format=format).examples
    assert read.content_id == content_id
