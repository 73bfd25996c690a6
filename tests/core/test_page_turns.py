"""Places on a page that is turned."""

import pytest

from triptych.core.page_turns import turned

# A line at the top left of an upright page.
LINE = [0.1, 0.2, 0.5, 0.2, 0.5, 0.3, 0.1, 0.3]


@pytest.mark.parametrize(
    ("degrees", "place"),
    [
        (0, LINE),
        (90, [0.8, 0.1, 0.8, 0.5, 0.7, 0.5, 0.7, 0.1]),  # runs down at the right
        (180, [0.9, 0.8, 0.5, 0.8, 0.5, 0.7, 0.9, 0.7]),  # on its head at the bottom right
        (270, [0.2, 0.9, 0.2, 0.5, 0.3, 0.5, 0.3, 0.9]),  # runs up at the left
    ],
)
def test_a_line_goes_where_the_page_takes_it(degrees, place):
    assert turned(LINE, degrees) == pytest.approx(place)
    assert turned(turned(LINE, degrees), -degrees) == pytest.approx(LINE)
    assert turned(turned(LINE, degrees), 360 - degrees) == pytest.approx(LINE)
