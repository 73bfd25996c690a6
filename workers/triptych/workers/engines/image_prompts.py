"""Makes conversations with images what a vision-language model takes; images are prepared and encoded one by one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from triptych.core.errors import FieldInvalid
from triptych.workers.bounded_cache import BoundedCache
from triptych.workers.engines.generation import Pixels, Prompt
from triptych.workers.engines.image_key import image_key
from triptych.workers.engines.prefill import ImageFeatures, PromptInputs

log = logging.getLogger(__name__)

_FORWARD_ONLY = {"input_ids", "attention_mask"}


@dataclass(slots=True)
class _Prepared:
    """One image, ready for the encoder; afterwards only what it was encoded to."""

    replacement: str
    """The text that stands for it."""
    positional: Mapping[str, torch.Tensor]
    pixels: Mapping[str, torch.Tensor] | None
    features: ImageFeatures | None = None

    def nbytes(self) -> int:
        """Gives the memory that it takes once it is encoded."""
        assert self.features is not None
        return self.features.nbytes() + sum(one.nbytes for one in self.positional.values())


EncodedImages = BoundedCache[_Prepared]
"""What images were encoded to, by their keys."""


class ImagePrompts:
    """The processor of one model.

    transformers' processors prepare all images of a prompt with its text. Where a processor can be asked for the two
    apart, and gives the same tokens and features so (it is tried out), an image that came before is not prepared again,
    and each is encoded by itself. Otherwise a prompt goes in whole.

    Args:
        processor: Of transformers.
        model: With its language head.
        apart: Whether images may go by themselves.

    Attributes:
        cache: Of encoded images; keeps nothing until it is set, as what is tried out is nobody's image.
    """

    def __init__(self, processor: Any, model: Any, *, apart: bool = True) -> None:
        self._processor = processor
        self._model = model
        self.cache = EncodedImages(0)
        self._makes_types = False
        with torch.inference_mode():
            self._apart = apart and self._tried_out()

    def read(self, prompt: Prompt) -> PromptInputs:
        """Gives what the model takes.

        Raises:
            FieldInvalid: The model's own template is against the conversation (a role it does not know, say).
        """
        conversation = _conversation(prompt)
        text = self._text(conversation)
        return self._read_apart(prompt, text, prompt.images()) if self._apart else self._read_whole(conversation)

    def _text(self, conversation: list[dict[str, Any]]) -> str:
        try:
            return str(self._processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))
        except Exception as error:
            # Templates are programs of the model's and raise what they like.
            raise FieldInvalid("messages", f"the model's chat template refuses them: {error}") from error

    def _read_whole(self, conversation: list[dict[str, Any]]) -> PromptInputs:
        try:
            inputs = self._processor.apply_chat_template(
                [conversation], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
        except ValueError as error:  # a text has the token that stands for an image
            raise FieldInvalid("messages", f"the model's processor refuses them: {error}") from error
        inputs = inputs.to(self._model.device, dtype=self._model.dtype)
        rest = {name: value for name, value in inputs.items() if name not in _FORWARD_ONLY}
        return PromptInputs(ids=inputs["input_ids"], positional=rest, whole=rest)

    def _read_apart(self, prompt: Prompt, text: str, images: Sequence[Pixels]) -> PromptInputs:
        token = self._processor.image_token
        if text.count(token) != len(images):
            raise FieldInvalid("messages", f"a text has {token!r}, by which the model knows an image")
        prepared = [self._prepared(prompt.tenant, image) for image in images]
        [expanded], _ = self._processor.get_text_with_replacements([text], [image.replacement for image, _ in prepared])
        bos = self._processor.tokenizer.bos_token
        ids = self._processor.tokenizer(expanded, add_special_tokens=not (bos and text.startswith(bos))).input_ids
        positional: dict[str, Any] = {}
        for name in prepared[0][0].positional if prepared else ():
            positional[name] = torch.cat([image.positional[name] for image, _ in prepared])
        if self._makes_types:
            types = self._processor.create_mm_token_type_ids([ids])
            positional["mm_token_type_ids"] = torch.tensor(types, device=self._model.device)
        return PromptInputs(
            ids=torch.tensor([ids], device=self._model.device),
            images=[encode for _, encode in prepared],
            placeholder=self._model.config.image_token_id,
            positional=positional,
        )

    def _prepared(self, tenant: str, image: Pixels) -> tuple[_Prepared, Any]:
        """Gives an image as it was kept or prepared now, and how to have its features."""
        key, purges = image_key(tenant, image), self.cache.purges
        found = self.cache.find(key)
        if found is not None:
            return found, partial(_features, found)
        prepared = self._prepare(image)

        def encode() -> ImageFeatures:
            features = self._encode(prepared)
            self.cache.keep(key, prepared, purges=purges)
            return features

        return prepared, encode

    def _prepare(self, image: Pixels) -> _Prepared:
        processor = self._processor
        options = processor._merge_kwargs(tokenizer_init_kwargs=processor.tokenizer.init_kwargs, return_tensors="pt")[
            "images_kwargs"
        ]
        laid_out = processor.prepare_inputs_layout(images=[Image.fromarray(image)], text=[processor.image_token])[0]
        inputs, [replacement] = processor._process_images(laid_out, **options)
        tensors = {name: value.to(self._model.device) for name, value in inputs.items() if torch.is_tensor(value)}
        kept = {name: value for name, value in tensors.items() if name.endswith("_grid_thw")}
        floats = {
            name: value.to(self._model.dtype) if value.is_floating_point() else value for name, value in tensors.items()
        }
        return _Prepared(replacement, kept, floats)

    def _encode(self, prepared: _Prepared) -> ImageFeatures:
        if prepared.features is None:
            asked = self._model._prepare_multimodal_encoder_kwargs_for_generation(dict(prepared.pixels or {}))
            output = asked["mm_encoder_outputs"]["image"]
            prepared.features = ImageFeatures(
                _flat(output["pooler_output"]),
                tuple(_flat(layer) for layer in output.get("deepstack_features") or ()),
                type(output),
            )
            prepared.pixels = None
        return prepared.features

    def _tried_out(self) -> bool:
        """Whether two images by themselves give what they give with their text."""
        tall, wide = np.arange(90 * 60 * 3, dtype=np.uint8).reshape(90, 60, 3), np.full((32, 64, 3), 99, np.uint8)
        prompt = Prompt(turns=(("user", (tall, "one, ", wide, "two")),))
        try:
            whole = self._read_whole(_conversation(prompt))
            self._makes_types = "mm_token_type_ids" in whole.positional
            parts = self._read_apart(prompt, self._text(_conversation(prompt)), prompt.images())
            features = sum(len(encode().rows) for encode in parts.images)
            same = (
                torch.equal(whole.ids, parts.ids)
                and features == int(torch.eq(parts.ids, parts.placeholder or 0).sum()) > 0
            )
            same &= all(torch.equal(whole.positional[name], value) for name, value in parts.positional.items())
        except Exception as error:  # noqa: BLE001 - whatever a processor of another kind raises, it goes in whole
            log.info("images go with their prompts, and are not kept", extra={"reason": repr(error)})
            return False
        return bool(same)


def _features(prepared: _Prepared) -> ImageFeatures:
    assert prepared.features is not None
    return prepared.features


def _flat(parts: Any) -> torch.Tensor:
    """Joins what an encoder gives for several tiles: shape (tokens, size)."""
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def _conversation(prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "image": Image.fromarray(part)}
                for part in parts
            ],
        }
        for role, parts in prompt.turns
    ]
