"""Continues prompts together, token by token; they join and leave between two tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import torch

from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.continuation import Continuation, cancelled
from triptych.workers.engines.decoder import Rows
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.heeding import Unwanted, left_when
from triptych.workers.engines.prefill import Prefill, PromptInputs
from triptych.workers.engines.torch_device import memory_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyPrompt:
    """A prompt as the model takes it.

    Attributes:
        inputs: What is read.
        limit: The most tokens that its answer may have.
        documents: Text of each page that the model is shown; None: it is shown pixels.
    """

    inputs: PromptInputs
    limit: int
    documents: Sequence[str] | None = None


# Or the prompt's own failure.
Ready = ReadyPrompt | Exception


class Readings(Protocol):
    """Makes prompts ready for the model."""

    def read(self, prompts: Sequence[Prompt], hear: Callable[[], object], /) -> Sequence[Ready]:
        """Reads as many of the first prompts as are best read at once, one at least; gives those.

        Args:
            prompts: New ones.
            hear: Asks every prompt of the batch whether it is stopped; what takes long calls it again and again.
        """


@dataclass(slots=True, eq=False)
class _Row:
    """A prompt on its way."""

    number: int
    prompt: Prompt
    prefill: Prefill | None = None
    answer: Continuation | None = None


class RunningBatch:
    """Prompts are made ready, read in pieces, and continued together.

    A step takes up new prompts, reads pieces of those that are not read yet (so many tokens in all, in turn), and gives
    every other one its next token. Greedy or with a seed, each gets what it gets alone.

    Args:
        begin_prefill: Begins to read a prompt; its model has `make_heeding`.
        rows: None yet.
        readings: Make prompts ready.
        begin_answer: Decides how a prompt's answer is chosen; raises the prompt's own failure.
        ref: For the results.
        step_tokens: After so many tokens of prompts a step reads no further piece: as long as those take, rows that run
            wait for their next token.
    """

    def __init__(
        self,
        begin_prefill: Callable[[PromptInputs], Prefill],
        rows: Rows,
        readings: Readings,
        begin_answer: Callable[[Prompt, ReadyPrompt], Continuation],
        ref: ModelRef,
        *,
        step_tokens: int,
    ) -> None:
        self._begin_prefill = begin_prefill
        self._rows = rows
        self._readings = readings
        self._begin_answer = begin_answer
        self._ref = ref
        self._step_tokens = step_tokens
        self._numbers = count()
        self._new: list[_Row] = []
        self._reading: deque[_Row] = deque()
        self._continued: list[_Row] = []  # in the order of the rows
        self._ended: list[tuple[int, VisionResult | Exception]] = []

    def join(self, prompt: Prompt) -> int:
        """See `JoinableBatch.join`."""
        row = _Row(next(self._numbers), prompt)
        self._new.append(row)
        return row.number

    def step(self) -> list[tuple[int, VisionResult | Exception]]:
        """See `JoinableBatch.step`."""
        with memory_errors(), torch.inference_mode():
            self._drop_unwanted()
            self._make_ready()
            self._read()
            self._continue()
        ended, self._ended = self._ended, []
        return ended

    def _all(self) -> list[_Row]:
        return [*self._continued, *self._reading, *self._new]

    def _none_wanted(self, rows: Sequence[_Row]) -> Callable[[], bool]:
        """Whether none of them is wanted. All there are are asked, so that each is heard whatever the step is for."""
        everyone = self._all()

        def ask() -> bool:
            stopped = {row.number for row in everyone if row.prompt.stopped()}
            return stopped.issuperset(row.number for row in rows)

        return ask

    def _end(self, row: _Row, result: VisionResult | Exception) -> None:
        """Takes a row out of the batch, wherever it is."""
        if row in self._continued:
            index = self._continued.index(row)
            self._rows.leave(index)
            self._continued[index] = self._continued[-1]
            self._continued.pop()
        elif row in self._reading:
            self._reading.remove(row)
        elif row in self._new:
            self._new.remove(row)
        self._ended.append((row.number, result))

    def _drop_unwanted(self) -> None:
        for row in self._all():
            if row.prompt.stopped():
                self._end(row, cancelled())

    def _make_ready(self) -> None:
        if not self._new:
            return
        everyone = self._all()
        readings = self._readings.read(
            [row.prompt for row in self._new], lambda: [row.prompt.stopped() for row in everyone]
        )
        for row, ready in zip(tuple(self._new), readings, strict=False):
            if isinstance(ready, Exception):
                self._end(row, ready)
                continue
            try:
                row.answer = self._begin_answer(row.prompt, ready)
                row.prefill = self._begin_prefill(ready.inputs)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - the prompt's own failure: nothing else was computed
                self._end(row, error)
                continue
            self._new.remove(row)
            self._reading.append(row)

    def _read(self) -> None:
        """Reads pieces until there were enough tokens for one step."""
        left = self._step_tokens
        while self._reading and left > 0:
            row = self._reading[0]
            left -= self._read_piece(row)
            if self._reading and self._reading[0] is row:
                self._reading.rotate(-1)

    def _read_piece(self, row: _Row) -> int:
        assert row.prefill
        try:
            with memory_errors(), left_when(self._none_wanted([row])):
                tokens = row.prefill.step()
        except Unwanted:
            self._end(row, cancelled())
            return 0
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the prompt's own failure: nothing else was computed
            self._end(row, error)
            return 0
        if row.prefill.logits is not None:
            if self._says(row, row.prefill.logits.float().cpu()):
                self._rows.join(row.prefill)
                self._reading.remove(row)
                self._continued.append(row)
            row.prefill = None
        return tokens

    def _continue(self) -> None:
        """Gives each row its next token."""
        rows = tuple(self._continued)
        if not rows:
            return
        logits = None
        with suppress(Unwanted), left_when(self._none_wanted(rows)):
            logits = self._rows.step([row.answer.last_token for row in rows if row.answer]).float().cpu()
        if logits is None:
            for row in rows:
                self._end(row, cancelled())
            return
        for row, scores in zip(rows, logits, strict=True):
            self._says(row, scores)

    def _says(self, row: _Row, scores: torch.Tensor) -> bool:
        """Chooses a row's next token; says whether it goes on. What its own listener raises is its own failure."""
        assert row.answer
        try:
            if row.prompt.stopped():
                self._end(row, cancelled())
                return False
            row.answer.add(scores)
        except Exception as error:  # noqa: BLE001
            self._end(row, error)
            return False
        if row.answer.ended:
            self._end(row, row.answer.result(self._ref))
        return not row.answer.ended
