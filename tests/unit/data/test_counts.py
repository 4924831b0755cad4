"""What is told of the fields that rows were read from."""

import json

from nuggets_ray.data.counts import FieldCounts, told, warnings
from nuggets_ray.data.examples import Rules


def counted(*rows: object, format: str = "messages") -> FieldCounts:
    counts = FieldCounts()
    for row in rows:
        counts.add(Rules(format).read(row))
    return counts


TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
GREETED = [{"role": "assistant", "content": "Hi!"}, *TURNS]


def test_counts_of_blocks_are_those_of_all_rows() -> None:
    rows = [{"messages": TURNS, "id": 1}, {"messages": GREETED, "tools": [{"name": "f"}]}]
    whole = counted(*rows)
    assert whole.as_dict() == {
        "fields_read": {"messages": 2, "tools": 1},
        "fields_not_read": {"id": 1},
        "num_greetings": 1,
    }
    merged = FieldCounts()
    for row in rows:
        merged.merge(FieldCounts.from_dict(json.loads(json.dumps(counted(row).as_dict()))))
    assert merged == whole


def test_the_line_names_the_most_frequent_first_and_the_rest_by_number() -> None:
    assert (
        told({"output": 1200, "input": 3}, {}) == "read: output 1,200, input 3; not read: nothing"
    )
    many = {f"field{n}": n for n in range(1, 16)}
    line = told({}, many)
    assert line.startswith("read: nothing; not read: field15 15, ") and line.endswith(", 3 more")


def test_a_field_that_may_carry_meaning_is_warned_of_with_the_setting_that_reads_it() -> None:
    left = {"category": 5, "system_prompt": 3, "messages[].train_detail": 2, "context": 1}
    sentences = warnings({"messages": 5}, left, {}, "anchors")
    assert [sentence.partition(" is not read")[0] for sentence in sentences] == [
        *("system_prompt of 3 rows", "messages[].train_detail of 2 rows", "context of 1 rows")
    ]
    assert "anchors.columns.system=system_prompt reads it" in sentences[0]
    both = [{"messages": TURNS, "system": "s", "system_prompt": "t"}]
    [read] = [Rules("messages", {"system": "system_prompt"}).read(row) for row in both]
    assert read.example.messages[0].content == "t" and read.left == ("system",)


def test_a_column_that_no_row_has_is_warned_of() -> None:
    columns = {"turns": "log", "system": "persona", "weight": "counts", "role": "by"}
    sentences = warnings({"log": 3, "log[].counts": 3}, {}, columns)
    assert sentences == ["data.columns.system=persona: no row holds anything there"]
