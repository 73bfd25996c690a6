"""What a value of a schema is called: the question to ask for it, and the words that label it in documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from triptych.core.schema_values import Leaf, ListOf, Place
from triptych.workers.reasoning.terms import content_terms, stem

# The same on forms of several languages; each group is one word to whoever compares labels.
_SAME = (
    "number no nr num nbr numero número nummer # №",
    "quantity qty menge anzahl cantidad quantité quantita aantal pcs units",
    "amount amt betrag montant importe importo bedrag sum summe",
    "total gesamt totale gesamtbetrag endbetrag totaal",
    "price preis prix precio prezzo prijs",
    "description desc beschreibung bezeichnung désignation descripción item product article artikel service",
    "date datum fecha data",
    "invoice rechnung facture factura fattura factuur inv",
    "subtotal untaxed net netto",
    "tax vat gst mwst ust tva iva btw",
    "phone telephone tel telefon teléfono téléphone telefono mobile",
    "email e-mail mail",
    "address adresse dirección indirizzo adres anschrift addr",
    "customer client kunde cliente klant",
    "vendor supplier seller lieferant fournisseur proveedor fornitore issuer merchant company",
    "due fällig échéance vencimiento scadenza",
    "currency währung devise moneda valuta",
)
_GROUP = {stem(word): f"<{group.split()[0]}>" for group in _SAME for word in group.split()}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\-\s./]+")
_SIGN = re.compile(r"[#№]")
_MAX_QUESTION_WORDS = 40
# Signs that a question may have of a name, of a description, and of the choices.
_MAX_PHRASE, _MAX_TOLD, _MAX_CHOICES = 200, 600, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A value, as people would ask for it.

    Attributes:
        leaf: Of the schema.
        phrase: Short: "billing address city".
        question: What to ask for it.
        labels: Words by which a document may label it, as `words_of` gives them; each set alone is enough.
    """

    leaf: Leaf | ListOf
    phrase: str
    question: str
    labels: tuple[frozenset[str], ...]


def wanted(path: Sequence[str], leaf: Leaf | ListOf) -> Wanted:
    """Names the value at a path of property names."""
    own = readable(leaf)
    words = dict.fromkeys(word for part in (*path[:-1], own) for word in split_name(part).split())
    phrase = " ".join(words)[:_MAX_PHRASE]
    labels = [words_of(split_name(name)) for name in (leaf.name, leaf.title) if name]
    # "city" of a billing address and of a delivery address: the label alone does not tell which.
    labels = [words | words_of(split_name(part)) for part in path[-2:-1] for words in labels] + labels
    # "Tax 8.68" on a form is the amount of it; "amount" alone says which one just as little.
    labels += [words - {"<amount>"} for words in labels]
    return Wanted(
        leaf=leaf,
        phrase=phrase or "value",
        question=_question(leaf, phrase or "value"),
        labels=tuple(dict.fromkeys(label for label in labels if label)),
    )


def readable(place: Place) -> str:
    """Gives what people would call a place."""
    return split_name(place.title or place.name)


def split_name(name: str) -> str:
    """Gives the words of a name: "dueDate", "due_date" and "due-date" are "due date"."""
    return " ".join(
        part if part.isupper() and len(part) > 1 else part.lower() for part in _CAMEL.split(name) if part.strip()
    )


@lru_cache(maxsize=65536)
def words_of(text: str) -> frozenset[str]:
    """Gives the words that a label is compared by: stems, those that mean the same on forms being one."""
    words = {_GROUP.get(term.stem, term.stem) for term in content_terms(text) if term.stem[:1].isalpha()}
    return frozenset(words | ({"<number>"} if _SIGN.search(text) else set()))


def _question(leaf: Leaf | ListOf, phrase: str) -> str:
    told = " ".join(leaf.description.split()[:_MAX_QUESTION_WORDS])[:_MAX_TOLD].strip().rstrip(".")
    if told.endswith("?"):
        return told
    if isinstance(leaf, ListOf):
        return f"List every {told or phrase}, one a line."
    if leaf.kind == "boolean":
        return f"{told or phrase}: yes or no?"
    if leaf.kind == "choice":
        return f"What is the {phrase}{f' ({told})' if told else ''}: {_listed(leaf.choices)}?"
    if not told:
        return f"What is the {phrase}?"
    article = "" if re.match(r"(the|a|an|our|your|its)\b", told, re.IGNORECASE) else "the "
    return f"What is {article}{told[0].lower() if told[1:2].islower() else told[0]}{told[1:]}?"


def _listed(choices: Sequence[object]) -> str:
    """Names the choices; of very many the first, so that the form is clear."""
    text = ", ".join(map(str, choices))
    return text if len(text) <= _MAX_CHOICES else f"{text[:_MAX_CHOICES].rpartition(', ')[0]}, ..."
