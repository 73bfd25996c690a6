"""The benches of accuracy can count: errors, alternatives, characters, invented words; words and cells; answers."""

import argparse
import json
from pathlib import Path

import pytest
from accuracy_run import asr, easy_vqa, ocr, vqa
from accuracy_run.asr import Heard, judged, last_line, table
from accuracy_run.manifest import Item, items
from accuracy_run.page_words import overlap
from accuracy_run.table_cells import likeness, rows
from accuracy_run.words import compare, normalised, word_count
from bench.conftest import DATA

from triptych.core.errors import DigestMismatch
from triptych.v1.ocr_pb2 import OcrTable, OcrTableCell


def item(said, *, language="en", alternatives=()):
    return Item(
        id="clip", path=Path("clip.wav"), folder=Path(), modality="speech", language=language, truth={"text": said},
        alternatives=alternatives,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "heard", "language", "errors", "length"),
    [
        ("Ask not, what your country can do.", "ask not what your country can do", "en", 0, 7),
        ("It's 10 meters, Mr. Smith's colour", "it is ten metres mister smith is color", "en", 0, 8),
        ("red green blue black", "red grin black white", "en", 3, 4),
        ("Straße – „schön“", "straße schön", "de", 0, 2),
        ("Её зовут", "ее зовут", "ru", 0, 2),
        ("l'étoile [rires] <bruit>", "l’étoile", "fr", 0, 2),
        ("日本語です。", "日本語 でした", "ja", 2, 5),
        ("สวัสดี", "สวัสด", "th", 1, 6),
        ("something", "", "en", 1, 1),
    ],
)
def test_errors_are_the_fewest_that_explain_what_was_heard(said, heard, language, errors, length):
    found = compare([said], heard, language)
    assert (found.errors, found.length) == (errors, length)


def test_the_spelling_that_fits_best_counts():
    assert compare(["go forward ten metres", "forward!"], "forward", "de").rate == 0


def test_numbers_of_english_are_normalised_as_whisper_does():
    assert normalised("Twenty-one $3 million, isn't it?", "en") == "21 $3000000 is not it"


def test_words_where_nobody_speaks_are_invented():
    assert word_count(" [Music] ... ") == 0
    found = judged(item("", language=""), "Thank you.")
    assert (found.comparison, found.invented) == (None, 2)


def test_all_words_count_alike_and_characters_are_left_out():
    found = [
        judged(item("red green blue black white pink brown grey gold"), "red green"),
        judged(item("silver"), "silver"),
        judged(item("eins zwei", language="de"), "eins drei"),
        judged(item("日本", language="ja"), "本日"),
        judged(item("", language=""), "You"),
    ]
    assert last_line(found) == "WER 0.667 English 0.700 invented 1"
    rows = table(found).splitlines()
    assert "| de | 1 | 2 words | 1 | 0.500 | 0.500 |" in rows
    assert "| ja | 1 | 2 characters | 2 | 1.000 | 1.000 |" in rows
    assert "| nobody speaks | 1 | | 1 | | |" in rows


def test_without_any_words_there_is_no_rate():
    assert last_line([]) == "WER nan English nan invented 0"


def test_a_manifest_is_read_with_paths_of_its_own(tmp_path):
    told = [
        {"id": "a", "file": "audio/a.wav", "modality": "speech", "lang": "en", "ground_truth": {"text": "x"}},
        {"id": "b", "file": "b.png", "modality": "photo"},
    ]
    for content in (told, {"set": "s", "items": told}):
        (tmp_path / "m.json").write_text(json.dumps(content))
        [found] = items(tmp_path / "m.json", "speech")
        assert (found.id, found.path, found.truth) == ("a", tmp_path / "audio" / "a.wav", {"text": "x"})
    with pytest.raises(SystemExit, match="modality pdf"):
        items(tmp_path / "m.json", "pdf")


def test_bounds_hold_for_the_figures_as_printed():
    parser = argparse.ArgumentParser()
    asr.add_arguments(parser)
    given = parser.parse_args(["--max-wer", "0.09", "--max-invented", "0"])
    bounds = (given.max_wer, given.max_english, given.max_invented)
    assert not asr._broken((0.0904, 0.9, 0), bounds)
    assert asr._broken((0.0906, 0.9, 0), bounds)
    assert asr._broken((0.0, 0.9, 1), bounds)
    assert not asr._broken((float("nan"), float("nan"), 0), (None, None, 0))


@pytest.mark.parametrize(
    ("true", "found", "language", "figures"),
    [
        ("Total: 12,50 EUR", "total 12,50 eur", "en", (3, 3, 3)),
        ("well-\nknown, old", "wellknown old", "en", (2, 2, 2)),
        ("the the cat", "the cat sat", "en", (2, 3, 3)),
        ("日本 語", "日本 誰", "ja", (2, 3, 3)),
        ("國家", "国家", "zh-Hant", (1, 2, 2)),
        ("fu\u0364r „uns“ – $5", 'für "uns" $5', "de", (3, 3, 3)),
        ("a", "", "en", (0, 1, 0)),
    ],
)
def test_words_of_a_page_are_counted_whatever_their_order(true, found, language, figures):
    counted = overlap(true, found, language)
    assert (counted.shared, counted.true, counted.found) == figures


def test_f1_is_the_harmonic_mean_of_both_shares():
    counted = overlap("one two three four", "one two five", "en")
    assert (counted.recall, counted.precision) == (2 / 4, 2 / 3)
    assert counted.f1 == pytest.approx(4 / 7)
    assert overlap("one", "two", "en").f1 == 0


