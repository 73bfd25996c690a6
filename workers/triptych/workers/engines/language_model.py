"""A model of transformers as batches use it: which rows it may share, and how it reads a prompt."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig
from transformers.utils import logging as transformers_logging

from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.constraints import Constraints
from triptych.workers.engines.continuation import Continuation, Vocabulary
from triptych.workers.engines.decoder import LoneRows, SharedRows
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.prefill import Prefill, PromptInputs
from triptych.workers.engines.row_exact import causal_only, leave_row_exact, make_row_exact
from triptych.workers.engines.running_batch import Readings, ReadyPrompt, RunningBatch
from triptych.workers.engines.torch_heeding import make_heeding

# A worker's log is no terminal.
transformers_logging.disable_progress_bar()


class LanguageModel:
    """One loaded model.

    Args:
        network: Of transformers, with its language head.
        tokenizer: Its own.
        piece_tokens: Length of the pieces in which prompts are read.

    Attributes:
        context_tokens: How many tokens it can have before it, prompt and answer together.
        shares: Whether rows share a forward pass, and prompts are read in pieces. Where it attends in ways of its own
            (sliding windows, images that see themselves, states instead of keys and values) each row goes alone.
    """

    def __init__(self, network: Any, tokenizer: Any, *, piece_tokens: int) -> None:
        self._network = network
        self._vocabulary = Vocabulary.of(network, tokenizer)
        self._constraints = Constraints(tokenizer, self._vocabulary.end_tokens)
        self._piece_tokens = piece_tokens
        self.context_tokens = int(getattr(network.config.get_text_config(), "max_position_embeddings", 0) or 2048)
        # The sampling options that a checkpoint recommends: a request says all of them, or means none.
        network.generation_config = GenerationConfig(eos_token_id=network.generation_config.eos_token_id)
        make_heeding(network)
        self._decoder = network.get_decoder()
        self.shares = causal_only(self._decoder)
        if self.shares:
            make_row_exact(network, self._decoder)

    def let_rows_go_alone(self) -> None:
        """Has each row go alone from now on: it turned out that the model attends in ways of its own."""
        self.shares = False
        leave_row_exact(self._decoder)

    def begin_batch(self, readings: Readings, ref: ModelRef) -> RunningBatch:
        """Gives an empty batch."""
        return RunningBatch(
            self._begin_prefill,
            SharedRows(self._network) if self.shares else LoneRows(self._network),
            readings,
            self._begin_answer,
            ref,
            step_tokens=self._piece_tokens,
        )

    def answer_tokens(self, prompt_tokens: int, wanted: int) -> int:
        """Gives how many tokens an answer may have."""
        return max(1, min(wanted, self.context_tokens - prompt_tokens))

    def _begin_answer(self, prompt: Prompt, ready: ReadyPrompt) -> Continuation:
        constraint = self._constraints.begin(prompt.rules, ready.documents, ready.limit)
        length = ready.inputs.ids.shape[1]
        return Continuation(prompt, self._vocabulary, prompt_tokens=length, limit=ready.limit, constraint=constraint)

    def _begin_prefill(self, inputs: PromptInputs) -> Prefill:
        return Prefill(self._network, inputs, self._piece_tokens if self.shares else 0)
