from hypothesis import given
from hypothesis import strategies as st

from connector.playground.passages import find_passage

LONG = "First some words about nothing much. " * 20 + "Then run a shell command and capture its output. " + "And on. " * 50


def marked(query: str, text: str) -> list[str]:
    passage = find_passage(query, text)
    return [passage.text[start:end] for start, end in passage.marks]


def test_the_passage_contains_the_words_of_the_query_even_far_into_the_text() -> None:
    passage = find_passage("capture the output of a command", LONG)
    assert "run a shell command and capture its output" in passage.text
    assert (passage.is_start, passage.is_end) == (False, False)


def test_words_are_matched_by_stem_and_stop_words_are_not_matched() -> None:
    assert marked("running a command", "He runs the commands as a user") == ["runs", "commands"]


def test_without_a_shared_word_the_beginning_is_shown() -> None:
    passage = find_passage("zebra", LONG)
    assert passage.text.startswith("First some words") and passage.marks == () and passage.is_start


def test_a_short_text_is_shown_completely() -> None:
    passage = find_passage("make a folder", "Make a folder.")
    assert (passage.text, passage.is_start, passage.is_end) == ("Make a folder.", True, True)


@given(st.text(max_size=60), st.text(max_size=900))
def test_marks_are_in_order_and_inside_the_passage(query: str, text: str) -> None:
    passage = find_passage(query, text)
    places = [place for mark in passage.marks for place in mark]
    assert passage.text in text
    assert places == sorted(places) and all(0 <= place <= len(passage.text) for place in places)
