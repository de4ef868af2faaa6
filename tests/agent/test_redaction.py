from hypothesis import given
from hypothesis import strategies as st

from agent.redaction import MASK, RedactedStream, Redactor


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.learn(value)
    return redactor


def test_a_value_is_hidden_as_it_is_and_inside_json() -> None:
    redactor = knowing('tok"en\n1', "päss")
    assert redactor.clean(b'say tok"en\n1 and "tok\\"en\\n1"') == b'say *** and "***"'
    assert redactor.clean_text('"p\\u00e4ss" päss') == '"***" ***'


def test_the_longer_of_two_values_is_hidden_whole() -> None:
    assert knowing("abcd", "abcdefgh").clean(b"abcdefgh abcd") == b"*** ***"


def test_a_value_too_short_to_hide_hides_nothing() -> None:
    redactor = knowing("a", "")
    assert redactor.idle
    assert redactor.clean(b"banana") == b"banana"


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0, 100), max_size=6))
def test_a_value_cut_by_the_borders_of_pieces_is_hidden_and_nothing_else_is_lost(
    before: bytes, after: bytes, cuts: list[int]
) -> None:
    data = before + b"hunter22" + after
    stream = RedactedStream(knowing("hunter22"))
    said, at = b"", 0
    for cut in [*sorted(cuts), len(data)]:
        said += stream.feed(data[at:cut])
        at = max(at, min(cut, len(data)))
    said += stream.end()
    assert said == data.replace(b"hunter22", MASK)


def test_what_only_looks_like_the_beginning_of_a_value_comes_out_at_the_end() -> None:
    stream = RedactedStream(knowing("hunter22"))
    assert stream.feed(b"the hunt") == b"the "
    assert stream.end() == b"hunt"


def test_a_stream_without_secrets_waits_for_nothing() -> None:
    stream = RedactedStream(Redactor())
    assert stream.feed(b"hunter2") == b"hunter2"
