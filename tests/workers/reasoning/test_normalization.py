"""Words of a document become what the schema asks for, and stay doubtful where they are."""

import datetime
import time
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.core.schema_values import Leaf, ObjectOf, wanted_values
from triptych.workers.reasoning.days import days
from triptych.workers.reasoning.habits import Habits, habits
from triptych.workers.reasoning.normalization import normal
from triptych.workers.reasoning.value_names import wanted
from triptych.workers.reasoning.value_readers import DOUBTED
from triptych.workers.reasoning.values import only_value

GERMAN = Habits(decimal=",", day_first=True, day_known=True, country="DE")
AMERICAN = Habits(decimal=".", day_first=False, day_known=True, country="US")
NOBODY = Habits()


def leaf(name="value", **schema) -> Leaf:
    root = wanted_values({"properties": {name: schema}})
    assert isinstance(root, ObjectOf)
    found = root.properties[name]
    assert isinstance(found, Leaf)
    return found


NUMBER, INTEGER, BOOLEAN, STRING = (leaf(type=name) for name in ("number", "integer", "boolean", "string"))
DATE, TIME, MOMENT, EMAIL, URI = (
    leaf(type="string", format=name) for name in ("date", "time", "date-time", "email", "uri")
)
CURRENCY, PHONE = leaf("currency", type="string"), leaf("phoneNumber", type="string")
STATE = leaf(enum=["paid", "partly paid", "open", "in_dispute"])


