"""Lines are put together, whatever the pieces that they come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dbt_protocol.line_input import LineBuffer


@given(st.lists(st.sampled_from([b"", b"a", b"\n", b"b\nc", b"\n\n", b"d\n"])))
def test_pieces_make_the_lines_of_the_whole(pieces: list[bytes]) -> None:
    buffer = LineBuffer()
    lines = [line for piece in pieces for line in buffer.add(piece)]
    assert lines == b"".join(pieces).split(b"\n")[:-1]
