"""Whisper on CTranslate2: turns windows of speech, of any jobs and languages, into text and word times."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InternalError, JobCancelled, LanguageUnsupported
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord
from triptych.workers.engines.base import Engine
from triptych.workers.engines.whisper_guard import LADDER, Hypothesis, best, max_new_tokens
from triptych.workers.engines.whisper_windows import WINDOW_S
from triptych.workers.media.audio import SAMPLE_RATE_HZ

DEFAULT_BEAM_SIZE = 5
_FRAMES_PER_S = 100
_SAMPLED_HYPOTHESES = 5
# Half of the decoder's 448 positions may hold a prompt, the special tokens counted in.
_MAX_PROMPT_TOKENS = 223
# Marks that stick to the word after them, and to the word before them.
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
# Whisper's names where they differ from BCP-47.
_WHISPER_NAME = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "cmn": "zh"}
_BCP47_NAME = {"jw": "jv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a window is decoded."""

    translate: bool = False
    """Into English; else the text stays in the language spoken."""
    beam_size: int = DEFAULT_BEAM_SIZE
    temperature: float | None = None
    """None: 0, then hotter as long as the result is not good enough."""
    prompt: tuple[int, ...] = ()
    """Tokens that come before the text, as `WhisperEngine.prompt` gives them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeechWindow:
    """At most 30 s of speech, ready for the encoder."""

    features: npt.NDArray[np.float32]
    """Log-mel spectrogram, shape (mels, frames), 100 frames a second."""
    language: str | None
    """Whisper's code; None: detected."""
    decoding: Decoding
    stopped: Callable[[], bool] = lambda: False
    """Whether nobody wants it any more; asked between steps."""

    @property
    def speech_s(self) -> float:
        """Seconds of speech."""
        return float(self.features.shape[1] / _FRAMES_PER_S)