@pytest.mark.parametrize(
    ("text", "wanted", "own", "value", "certainty"),
    [
        ("$ 1,234.56", NUMBER, NOBODY, 1234.56, 1),
        ("1.234,56 €", NUMBER, NOBODY, 1234.56, 1),
        ("1 234,50", NUMBER, NOBODY, 1234.5, 1),
        ("1.234", NUMBER, GERMAN, 1234, 1),
        ("1.234", NUMBER, AMERICAN, 1.234, 1),
        ("1,234", NUMBER, AMERICAN, 1234, 1),
        ("-1,234", NUMBER, GERMAN, -1.234, 1),
        ("1,234", NUMBER, NOBODY, 1234, DOUBTED),
        ("610.00", NUMBER, NOBODY, 610, 1),
        ("(12.50)", NUMBER, NOBODY, -12.5, 1),
        ("12.50-", NUMBER, NOBODY, -12.5, 1),
        ("19 %", NUMBER, NOBODY, 19, 1),
        ("2.5 million", NUMBER, NOBODY, 2500000, 1),
        ("21 %", leaf("taxAmount", type="number"), NOBODY, None, None),
        ("21 %", leaf("tax_rate", type="number"), NOBODY, 21, 1),
        ("on 3 May 2019", leaf("invoiceDate", type="string"), NOBODY, "3 May 2019", 1),
        ("Total: $ 1,234", leaf("total_amount", type="string"), NOBODY, None, None),
        ("EUR 1,234.00 ", leaf("total_amount", type="string"), NOBODY, "EUR 1,234.00", 1),
        ("3012 CN Rotterdam", leaf("amount", type="string"), NOBODY, None, None),
        ("12 of 24", NUMBER, NOBODY, None, None),
        ("none", NUMBER, NOBODY, None, None),
        ("30/02/2024", NUMBER, NOBODY, None, None),
        ("31.02.2024", NUMBER, NOBODY, None, None),
        ("3", INTEGER, NOBODY, 3, 1),
        ("3.5", INTEGER, NOBODY, None, None),
        ("Yes, in full", BOOLEAN, NOBODY, True, 1),
        ("nein", BOOLEAN, NOBODY, False, 1),
        ("☒", BOOLEAN, NOBODY, True, 1),
        ("Contoso", BOOLEAN, NOBODY, None, None),
        ("Nov. 15, 2019", DATE, NOBODY, "2019-11-15", 1),
        ("15. März 2019", DATE, NOBODY, "2019-03-15", 1),
        ("3 de mayo de 2021", DATE, NOBODY, "2021-05-03", 1),
        ("1er août 2020", DATE, NOBODY, "2020-08-01", 1),
        ("2014年8月3日", DATE, NOBODY, "2014-08-03", 1),
        ("01/02/2024", DATE, AMERICAN, "2024-01-02", 1),
        ("01/02/2024", DATE, GERMAN, "2024-02-01", 1),
        ("01/02/2024", DATE, NOBODY, "2024-02-01", DOUBTED),
        ("05/05/2024", DATE, NOBODY, "2024-05-05", 1),
        ("31.12.99", DATE, NOBODY, "1999-12-31", 1),
        ("31-Jan-19", DATE, NOBODY, "2019-01-31", 1),
        ("30/02/2024", DATE, NOBODY, None, None),
        ("from 2024-01-01 to 2024-02-01", DATE, NOBODY, None, None),
        ("2:30 pm", TIME, NOBODY, "14:30:00", 1),
        ("12:05 AM UTC", TIME, NOBODY, "00:05:00Z", 1),
        ("14:30:15+0200", TIME, NOBODY, "14:30:15+02:00", 1),
        ("2024-01-31 14:30 Z", MOMENT, NOBODY, "2024-01-31T14:30:00Z", 1),
        ("2024-01-31", MOMENT, NOBODY, None, None),
        ("Mail: jo@contoso.com.", EMAIL, NOBODY, "jo@contoso.com", 1),
        ("www.contoso.com", URI, NOBODY, "https://www.contoso.com", 1),
        ("http://contoso.com/a.", URI, NOBODY, "http://contoso.com/a", 1),
        ("€", CURRENCY, NOBODY, "EUR", 1),
        ("usd", CURRENCY, NOBODY, "USD", 1),
        ("$ 5", CURRENCY, AMERICAN, "USD", 1),
        ("$ 5", CURRENCY, Habits(country="CA"), "CAD", 1),
        ("$ 5", CURRENCY, NOBODY, "USD", DOUBTED),
        ("£5 or $7", CURRENCY, NOBODY, None, None),
        ("(425) 555-0100", PHONE, AMERICAN, "+14255550100", 1),
        ("(425) 555-0100", PHONE, NOBODY, "(425) 555-0100", 1),
        ("+49 30 901820", PHONE, NOBODY, "+4930901820", 1),
        ("030 901820", PHONE, GERMAN, "+4930901820", 1),
        ("PAID", STATE, NOBODY, "paid", 1),
        ("the bill is partly paid", STATE, NOBODY, "partly paid", 1),
        ("In dispute", STATE, NOBODY, "in_dispute", 1),
        ("partly pald", STATE, NOBODY, "partly paid", 0.8),
        ("paid or open", STATE, NOBODY, None, None),
        ("lost", STATE, NOBODY, None, None),
        ("ground floor 2", leaf(enum=[1, 2, 3]), NOBODY, 2, 1),
        (" 1 Main St,\n Redmond ", STRING, NOBODY, "1 Main St, Redmond", 1),
        (" : ", STRING, NOBODY, None, None),
        ("# R-17", STRING, NOBODY, "R-17", 1),
    ],
)  # fmt: skip
def test_words_have_a_value(text, wanted, own, value, certainty):
    found = normal(text, wanted, own)
    assert (found and found.value, found and found.certainty) == (value, certainty)


def test_many_choices_cost_a_line_little_and_make_no_long_question():
    place = leaf("country", enum=[f"Land {number} of the sea" for number in range(1000)])
    started = time.process_time()
    found = [normal(f"we go to land {number} of the sea by {number}", place, NOBODY) for number in range(200)]
    assert time.process_time() - started < 2
    assert [one and one.value for one in found] == [f"Land {number} of the sea" for number in range(200)]
    question = wanted(("place" * 1000, "country"), place).question
    assert len(question) < 1500
    assert "Land 0 of the sea, Land 1 of the sea" in question


