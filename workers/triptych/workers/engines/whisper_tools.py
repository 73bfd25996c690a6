"""What faster-whisper knows of Whisper apart from its weights: log-mel spectrograms, and times of words."""

from __future__ import annotations

from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.transcribe import get_suppressed_tokens
from faster_whisper.utils import get_logger

from triptych.core.errors import ModelNotFound

# Tokens that stand for something; two releases of the tokenizer call one of them differently.
_NEEDED = (
    "<|startoftranscript|>",
    "<|endoftext|>",
    "<|notimestamps|>",
    "<|startofprev|>",
    "<|startoflm|>",
    "<|transcribe|>",
    "<|translate|>",
    "<|nospeech|> or <|nocaptions|>",
)


class WhisperTools(WhisperModel):  # type: ignore[misc]  # the package has no types
    """A `WhisperModel` around weights that are ours, so that they are loaded once, wherever they are.

    Args:
        weights: `WhisperWeights`, or whatever computes the same.
        tokenizer: A `tokenizers.Tokenizer`.

    Raises:
        ModelNotFound: The tokenizer is none of Whisper's.
    """

    def __init__(self, weights: Any, tokenizer: Any) -> None:
        # Not that of the package: it would load weights of its own. These are all the fields that it sets.
        self.logger = get_logger()
        self.model = weights
        self.hf_tokenizer = tokenizer
        # Large-v3 and its children read 128 mels, the others 80; the weights themselves know.
        self.feature_extractor = FeatureExtractor(feature_size=weights.mels)
        self.input_stride = 2
        self.num_samples_per_token = self.feature_extractor.hop_length * self.input_stride
        self.frames_per_second = self.feature_extractor.sampling_rate // self.feature_extractor.hop_length
        self.tokens_per_second = self.feature_extractor.sampling_rate // self.num_samples_per_token
        self.time_precision = 0.02
        self.max_length = 448
        missing = [name for name in _NEEDED if all(tokenizer.token_to_id(one) is None for one in name.split(" or "))]
        if missing:
            raise ModelNotFound(f"the tokenizer is none of Whisper's: it lacks {', '.join(missing)}")

    def languages(self) -> frozenset[str]:
        """Gives the codes of the languages that the model writes."""
        if not self.model.is_multilingual:
            return frozenset({"en"})
        known = self.hf_tokenizer.token_to_id
        return frozenset(code for code in self.supported_languages if known(f"<|{code}|>") is not None)

    def suppressed_tokens(self, tokenizer: Any) -> tuple[int, ...]:
        """Gives the tokens that are never written: signs that are not speech.

        Args:
            tokenizer: A `faster_whisper.tokenizer.Tokenizer`.
        """
        tokens: tuple[int, ...] = get_suppressed_tokens(tokenizer, [-1])
        return tokens
