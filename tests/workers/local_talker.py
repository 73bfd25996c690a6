"""A local engine for tests of routing: it says "here: " and the prompt's last text, as sure as it is told to be."""

import threading

from triptych.v1.common_pb2 import ModelRef, TokenUsage
from triptych.v1.vision_pb2 import FINISH_REASON_STOP, VisionResult
from triptych.workers.engines.base import Engine


class LocalTalker(Engine):
    """One prompt at a time.

    Attributes:
        gate: Open by default; clear it to keep a batch running.
        started: Set when a batch begins.
        confidence: Of every answer; None: it does not tell.
        answered: Prompts so far.
        says: Its answer to everything; empty: as above.
    """

    def __init__(self, name="near"):
        self.model = ModelRef(model=name, revision="1", engine="talker/1", licence="MIT")
        self.gate, self.started = threading.Event(), threading.Event()
        self.gate.set()
        self.confidence = None
        self.answered = 0
        self.says = ""

    def load(self):
        """Nothing to load."""

    def cost(self, item):
        return 1.0

    def run_batch(self, items):
        self.started.set()
        self.gate.wait(30)
        return [self._answer(item) for item in items]

    def _answer(self, item):
        self.answered += 1
        asked = next(part for part in reversed(item.turns[-1][1]) if isinstance(part, str))
        text = self.says or f"here: {asked}"
        item.on_text(text[:6], 1)
        item.on_text(text, 2)
        return VisionResult(
            model=self.model,
            text=text,
            finish_reason=FINISH_REASON_STOP,
            usage=TokenUsage(input_token_count=5, output_token_count=2),
            confidence=self.confidence,
        )
