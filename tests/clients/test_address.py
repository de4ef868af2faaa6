"""What people write for a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pawl.address import Address, parse


@pytest.mark.parametrize(
    ("text", "target", "tls"),
    [
        ("localhost", "localhost:8081", False),
        ("box:9000", "box:9000", False),
        ("ws://box:8081", "box:8081", False),
        ("http://box/", "box:8081", False),
        ("https://box:443", "box:443", True),
        ("[::1]", "[::1]:8081", False),
        ("unix:/run/pawl.sock", "unix:/run/pawl.sock", False),
    ],
)
def test_usual_spellings_are_read(text: str, target: str, tls: bool) -> None:
    assert parse(text) == Address(target, tls)


@pytest.mark.parametrize("text", ["", "a b", "ftp://box", "box:0", "box:99999", "box:http", "http://box/path", "u@box"])
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        assert parse(text).target
    except ValueError as refused:
        assert "\n" not in str(refused)