def test_a_value_knows_its_words():
    text = "due 15 November 2019 at noon"
    found = normal(text, DATE, NOBODY)
    assert found
    assert text[found.start : found.end] == "15 November 2019"


@given(st.integers(-(10**12), 10**12), st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")]))
def test_an_amount_written_with_separators_is_read_back(cents, signs):
    group, point = signs
    number = Decimal(cents) / 100
    text = f"{number:,.2f}".replace(",", "\0").replace(".", point).replace("\0", group)
    found = normal(text, NUMBER, Habits(decimal=point))
    assert found
    assert Decimal(str(found.value)) == number
    assert found.certainty == 1


@given(
    st.dates(datetime.date(1970, 1, 1), datetime.date(2068, 12, 31)),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%d %B %Y", "%B %d, %Y", "%d-%b-%y"]),
)
def test_a_date_in_one_way_only_is_read_back(date, form):
    found = normal(date.strftime(form), DATE, NOBODY)
    assert found
    assert (found.value, found.certainty) == (date.isoformat(), 1)


@given(st.dates(datetime.date(1970, 1, 1), datetime.date(2068, 12, 31)), st.booleans(), st.sampled_from("/-"))
def test_a_date_of_numbers_is_read_in_the_documents_order(date, day_first, sign):
    form = sign.join(["%d", "%m", "%Y"] if day_first else ["%m", "%d", "%Y"])
    found = normal(date.strftime(form), DATE, Habits(day_first=day_first, day_known=True))
    assert found
    assert found.value == date.isoformat()


@given(st.text(max_size=60))
def test_any_text_has_a_value_within_it_or_none(text):
    for place in (NUMBER, BOOLEAN, DATE, TIME, MOMENT, EMAIL, URI, CURRENCY, PHONE, STATE, STRING):
        for own in (GERMAN, NOBODY):
            found = normal(text, place, own)
            assert found is None or 0 <= found.start <= found.end <= len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Total 1,234.56\n13/01/2024 and 02/01/2024", Habits(decimal=".", day_first=True, day_known=True)),
        ("01/13/2024", Habits(day_first=False, day_known=True)),
        ("13/01/2024 01/13/2024", Habits()),
        ("Redmond, WA 98052 $5.00", replace(AMERICAN, currency="USD")),
        ("Die Rechnung ist mit der Ware und für Sie", Habits(day_first=True, day_known=True)),
        ("DE89 3704 0044 0532 0130 00 12,50 EUR", replace(GERMAN, currency="EUR")),
        ("$5.00 and $ 7.00", Habits(decimal=".", day_first=False, currency="USD")),
        ("€5,00 and $7.00", Habits(day_first=True)),
        ("Redmond, WA 98052 to London SW1A 1AA", Habits()),
    ],
)  # fmt: skip
def test_a_document_tells_how_it_writes(text, expected):
    assert habits([text]) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("3 mai 2021", "2021-05-03", True),
        ("May 5,  2019", "05/05/2019", True),
        ("31/12/1999", "31.12.1999", True),
        ("01/02/2024", "2024-02-01", False),
        ("31.12.99", "31.12.1999", False),
        ("30.02.2024", "2024-03-01", False),
        ("RM 1,234.50", "MYR 1234.50", True),
        ("5 USD", "5 EUR", False),
    ],
)  # fmt: skip
def test_values_are_the_same_where_their_spelling_leaves_no_doubt(one, other, same):
    found = [only_value(text) for text in (one, other)]
    assert bool(found[0] and found[1] and found[0].same_as(found[1])) is same


def test_a_date_that_may_be_two_has_both():
    (day,) = days("on 01/02/2024")
    assert (day.date, day.swapped) == (datetime.date(2024, 2, 1), datetime.date(2024, 1, 2))