class WhisperEngine(Engine[SpeechWindow, TranscriptionResult]):
    """Transcribes each window as if it were a whole recording: at most one segment, times from the window's start.

    Args:
        folder: Weights in CTranslate2 format, with tokenizer.json.
        model: Exact weights, for the results.
        device: "cpu" (int8), "cuda" (float16) or "auto".
        threads: CPU threads; 0: as many as the process may use.
    """

    def __init__(self, folder: Path, model: ModelRef, *, device: str = "auto", threads: int = 0) -> None:
        self.model = model
        self._folder = folder
        self._device = device
        self._threads = threads or len(os.sched_getaffinity(0))
        self._whisper: Any = None
        self._languages: frozenset[str] = frozenset()
        self._suppressed: tuple[int, ...] = ()

    def load(self) -> None:
        """Reads the weights."""
        import ctranslate2
        from faster_whisper import WhisperModel
        from faster_whisper.transcribe import get_suppressed_tokens

        cuda = self._device == "cuda" or (self._device == "auto" and ctranslate2.get_cuda_device_count() > 0)
        self._whisper = WhisperModel(
            str(self._folder),
            device="cuda" if cuda else "cpu",
            compute_type="float16" if cuda else "int8",
            cpu_threads=self._threads,
            local_files_only=True,
        )
        token_id = self._whisper.hf_tokenizer.token_to_id
        names = self._whisper.supported_languages
        self._languages = frozenset(name for name in names if name == "en" or token_id(f"<|{name}|>") is not None)
        self._suppressed = get_suppressed_tokens(self._tokenizer("en", Decoding()), [-1])

    def warm_up(self) -> None:
        """Runs one second of silence, and loads the voice-activity detector."""
        from faster_whisper.vad import get_vad_model

        get_vad_model()
        silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
        self.run_batch([self.window(silence, language=None, decoding=Decoding(temperature=0.0))])

    # What the threads of jobs may call.

    def language(self, tag: str) -> str:
        """Gives Whisper's code of a BCP-47 tag, the region ignored.

        Raises:
            LanguageUnsupported: The model does not know it.
        """
        primary = tag.strip().replace("_", "-").split("-", 1)[0].lower()
        code = _WHISPER_NAME.get(primary, primary)
        if code not in self._languages:
            raise LanguageUnsupported(f"{self.model.model} does not know the language {tag!r}")
        return code

    def prompt(self, initial_prompt: str, hotwords: Sequence[str]) -> tuple[int, ...]:
        """Gives the tokens that put words and a preceding text before the window.

        Half the decoder's positions are free for them: of the hotwords the first stay, of the text the last.
        """
        tokenizer = self._tokenizer("en", Decoding())
        words, text = ", ".join(word.strip() for word in hotwords).strip(), initial_prompt.strip()
        tokens = tokenizer.encode(" " + words)[:_MAX_PROMPT_TOKENS] if words else []
        room = _MAX_PROMPT_TOKENS - len(tokens)
        tokens += tokenizer.encode(" " + text)[-room:] if text and room else []
        return (tokenizer.sot_prev, *tokens) if tokens else ()

    def window(
        self,
        samples: npt.NDArray[np.float32],
        *,
        language: str | None,
        decoding: Decoding,
        stopped: Callable[[], bool] = lambda: False,
    ) -> SpeechWindow:
        """Makes a window of at most 30 s of samples, shape (samples,), 16 kHz."""
        # The last frame sees only the padding.
        features = self._whisper.feature_extractor(samples)[:, :-1]
        features = features[:, : WINDOW_S * _FRAMES_PER_S].astype(np.float32)
        return SpeechWindow(features=features, language=language, decoding=decoding, stopped=stopped)

    # What only the batcher's thread calls.

    def cost(self, item: SpeechWindow) -> float:  # noqa: ARG002 - the encoder reads 30 s, however short the speech
        """Seconds of audio the encoder reads."""
        return float(WINDOW_S)

    def batch_key(self, item: SpeechWindow) -> Hashable:
        """What the decoder cannot vary within a batch. Language, task and the prompt's words can differ."""
        return item.decoding.beam_size, item.decoding.temperature, len(item.decoding.prompt)

    def run_batch(self, items: Sequence[SpeechWindow]) -> Sequence[TranscriptionResult | Exception]:
        """Encodes the windows once; detects languages, decodes and times words from that.

        Raises:
            MemoryError: The batch does not fit the device.
        """
        results: list[TranscriptionResult | Exception] = [JobCancelled("the job was stopped")] * len(items)
        live = [index for index, item in enumerate(items) if not item.stopped()]
        if live:
            with _memory_errors():
                for index, result in zip(live, self._transcribe([items[index] for index in live]), strict=True):
                    results[index] = result
        return results

    def _transcribe(self, items: Sequence[SpeechWindow]) -> list[TranscriptionResult | Exception]:
        encoded = self._encode(items)
        results = self._detect(encoded, items)
        tokenizers = [
            self._tokenizer(item.language or self.language(result.language_code), item.decoding)
            for item, result in zip(items, results, strict=True)
        ]
        outcomes: list[TranscriptionResult | Exception] = []
        hypotheses = self._decode(encoded, items, tokenizers)
        for row, (item, result, hypothesis) in enumerate(zip(items, results, hypotheses, strict=True)):
            if hypothesis is None:
                outcomes.append(JobCancelled("the job was stopped"))
                continue
            if hypothesis.text.strip() and not hypothesis.silent:
                segment = self._segment(_row(encoded, row), item, tokenizers[row], hypothesis)
                result.text = segment.text
                result.segments.append(segment)
            outcomes.append(result)
        return outcomes

    def _encode(self, items: Sequence[SpeechWindow]) -> Any:
        """Gives the encoder's output, shape (rows, 1500, width)."""
        stack = np.zeros((len(items), items[0].features.shape[0], WINDOW_S * _FRAMES_PER_S), np.float32)
        for row, item in enumerate(items):
            stack[row, :, : item.features.shape[1]] = item.features
        return self._whisper.encode(stack)

    def _detect(self, encoded: Any, items: Sequence[SpeechWindow]) -> list[TranscriptionResult]:
        """Gives results that know their language: one decoder step for all rows, if any row needs it."""
        detecting = self._whisper.model.is_multilingual and any(item.language is None for item in items)
        ranked = self._whisper.model.detect_language(encoded) if detecting else [[("<|en|>", 1.0)]] * len(items)
        results = []
        for item, ((token, probability), *_) in zip(items, ranked, strict=True):
            code = item.language or token[2:-2]
            result = TranscriptionResult(
                model=self.model,
                language_code=_BCP47_NAME.get(code, code),
                audio_duration_ms=round(item.speech_s * 1000),
                speech_duration_ms=round(item.speech_s * 1000),
            )
            if item.language is None:
                result.language_confidence = probability
            results.append(result)
        return results

    def _decode(
        self, encoded: Any, items: Sequence[SpeechWindow], tokenizers: Sequence[Any]
    ) -> list[Hypothesis | None]:
        """Decodes all rows, then again, hotter, those that came out badly; None where a row was stopped."""
        given = items[0].decoding.temperature
        tried: dict[int, list[Hypothesis]] = defaultdict(list)
        rows = list(range(len(items)))
        for temperature in LADDER if given is None else (given,):
            part = encoded if len(rows) == len(items) else _rows(encoded, rows)
            found = self._generate(part, [items[row] for row in rows], [tokenizers[row] for row in rows], temperature)
            for row, hypothesis in zip(rows, found, strict=True):
                tried[row].append(hypothesis)
            rows = [row for row in rows if not tried[row][-1].good_enough and not items[row].stopped()]
            if not rows:
                break
        return [None if item.stopped() else best(tried[row]) for row, item in enumerate(items)]

    def _generate(
        self, encoded: Any, items: Sequence[SpeechWindow], tokenizers: Sequence[Any], temperature: float
    ) -> Iterator[Hypothesis]:
        decoding = items[0].decoding
        prompts = [
            [*item.decoding.prompt, *tokenizer.sot_sequence, tokenizer.no_timestamps]
            for item, tokenizer in zip(items, tokenizers, strict=True)
        ]
        new_tokens = max_new_tokens(max(item.speech_s for item in items))
        search = (
            {"beam_size": 1, "num_hypotheses": _SAMPLED_HYPOTHESES, "sampling_topk": 0}
            if temperature > 0
            else {"beam_size": decoding.beam_size}
        )
        found = self._whisper.model.generate(
            encoded,
            prompts,
            # CTranslate2 takes the smaller of max_length / 2 and max_length - prompt for the new tokens.
            max_length=min(448, max(2 * new_tokens, new_tokens + len(prompts[0]))),
            sampling_temperature=temperature,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
            **search,
        )
        for row, tokenizer in zip(found, tokenizers, strict=True):
            tokens = row.sequences_ids[0]
            yield Hypothesis(
                tokens=tuple(tokens),
                text=tokenizer.decode(tokens),
                avg_logprob=row.scores[0] * len(tokens) / (len(tokens) + 1),
                no_speech_probability=row.no_speech_prob,
            )

    def _segment(
        self, encoded_row: Any, item: SpeechWindow, tokenizer: Any, hypothesis: Hypothesis
    ) -> TranscriptSegment:
        """Makes the segment of one row; its words are timed by the decoder's cross-attention."""
        # One row a call: the aligner wants one start sequence, and a row must not depend on its neighbours.
        timed = [{"seek": 0, "start": 0.0, "end": item.speech_s, "tokens": list(hypothesis.tokens)}]
        frames = item.features.shape[1]
        self._whisper.add_word_timestamps(
            [timed], tokenizer, encoded_row, frames, _PREPENDED, _APPENDED, last_speech_timestamp=0.0
        )
        segment = TranscriptSegment(
            end_ms=round(item.speech_s * 1000),
            text=hypothesis.text.strip(),
            confidence=hypothesis.confidence,
            no_speech_probability=hypothesis.no_speech_probability,
            compression_ratio=hypothesis.compression_ratio,
        )
        segment.text_end = len(segment.text)
        segment.words.extend(_words(timed[0].get("words", ()), segment.end_ms))
        return segment

    def _tokenizer(self, language: str, decoding: Decoding) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        task = "translate" if decoding.translate else "transcribe"
        return Tokenizer(self._whisper.hf_tokenizer, self._whisper.model.is_multilingual, task=task, language=language)


