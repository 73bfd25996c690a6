"""Where a copy from a document may begin and end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.workers.engines.document_pieces import pieces


@given(st.text(max_size=60))
def test_pieces_make_up_the_text(text):
    assert "".join(pieces(text)) == text
    assert all(pieces(text))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Total due:  $1,610.00.", ["Total", " ", "due", ":", "  ", "$", "1,610.00", "."]),
        ("No. 2024-00123\n12:30", ["No", ".", " ", "2024-00123", "\n", "12:30"]),
        ("o'clock a@b.org (x)", ["o'clock", " ", "a@b.org", " ", "(", "x", ")"]),
        ("合計1,000円", ["合", "計", "1,000", "円"]),
        ("हिन्दी naïve cafe\u0301!", ["हिन्दी", " ", "naïve", " ", "cafe\u0301", "!"]),
        ("-5 a- -b", ["-", "5", " ", "a", "-", " ", "-", "b"]),
    ],
)
def test_amounts_dates_and_words_stay_whole(text, cut):
    assert pieces(text) == cut
