"""CPU seconds per question: the reader one question at a time, and the same questions in batches.

    python bench/reader.py MODELS_DIR QUESTIONS.jsonl IMAGES_ROOT [--questions 8] [--batch 4 8]

A line of QUESTIONS has `file` (an image, relative to IMAGES_ROOT), `question` and `answers`. Pages are recognized
before the clock starts. The texts must be equal whatever the batch; how many hold an expected answer is told too.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from triptych.core.media import HEAD_BYTES, IMAGE_TYPES, sniff
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_ocr import PaddleOcrEngine
from triptych.workers.engines.reader import ReaderEngine
from triptych.workers.media.images import decode_image


def prompts_of(questions: list[dict[str, Any]], root: Path, max_output_tokens: int) -> list[Prompt]:
    pages = {
        file: decode_image((root / file).read_bytes(), max_page_pixels=100_000_000)
        for file in {question["file"] for question in questions}
    }
    return [
        Prompt(
            turns=(("user", (pages[question["file"]], question["question"])),),
            max_output_tokens=max_output_tokens,
        )
        for question in questions
    ]


def is_image(path: Path) -> bool:
    with path.open("rb") as file:
        return sniff(file.read(HEAD_BYTES)) in IMAGE_TYPES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("questions_file", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"])
    parser.add_argument("--language-model", default="qwen2.5-coder-0.5b-instruct")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.questions_file.read_text("utf-8").splitlines()]
    lines = [line for line in lines if is_image(given.root / line["file"])]
    questions = lines[:: max(1, len(lines) // given.questions)][: given.questions]
    prompts = prompts_of(questions, given.root, given.tokens)
    ocr = PaddleOcrEngine(
        given.models_dir / "pp-ocrv6-small", ModelRef(), OcrRuntime(device="cpu", threads=given.threads)
    )
    began = time.perf_counter()
    engine = ReaderEngine(
        given.models_dir / given.language_model,
        ModelRef(),
        ocr,
        device="cpu",
        threads=given.threads,
        dtype=getattr(torch, given.dtype) if given.dtype else None,
    )
    engine.load()
    engine.warm_up()
    print(json.dumps({"load_s": round(time.perf_counter() - began, 1), "dtype": str(engine.dtype)}))
    began_cpu = time.process_time()
    engine.read_pages(prompts)
    print(json.dumps({"pages_cpu_s": round(time.process_time() - began_cpu, 1)}))
    texts: dict[int, list[str]] = {}
    for size in [1, *given.batch]:
        began, began_cpu = time.perf_counter(), time.process_time()
        results = [r for at in range(0, len(prompts), size) for r in engine.run_batch(prompts[at : at + size])]
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        done = [result for result in results if isinstance(result, VisionResult)]
        texts[size] = [result.text for result in done]
        row = {
            "batch": size,
            "cpu_s_per_question": round(cpu_s / len(prompts), 2),
            "wall_s_per_question": round(wall_s / len(prompts), 2),
            "input_tokens": sum(result.usage.input_token_count for result in done),
            "output_tokens": sum(result.usage.output_token_count for result in done),
            "equal_texts": sum(a == b for a, b in zip(texts[size], texts[1], strict=True)),
        }
        print(json.dumps(row), flush=True)
    held = [
        any(answer.lower() in text.lower() for answer in question["answers"])
        for question, text in zip(questions, texts[1], strict=True)
    ]
    print(json.dumps({"questions": len(questions), "with_expected_answer": sum(held)}))


if __name__ == "__main__":
    main()