def _words(timed: Any, end_ms: int) -> Iterator[TranscriptWord]:
    """Gives the words in milliseconds, none beginning before the last one ended, all within the window."""
    before_ms = 0
    for word in timed:
        start_ms = min(max(round(word["start"] * 1000), before_ms), end_ms)
        before_ms = min(max(round(word["end"] * 1000), start_ms), end_ms)
        if text := word["word"].strip():
            yield TranscriptWord(
                start_ms=start_ms, end_ms=before_ms, text=text, confidence=min(1.0, float(word["probability"]))
            )


def _row(encoded: Any, row: int) -> Any:
    return _rows(encoded, [row])


def _rows(encoded: Any, rows: Sequence[int]) -> Any:
    """Takes rows out of the encoder's output, which CTranslate2 itself cannot slice."""
    import ctranslate2

    if encoded.shape[0] == len(rows):
        return encoded
    on_cpu = encoded.to_device(ctranslate2.Device.cpu) if encoded.device == "cuda" else encoded
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(np.array(on_cpu)[list(rows)]))


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turns CUDA's way of saying that memory is full into Python's."""
    try:
        yield
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in ("out of memory", "alloc_failed")):
            raise MemoryError(str(error)) from error
        raise InternalError(f"Whisper failed: {error}") from error
