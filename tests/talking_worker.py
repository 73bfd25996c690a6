"""A vision worker of the suite, but for its local engine: it says what it is asked, as sure as TALKER_CONFIDENCE.

python tests/talking_worker.py vision
"""

import os
import sys

from workers.local_talker import LocalTalker

from triptych.core.catalog import Catalog
from triptych.workers.__main__ import main
from triptych.workers.engines import registry


def talker(name, _catalog, _settings):
    """Gives the engine of whatever local model is wanted."""
    engine = LocalTalker(name)
    engine.confidence = float(os.environ.get("TALKER_CONFIDENCE", "1"))
    return engine


if __name__ == "__main__":
    registry.build = talker
    Catalog.ready = lambda _catalog, _name: True
    sys.exit(main())
