"""What was read as files, through real processes: by the command as a user calls it, and by the client."""

import json
import xml.etree.ElementTree as ET

import pypdfium2
import pytest
from e2e.papers import png, scanned_pdf

from triptych.client import specs
from triptych.v1.ocr_service_pb2 import PagesFormat

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]


def words_of(content):
    with pypdfium2.PdfDocument(content) as document:
        return [document[number].get_textpage().get_text_range().split() for number in range(len(document))]


def test_a_scan_becomes_a_searchable_pdf_and_other_files_by_one_command(stack, tmp_path):
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(scanned_pdf([("Invoice number 1000",), ("Total due 17.50 EUR",)]))
    names = ("found.pdf", "text.txt", "alto.xml", "pages.hocr", "read.json")
    outputs = [part for name in names for part in ("--output", tmp_path / name)]
    done = stack.run("ocr", scan, *outputs)
    assert done.returncode == 0, done.stdout + done.stderr
    found = (tmp_path / "found.pdf").read_bytes()
    assert words_of(found) == [["Invoice", "number", "1000"], ["Total", "due", "17.50", "EUR"]]
    assert words_of(scan.read_bytes()) == [[], []]
    assert (tmp_path / "text.txt").read_text("utf-8") == "Invoice number 1000\n\fTotal due 17.50 EUR\n"
    strings = ET.parse(tmp_path / "alto.xml").iter("{http://www.loc.gov/standards/alto/ns-v4#}String")
    assert [each.get("CONTENT") for each in strings] == ["Invoice", "number", "1000", "Total", "due", "17.50", "EUR"]
    assert "ocrx_word" in (tmp_path / "pages.hocr").read_text("utf-8")
    assert len(json.loads((tmp_path / "read.json").read_text("utf-8"))["pages"]) == 2


def test_an_image_of_a_job_becomes_a_searchable_pdf(client):
    (source,) = client.sources([png("Invoice number 1000")])
    job = client.wait_job(client.submit(specs.ocr(source)).name)
    content = client.format_pages(job.name, PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF)
    assert words_of(content) == [["Invoice", "number", "1000"]]
