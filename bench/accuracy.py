"""How good the results of a running service are, over a set of files whose truth is known.

    python bench/accuracy.py asr MANIFEST [--target HOST:PORT] [--per-item] [--max-wer 0.09]
    python bench/accuracy.py ocr MANIFEST [--target HOST:PORT] [--per-item] [--min-f1 0.88]
    python bench/accuracy.py fields MANIFEST [--target HOST:PORT] [--per-item] [--min-exact 0.6]
    python bench/accuracy.py multi QUESTIONS.jsonl [--target HOST:PORT] [--per-item] [--min-anls 0.5]
    python bench/accuracy.py qa MANIFEST [--target HOST:PORT] [--per-item] [--min-anls 0.7] [--min-evidence 0.95]
    python bench/accuracy.py vqa easy_vqa-1.0-py3-none-any.whl [--target HOST:PORT] [--per-item] [--min-accuracy 0.97]

Without --target a service is started with one worker (multi and qa: four) and the weights of TRIPTYCH_MODELS_DIR, on
free ports. What a manifest is, says `accuracy_run/manifest.py`. The last line has the figures, such as

    WER 0.090 English 0.056 invented 0
    F1 0.880 pages 39
    exact 0.80 fields 67
    ANLS 0.500 exact 0.400 questions 8
    ANLS 0.700 exact 0.600 evidence 0.95 abstained 0.80
    accuracy 0.970 questions 9673

asr: word errors over all words of all clips in which somebody speaks, the same of the English ones, and the words that
were heard in the others. Chinese, Japanese and Thai are compared by characters, and only stand in the table. The
language is given to the service as the manifest says, unless --detect is.

ocr: F1 of the bag of words, mean over the images (or, with --modality pdf, the PDFs) whose text is known; Chinese,
Japanese, Korean and Thai characters are words of their own. Files whose tables are known are read with their layout
too: adjacent cells and cells that were found.

fields: share of the key fields (`ground_truth.fields`) of documents that are right, all of a document asked for at once
by a schema of strings; amounts and dates, by their names, in any spelling.

multi: answers to questions over several files at once (`accuracy_run/multi.py` says what its manifest is).

qa: answers to the items' questions (`ground_truth.qa`), each a call of its own. ANLS and the exact share are of the
questions over document images; evidence is the share of all quotes that lie where they say (what is checked, says
`accuracy_run/places.py`); abstained is the share of questions without an answer that are told so: each question is
asked of another file that is silent about it (`accuracy_run/asked.py`).

vqa: share of the questions of easy-VQA's test split to which the model says the very word and then ends, each a call of
its own. Its manifest is the package's wheel, which is fetched if it is not there. The service that is started has the
model of the tests, or that of --folder.
"""

import argparse
import sys
from pathlib import Path

from accuracy_run import asr, fields, multi, ocr, qa, vqa

KINDS = {"asr": asr, "fields": fields, "multi": multi, "ocr": ocr, "qa": qa, "vqa": vqa}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, module in KINDS.items():
        kind = kinds.add_parser(name, help=module.__doc__)
        kind.add_argument("manifest", type=Path)
        kind.add_argument("--target", default="", help="address of the service")
        kind.add_argument("--api-key", default="", help="key of the caller")
        kind.add_argument("--model", default="", help="default: the service's")
        kind.add_argument("--only", default="", help="items whose id begins so")
        kind.add_argument("--callers", type=int, default=4, help="calls at a time")
        kind.add_argument("--per-item", action="store_true", help="a line per item")
        kind.add_argument("--predictions", type=Path, help="file for the results, as JSON by id")
        module.add_arguments(kind)
    given = parser.parse_args()
    return KINDS[given.kind].run(given)


if __name__ == "__main__":
    sys.exit(main())
