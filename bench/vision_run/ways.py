"""Ways to have questions answered: transformers' `generate` one by one or in groups, and Triptych."""

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from own_stack import own_stack
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, StoppingCriteria, StoppingCriteriaList
from vision_run.model import Question

from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.vision_pb2 import GenerationConfig

CALLERS = 16
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said."""

    text: str
    token_count: int


Way: TypeAlias = Callable[[Sequence[Question]], list[Answer]]


class RowLimits(StoppingCriteria):
    """Ends each row at its own limit, so that a group ends with its longest."""

    def __init__(self, limits: Sequence[int], prompt_tokens: int) -> None:
        self._limits = torch.tensor(limits)
        self._prompt_tokens = prompt_tokens

    def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
        """Says which rows have all they may have."""
        return self._limits <= input_ids.shape[1] - self._prompt_tokens


def of_transformers(folder: Path, threads: int, size: int) -> Way:
    """Groups of so many, in the order of the questions, in this process."""
    torch.set_num_threads(threads)
    processor: Any = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.padding_side = "left"
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()

    def group(questions: Sequence[Question]) -> list[Answer]:
        conversations = [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": Image.open(io.BytesIO(question.picture))},
                        {"type": "text", "text": question.text},
                    ],
                }
            ]
            for question in questions
        ]
        inputs = processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        length = inputs["input_ids"].shape[1]
        limits = [question.limit for question in questions]
        stop = StoppingCriteriaList([RowLimits(limits, length)])
        rows = model.generate(**inputs, max_new_tokens=max(limits), do_sample=False, stopping_criteria=stop)
        said = [row[length : length + limit].tolist() for row, limit in zip(rows, limits, strict=True)]
        return list(map(answer, said))

    def answer(tokens: list[int]) -> Answer:
        end = processor.tokenizer.eos_token_id
        said = tokens[: tokens.index(end) + 1] if end in tokens else tokens
        return Answer(processor.tokenizer.decode(said, skip_special_tokens=True), len(said))

    return lambda questions: [one for at in range(0, len(questions), size) for one in group(questions[at : at + size])]


@contextmanager
def triptych(folder: Path, into: Path, threads: int) -> Iterator[Way]:
    """16 callers at once, through a real service, Redis and worker."""
    catalogue = into / "models.toml"
    catalogue.write_text(
        f'[models.bench]\nkind = "vision"\nengine = "transformers"\nlicence = "none"\nsource = "dir:{folder}"\n'
    )
    given = {
        "TRIPTYCH_MODELS_FILE": str(catalogue),
        "TRIPTYCH_VISION_MODEL": "bench",
        "TRIPTYCH_DEVICE": "cpu",
        "TRIPTYCH_ENGINE_THREADS": str(threads),
    }
    with own_stack("vision", given) as stack, ThreadPoolExecutor(CALLERS) as callers:

        def ask(question: Question) -> Answer:
            config = GenerationConfig(max_output_tokens=question.limit)
            result = stack.client.generate(question.text, [question.picture], config, options=ANEW)
            return Answer(result.text, result.usage.output_token_count)

        yield lambda questions: list(callers.map(ask, questions))
