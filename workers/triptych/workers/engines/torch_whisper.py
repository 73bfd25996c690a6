"""Whisper's weights in transformers: what they compute, as `WhisperWeights` gives it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

from triptych.workers.engines.row_exact import leave_no_row_alone
from triptych.workers.engines.seeded_sampling import SeededSampling
from triptych.workers.engines.torch_device import memory_errors, weights_bytes
from triptych.workers.engines.torch_heeding import make_heeding
from triptych.workers.engines.whisper_alignment import alignment_heads, attention_to_audio, warped
from triptych.workers.engines.whisper_weights import Encoded

# A vocabulary below has no languages.
_MULTILINGUAL_VOCABULARY = 51865


class TorchWhisper:
    """A loaded model; for one thread. Its calls are left as `heeding` says.

    On a CPU every row gets the very numbers that it gets alone: the rows of a call are of one length, and windows are
    encoded one by one, which costs nothing there.

    Args:
        network: A `WhisperForConditionalGeneration`, in evaluation mode, on its device.
        tokenizer: A `tokenizers.Tokenizer`.
    """

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self._network = network
        self._token_id = tokenizer.token_to_id
        self._device, self._dtype = network.device, network.dtype
        if network.device.type == "cpu":
            leave_no_row_alone(network)
        make_heeding(network)
        self.windows_a_call = 1 if network.device.type == "cpu" else 16
        multilingual = getattr(network.generation_config, "is_multilingual", None)
        by_size = network.config.vocab_size >= _MULTILINGUAL_VOCABULARY
        self.is_multilingual: bool = by_size if multilingual is None else bool(multilingual)
        self.mels: int = network.config.num_mel_bins
        self._end = self._token_id("<|endoftext|>")
        self._blank = [*tokenizer.encode(" ", add_special_tokens=False).ids, self._end]
        self._heads = alignment_heads(network)

    def memory_bytes(self) -> int:
        """Gives the memory that the weights take."""
        return weights_bytes(self._network)

    def close(self) -> None:
        """Nothing to end: the weights go with this object."""

    @torch.inference_mode()
    def encode(self, features: npt.NDArray[np.float32]) -> Encoded:
        """See `WhisperWeights.encode`; windows may be shorter than 30 s, which the network's own encoder refuses."""
        encoder, gelu = self._network.model.encoder, torch.nn.functional.gelu
        with memory_errors():
            states = gelu(encoder.conv2(gelu(encoder.conv1(self._tensor(features))))).transpose(1, 2)
            states = states + encoder.embed_positions.weight[: states.shape[1]]
            for layer in encoder.layers:
                states = layer(states, None)
            states = encoder.layer_norm(states)
        encoded: Encoded = states.float().cpu().numpy()
        return encoded

    @torch.inference_mode()
    def detect_language(self, encoded: Encoded) -> list[tuple[str, float]]:
        """See `WhisperWeights.detect_language`."""
        from faster_whisper.tokenizer import _LANGUAGE_CODES

        tokens = [token for code in _LANGUAGE_CODES if self._token_id(token := f"<|{code}|>") is not None]
        start = torch.full((len(encoded), 1), self._token_id("<|startoftranscript|>"), device=self._device)
        logits = self._logits(self._tensor(encoded), start)[:, -1]
        chances = logits[:, [self._token_id(token) for token in tokens]].softmax(dim=-1)
        best = chances.max(dim=-1)
        return [
            (tokens[index], chance) for index, chance in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def generate(
        self,
        encoded: Encoded,
        prompts: Sequence[Sequence[int]],
        *,
        max_length: int,
        suppress_tokens: Sequence[int],
        suppress_blank: bool = True,
        beam_size: int = 1,
        num_hypotheses: int = 1,
        sampling_temperature: float = 0.0,
        sampling_topk: int = 0,
        seed: int | None = None,
    ) -> list[tuple[list[int], float, float]]:
        """See `WhisperWeights.generate`. A sampled row draws by the seed, whatever else is in the batch."""
        if sampling_topk:
            raise ValueError("only whole distributions are sampled from")
        sampled = sampling_temperature > 0
        never_first = self._blank if suppress_blank else []
        copies = num_hypotheses if sampled else 1
        audio = self._tensor(encoded).repeat_interleave(copies, dim=0)
        starts = [list(prompt) for prompt in prompts for _ in range(copies)]
        length = len(starts[0])
        room = self._network.config.max_target_positions - length
        config = GenerationConfig(
            do_sample=False,
            num_beams=1 if sampled else beam_size,
            early_stopping=True,
            max_new_tokens=max(1, min(max_length // 2, max_length - length, room)),
            eos_token_id=self._end,
            pad_token_id=self._end,
            decoder_start_token_id=starts[0][0],
            suppress_tokens=list(suppress_tokens),
            begin_suppress_tokens=never_first or None,
        )
        seeds = [(seed or 0) + copy for copy in range(copies)]
        sampling = [SeededSampling(seeds, sampling_temperature)] if sampled else []
        with memory_errors():
            # Whisper's own `generate` wraps this one in rules for whole recordings.
            found = GenerationMixin.generate(
                self._network,
                encoder_outputs=BaseModelOutput(last_hidden_state=audio),
                # Nothing is padded; without it transformers warns that it cannot tell.
                attention_mask=torch.ones(audio.shape[:2], dtype=torch.long, device=self._device),
                decoder_input_ids=torch.tensor(starts, device=self._device),
                generation_config=config,
                logits_processor=LogitsProcessorList(sampling),
            )
            tried = [
                self._scored(audio[row : row + 1], start, text, suppress_tokens, never_first)
                for row, (start, text) in enumerate(zip(starts, found[:, length:].tolist(), strict=True))
            ]
        return [max(tried[at : at + copies], key=lambda one: one[1]) for at in range(0, len(tried), copies)]

    @torch.inference_mode()
    def align(
        self,
        encoded: Encoded,
        start: Sequence[int],
        texts: Sequence[Sequence[int]],
        frames: int,
        *,
        median_filter_width: int = 7,
    ) -> list[SimpleNamespace]:
        """See `WhisperWeights.align`."""
        found = []
        for row, text in enumerate(texts):
            tokens = [*start, self._token_id("<|notimestamps|>"), *text, self._end]
            audio = self._tensor(encoded[row : row + 1])
            with memory_errors(), attention_to_audio(self._network, self._heads) as attention:
                logits = self._logits(audio, torch.tensor([tokens], device=self._device))[0, len(start) :, : self._end]
            path = warped(attention, slice(len(start), -1), frames // 2, median_filter_width)
            chances = logits.softmax(dim=-1)[range(len(text)), list(text)]
            found.append(SimpleNamespace(alignments=path, text_token_probs=chances.tolist()))
        return found

    def _scored(
        self,
        audio: torch.Tensor,
        start: list[int],
        written: list[int],
        suppressed: Sequence[int],
        never_first: Sequence[int],
    ) -> tuple[list[int], float, float]:
        """Reads a text again, all of it at once: gives its tokens, their score, and the probability of no speech."""
        ended = self._end in written
        text = written[: written.index(self._end)] if ended else written
        logits = self._logits(audio, torch.tensor([[*start, *text]], device=self._device))[0]
        silence = self._token_id("<|nospeech|>") or self._token_id("<|nocaptions|>")
        no_speech = logits[start.index(self._token_id("<|startoftranscript|>"))].softmax(dim=-1)[silence].item()
        said = [*text, self._end] if ended else text
        logits = logits[len(start) - 1 :][: len(said)]
        logits[:, list(suppressed)] = -torch.inf
        logits[0, list(never_first)] = -torch.inf
        total = logits.log_softmax(dim=-1)[range(len(said)), said].sum().item()
        return text, total / max(1, len(text)), no_speech

    def _logits(self, audio: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Gives float32 of shape (rows, tokens, vocabulary)."""
        heard = BaseModelOutput(last_hidden_state=audio)
        logits = self._network(encoder_outputs=heard, decoder_input_ids=tokens, use_cache=False).logits
        return logits.float()  # type: ignore[no-any-return]  # the package has no types

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device, self._dtype)