def test_pages_count_alike_and_a_failed_one_counts_as_unread(tmp_path):
    (tmp_path / "true.txt").write_text("one two")
    page = Item(
        id="p", path=tmp_path / "p.png", folder=tmp_path, modality="document_image", language="",
        truth={"text_file": "true.txt"}, alternatives=(), condition="small",
    )  # fmt: skip
    found = [ocr.judged(page, "ONE two", turns=[180]), ocr.judged(page, "", failure="MEDIA_CORRUPT: broken")]
    assert ocr.last_line(found) == "F1 0.500 pages 2"
    assert "| condition small | 2 | 0.500 | 0.500 | 0.500 |" in ocr.table(found).splitlines()
    assert found[0].line() == "p  -  F1 1.000  recall 1.000  precision 1.000  turned by 180  small"
    assert found[1].line().endswith("MEDIA_CORRUPT: broken")


def test_tables_are_compared_by_cells_and_their_neighbours():
    true = [["", "2023", "2024"], ["Sales", "1", "2"]]
    assert likeness([true], [true]).adjacency_f1 == 1
    # Of 5 neighbours of the true table and 4 of the other, 3 are alike: the right column is missing but for its head.
    found = likeness([true], [[["", "2023", "2024"], ["Sales", "1", ""]]])
    assert found.adjacency_f1 == pytest.approx(2 * 3 / (5 + 3))
    assert found.cell_recall == 4 / 5
    assert likeness([true], []).cell_recall == 0


def test_a_spanning_cell_stands_once():
    table = OcrTable(
        row_count=2,
        column_count=2,
        cells=[
            OcrTableCell(row_index=0, column_index=0, column_span=2, row_span=1, text="Both"),
            OcrTableCell(row_index=1, column_index=0, text="a"),
            OcrTableCell(row_index=1, column_index=1, text="b"),
        ],
    )
    assert rows(table) == [["Both", ""], ["a", "b"]]


def answered(said, answer, **fields):
    question = easy_vqa.Question(text="is it?", answer=answer, image=3)
    return vqa.Seen(id="3-0", question=question, said=said, **fields)


def test_an_answer_is_right_if_it_is_the_very_word_and_ends():
    found = [
        answered("yes", "yes"),
        answered("yes, a circle", "yes"),
        answered("no", "no", ended=False),
        answered("", "no", failure="NO_WORKER: none"),
    ]
    assert [one.right for one in found] == [True, False, False, False]
    assert vqa.last_line(found) == "accuracy 0.250 questions 4"
    assert "| no | 2 | 0.000 |" in vqa.table(found).splitlines()
    assert found[1].line() == "3-0  is it?  yes, a circle  wrong, yes"
    assert vqa.last_line([]) == "accuracy nan questions 0"


def test_questions_that_are_not_the_packages_are_refused(tmp_path, data_dir):
    sample = easy_vqa.read(data_dir / "easy-vqa", "test")
    assert (len(sample.questions), len(sample.images)) == (450, 48)
    other = tmp_path / "other.whl"
    other.write_bytes(b"another wheel")
    with pytest.raises(DigestMismatch, match=easy_vqa.SHA256):
        easy_vqa.read(other, "test")


def test_another_scorer_gives_the_same_figures_of_pages(score):
    wanted = items(DATA / "public" / "manifest.json", "document_image", "pdf")
    wanted = [item for item in wanted if item.true_text() is not None]
    texts = [item.true_text() for item in wanted]
    for item, true, other in zip(wanted, texts, [*texts[3:], *texts[:3]], strict=True):
        for found in (true, true[5:].upper() + ' — „x“ 10% "a" -', other, true[: len(true) // 2] + other, ""):
            ours, theirs = ocr.judged(item, found).overlap, score.ocr_item(true, found, item.language or "en")
            figures = theirs["word_recall"], theirs["word_precision"], theirs["bow_f1"]
            assert (ours.recall, ours.precision, ours.f1) == figures


def test_another_scorer_gives_the_same_figures_of_tables(score):
    for item in items(DATA / "public" / "manifest.json", "pdf"):
        true = [one["rows"] for one in item.truth.get("tables", [])]
        for found in (true, [[row[1:] for row in one[1:]] for one in true], true[:1] + true[:1], []):
            ours, theirs = likeness(true, found), score.table_item(true, found)
            assert (ours.cell_recall, ours.adjacency_f1) == (theirs["cell_recall"], theirs["adjacency_f1"])


def test_another_scorer_gives_the_same_figures_of_clips(score):
    wanted = items(DATA / "public" / "manifest.json", "speech")
    texts = [one.truth["text"] for one in wanted]
    for one, other in zip(wanted, [*texts[5:], *texts[:5]], strict=True):
        # As it is, spoilt in many ways, and of another clip.
        for heard in (one.truth["text"], one.truth["text"].upper()[3:] + " — „x“ 10 don't", other, ""):
            ours: Heard = judged(one, heard)
            if not one.truth["text"]:
                assert ours.invented == len(score.norm_asr(heard, "xx").split())
                continue
            references = [one.truth["text"], *one.alternatives]
            theirs = min(
                (score.asr_item(said, heard, one.language or "en") for said in references),
                key=lambda counted: counted[0] / max(1, counted[1]),
            )
            assert (ours.comparison.errors, ours.comparison.length) == theirs[:2]
