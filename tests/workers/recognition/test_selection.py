"""Which pages are read."""

import pytest

from triptych.core.errors import FieldInvalid, InputTooLarge, RangeOutsideSource
from triptych.v1.common_pb2 import PageRange
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.workers.recognition.selection import selected_pages


@pytest.mark.parametrize(
    ("ranges", "error"),
    [
        ([(0, 1)], FieldInvalid),
        ([(2, 1)], FieldInvalid),
        ([(1, 2), (2, 3)], FieldInvalid),
        ([(1, 0), (3, 3)], FieldInvalid),
        ([(1, 6)], RangeOutsideSource),
        ([(6, 0)], RangeOutsideSource),
        ([(1, 5)], InputTooLarge),
        ([], InputTooLarge),
    ],
)
def test_ranges_that_make_no_sense_are_refused(ranges, error):
    spec = OcrSpec(pages=[PageRange(first_page=first, last_page=last) for first, last in ranges])
    with pytest.raises(error):
        selected_pages(spec, page_count=5, max_page_count=4)
