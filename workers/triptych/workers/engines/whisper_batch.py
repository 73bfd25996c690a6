"""One batch of speech windows in the model: encoded once, then asked for languages, texts and word times."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.v1.transcription_pb2 import TranscriptWord
from triptych.workers.engines.heeding import Unwanted, left_when
from triptych.workers.engines.speech import FRAMES_PER_S, WINDOW_S, SpeechWindow
from triptych.workers.engines.whisper_guard import LADDER, Hypothesis, best, max_new_tokens
from triptych.workers.engines.whisper_process import WhisperProcess
from triptych.workers.engines.whisper_weights import Encoded, WhisperWeights

# The decoder's positions: prompt and text together.
MAX_POSITIONS = 448
_SAMPLED_HYPOTHESES = 5
# What the encoder may read of a short window. It is made for 30 s: with 5 s, or hardly any silence behind the speech,
# the decoder loops; with 10 s it differs from the full length more often than it needs to. See decision 17.
_SHORT_S = (15, 20)
_MARGIN = 1.5
# Marks that stick to the word after them, and to the word before them.
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"


def frames_read(window: SpeechWindow) -> int:
    """Gives the frames that the encoder reads of a window, its padding counted in."""
    lengths = [length for length in _SHORT_S if length >= _MARGIN * window.speech_s] if window.decoding.short else []
    return (lengths or [WINDOW_S])[0] * FRAMES_PER_S


class WhisperBatch:
    """Windows of equal decoding options, and what the model makes of them. A row is one window, from 0.

    Args:
        whisper: A `faster_whisper.WhisperModel` whose `model` is our WhisperWeights or WhisperProcess.
        suppressed: Tokens that are never written: signs that are not speech.
        windows: At least one; the encoder reads equally many frames of each.
    """

    def __init__(self, whisper: Any, suppressed: tuple[int, ...], windows: Sequence[SpeechWindow]) -> None:
        self._whisper = whisper
        self._model: WhisperWeights | WhisperProcess = whisper.model
        self._suppressed = suppressed
        self._windows = windows
        self._encoded: dict[int, Encoded] = {}

    def encode(self) -> None:
        """Encodes the windows, as many in a call as the model does best."""
        size = self._model.windows_a_call
        for first in range(0, len(self._windows), size):
            wanted = set(self._wanted())
            rows = [row for row in range(first, min(first + size, len(self._windows))) if row in wanted]
            with suppress(Unwanted), self._for(rows):
                found = self._model.encode(np.stack([self._padded(row) for row in rows]))
                self._encoded.update({row: found[at : at + 1] for at, row in enumerate(rows)})

    def languages(self) -> dict[int, tuple[str, float | None]]:
        """Gives the language of each row that is still wanted, and its probability if it is but the likeliest."""
        rows = [row for row in self._wanted() if row in self._encoded]
        known: dict[int, tuple[str, float | None]] = {
            row: (language, None) for row in rows if (language := self._windows[row].language) is not None
        }
        unknown = [row for row in rows if row not in known]
        if not (unknown and self._model.is_multilingual):
            return known | dict.fromkeys(unknown, ("en", 1.0))
        with suppress(Unwanted), self._for(unknown):
            found = self._model.detect_language(np.concatenate([self._encoded[row] for row in unknown]))
            # Tokens look like <|en|>.
            known |= {row: (token[2:-2], chance) for row, (token, chance) in zip(unknown, found, strict=True)}
        return known

    def decode(self, tokenizers: Mapping[int, Any]) -> dict[int, Hypothesis | None]:
        """Decodes rows, then again, hotter, those that came out badly; gives those that are still wanted.

        None: There is no speech in the row.

        Args:
            tokenizers: Of each row to decode, for its language and task.
        """
        given = self._windows[0].decoding.temperature
        tried: dict[int, list[Hypothesis]] = defaultdict(list)
        rows = list(tokenizers)
        for temperature in LADDER if given is None else (given,):
            for group in self._groups(rows, sampled=temperature > 0):
                with suppress(Unwanted), self._for(group):
                    for row, hypothesis in zip(group, self._generate(group, tokenizers, temperature), strict=True):
                        tried[row].append(hypothesis)
            wanted = self._wanted()
            rows = [row for row in rows if row in wanted and not tried[row][-1].good_enough]
        return {row: best(tried[row]) for row in self._wanted() if row in tried}

    def words(self, row: int, tokenizer: Any, hypothesis: Hypothesis) -> Iterator[TranscriptWord]:
        """Times a row's words by the decoder's attention; in order, within the window, in its milliseconds.

        One row a call: the aligner wants one start sequence, and a row must not depend on its neighbours.

        Raises:
            Unwanted: Nobody wants the row any more.
        """
        window = self._windows[row]
        timed: dict[str, Any] = {"seek": 0, "start": 0.0, "end": window.speech_s, "tokens": list(hypothesis.tokens)}
        encoded, frames = self._encoded[row], window.features.shape[1]
        with self._for([row]):
            self._whisper.add_word_timestamps([[timed]], tokenizer, encoded, frames, _PREPENDED, _APPENDED, 0.0)
        before_ms, last_ms = 0, round(window.speech_s * 1000)
        for word in timed.get("words", ()):
            start_ms = min(max(round(word["start"] * 1000), before_ms), last_ms)
            before_ms = min(max(round(word["end"] * 1000), start_ms), last_ms)
            confidence = min(1.0, float(word["probability"]))
            if text := word["word"].strip():
                yield TranscriptWord(start_ms=start_ms, end_ms=before_ms, text=text, confidence=confidence)

    def _padded(self, row: int) -> npt.NDArray[np.float32]:
        window = self._windows[row]
        mels, frames = window.features.shape
        # Zeros, as in faster-whisper, are a faint noise. In short windows last words went missing before it, so there
        # silence follows, as the paper has it: the quietest value that the features have.
        read = frames_read(window)
        behind = window.features.min() if read < WINDOW_S * FRAMES_PER_S else 0.0
        padded = np.full((mels, read), behind, np.float32)
        padded[:, :frames] = window.features
        return padded

    def _wanted(self) -> list[int]:
        """Gives the rows that somebody wants. All are asked, so that each is heard at every step."""
        return [row for row, window in enumerate(self._windows) if not window.stopped()]

    def _for(self, rows: Sequence[int]) -> AbstractContextManager[None]:
        """Calls of the model inside the block are for these rows, and are left when nobody wants any of them.

        Raises:
            Unwanted: Nobody does.
        """
        return left_when(lambda: set(rows).isdisjoint(self._wanted()))

    def _groups(self, rows: Sequence[int], *, sampled: bool) -> Iterable[list[int]]:
        """Gives the rows that one call decodes: those with one bound of tokens; alone, if lots are drawn on a CPU."""
        alone = sampled and self._model.windows_a_call == 1
        groups: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            groups[row if alone else max_new_tokens(self._windows[row].speech_s)].append(row)
        return groups.values()

    def _generate(self, rows: Sequence[int], tokenizers: Mapping[int, Any], temperature: float) -> Iterator[Hypothesis]:
        windows = [self._windows[row] for row in rows]
        prompts = [
            [*self._windows[row].decoding.prompt, *tokenizers[row].sot_sequence, tokenizers[row].no_timestamps]
            for row in rows
        ]
        new_tokens = max_new_tokens(windows[0].speech_s)
        search: dict[str, Any] = {"beam_size": windows[0].decoding.beam_size}
        if temperature > 0:
            # A window draws the same lots in every job, so that it reads the same.
            seed = zlib.crc32(windows[0].features.tobytes())
            search = {"beam_size": 1, "num_hypotheses": _SAMPLED_HYPOTHESES, "sampling_topk": 0, "seed": seed}
        found = self._model.generate(
            np.concatenate([self._encoded[row] for row in rows]),
            prompts,
            # CTranslate2 takes the smaller of max_length / 2 and max_length - prompt for the new tokens.
            max_length=min(MAX_POSITIONS, max(2 * new_tokens, new_tokens + len(prompts[0]))),
            sampling_temperature=temperature,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
            **search,
        )
        for row, (tokens, score, no_speech_probability) in zip(rows, found, strict=True):
            yield Hypothesis(
                guard=self._windows[row].decoding.guard,
                temperature=temperature,
                tokens=tuple(tokens),
                text=tokenizers[row].decode(tokens).strip(),
                avg_logprob=score * len(tokens) / (len(tokens) + 1),
                no_speech_probability=no_speech_probability,
            )
