"""One batch of speech windows in an encoder-decoder of transformers: encoded one by one, decoded together."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from transformers import LogitsProcessorList

from triptych.core.errors import FeatureDisabled
from triptych.workers.engines.heeding import Unwanted, left_when
from triptych.workers.engines.row_exact_hearing import make_hearing_row_exact
from triptych.workers.engines.seeded_sampling import SeededSampling
from triptych.workers.engines.speech import SpeechWindow
from triptych.workers.engines.torch_device import memory_errors
from triptych.workers.engines.torch_heeding import make_heeding
from triptych.workers.engines.whisper_guard import LADDER, Hypothesis, best, max_new_tokens

Written = Callable[[list[int]], str]
"""Gives the text of tokens."""


class TorchHearing:
    """A loaded model; for one thread.

    On a CPU every row is encoded alone and attends to nothing but its own audio, so it reads as it does alone.

    Args:
        network: An encoder-decoder whose `generate` takes `encoder_outputs`, in evaluation mode, on its device.
        input_name: What its encoder calls the audio.

    Raises:
        FeatureDisabled: The network is built otherwise.
    """

    def __init__(self, network: Any, input_name: str) -> None:
        if not network.config.is_encoder_decoder:
            raise FeatureDisabled(f"a {network.config.model_type} is no encoder-decoder; no engine here runs it")
        self._network = network
        self._input_name = input_name
        if network.device.type == "cpu":
            make_hearing_row_exact(network)
        make_heeding(network)
        ends = network.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])

    @torch.inference_mode()
    def transcribe(self, windows: Sequence[SpeechWindow], written: Written) -> dict[int, Hypothesis | None]:
        """Decodes windows of equal options, then again, hotter, those that came out badly.

        Gives the rows that are still wanted at the end; None: there is no speech.

        Raises:
            MemoryError: The batch does not fit the device.
        """
        heard: dict[int, Any] = {}
        tried: dict[int, list[Hypothesis]] = defaultdict(list)
        with memory_errors(), suppress(Unwanted):
            for row, window in enumerate(windows):
                with suppress(Unwanted), _for(windows, [row]):
                    heard[row] = self._encode(window)
            rows = list(heard)
            given = windows[0].decoding.temperature
            for temperature in LADDER if given is None else (given,):
                with _for(windows, rows):
                    found = self._decode({row: windows[row] for row in rows}, heard, temperature, written)
                for row, hypothesis in zip(rows, found, strict=True):
                    tried[row].append(hypothesis)
                wanted = _wanted(windows)
                rows = [row for row in rows if row in wanted and not tried[row][-1].good_enough]
        return {row: best(tried[row]) for row in _wanted(windows) if row in tried}

    def _encode(self, window: SpeechWindow) -> Any:
        features = torch.from_numpy(window.features).to(self._network.device, self._network.dtype)
        audio = features if self._input_name == "input_values" else features.T[None]
        mask = torch.ones(1, audio.shape[1], dtype=torch.long, device=audio.device)
        encoder = self._network.get_encoder()
        return encoder(**{self._input_name: audio}, attention_mask=mask)

    def _decode(
        self, windows: dict[int, SpeechWindow], heard: dict[int, Any], temperature: float, written: Written
    ) -> list[Hypothesis]:
        first = next(iter(windows.values()))
        beams = 1 if temperature > 0 else first.decoding.beam_size
        config = copy.deepcopy(self._network.generation_config)
        room = getattr(self._network.config, "max_target_positions", 0) or self._network.config.max_position_embeddings
        config.update(
            do_sample=False, temperature=None, top_p=None, top_k=None, max_length=None, length_penalty=1.0,
            num_beams=beams, early_stopping=beams > 1,
            max_new_tokens=min(max_new_tokens(first.speech_s), room - 2), pad_token_id=self._pad_token(),
        )  # fmt: skip
        sampling = [SeededSampling([0], temperature)] if temperature > 0 else []
        found = self._network.generate(
            **_padded(list(windows.values()), [heard[row] for row in windows]),
            generation_config=config,
            logits_processor=LogitsProcessorList(sampling),
        )
        return [
            self._judged(windows[row], heard[row], tokens, temperature, written)
            for row, tokens in zip(windows, found.tolist(), strict=True)
        ]

    def _judged(
        self, window: SpeechWindow, heard: Any, tokens: list[int], temperature: float, written: Written
    ) -> Hypothesis:
        """Reads a text again, all of it at once, for the probability of each token."""
        # The first token only starts the decoder.
        end = next((at + 1 for at, token in enumerate(tokens) if at and token in self._ends), len(tokens))
        given = torch.tensor([tokens[: end - 1]], device=self._network.device)
        logits = self._network(**_padded([window], [heard]), decoder_input_ids=given, use_cache=False).logits[0]
        said = tokens[1:end]
        chances = logits.float().log_softmax(dim=-1)[range(len(said)), said]
        text = [token for token in said if token not in self._ends]
        average = chances.mean().item() if said else 0.0
        return Hypothesis(
            guard=window.decoding.guard,
            temperature=temperature,
            tokens=tuple(text),
            text=written(text).strip(),
            avg_logprob=average,
            no_speech_probability=0.0,
        )

    def _pad_token(self) -> int:
        pad: int | None = self._network.generation_config.pad_token_id
        return min(self._ends) if pad is None else pad


def _padded(windows: Sequence[SpeechWindow], heard: Sequence[Any]) -> dict[str, Any]:
    """Gives what the decoder reads: rows of audio padded on the right, with the lengths before and after encoding."""
    states = [one.last_hidden_state[0] for one in heard]
    outputs: dict[str, Any] = {"last_hidden_state": torch.nn.utils.rnn.pad_sequence(states, batch_first=True)}
    if "attention_mask" in type(heard[0]).__dataclass_fields__:
        # Such a model asks its encoder how long the audio is.
        outputs["attention_mask"] = _mask([len(state) for state in states], states[0].device)
    lengths = [window.features.shape[1] for window in windows]
    return {"encoder_outputs": type(heard[0])(**outputs), "attention_mask": _mask(lengths, states[0].device)}


def _mask(lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(
        [torch.ones(length, dtype=torch.long, device=device) for length in lengths], batch_first=True
    )


def _wanted(windows: Sequence[SpeechWindow]) -> list[int]:
    """Gives the rows that somebody wants. All are asked, so that each is heard at every step."""
    return [row for row, window in enumerate(windows) if not window.stopped()]


def _for(windows: Sequence[SpeechWindow], rows: Sequence[int]) -> AbstractContextManager[None]:
    return left_when(lambda: set(rows).isdisjoint(_wanted(windows)))
