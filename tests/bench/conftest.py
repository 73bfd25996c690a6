"""The evaluation data, where it is."""

import importlib.util
from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def score():
    """Another scorer, which the data comes with."""
    if not DATA.is_dir():
        pytest.skip("the evaluation data is not part of the repository")
    found = importlib.util.spec_from_file_location("score", DATA / "score.py")
    score = importlib.util.module_from_spec(found)
    found.loader.exec_module(score)
    return score
