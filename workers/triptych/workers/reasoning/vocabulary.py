"""What the general words of labels mean: on forms of several languages, as stems of English words."""

from __future__ import annotations

import re
from functools import lru_cache

from triptych.workers.reasoning.terms import content_terms, stem

# Words of labels by what they say in English, short forms among them; compounds say several things.
_WORDS = {
    "account": "konto compte cuenta conto conta rekening",
    "address": "adresse adres direccion indirizzo endereco anschrift addr",
    "amount": "betrag bedrag montant importe importo valor amt",
    "amount due": "zahlbetrag verschuldigd",
    "balance": "saldo solde",
    "city": "stadt ville ciudad citta cidade plaats ort",
    "currency": "wahrung devise moneda valuta",
    "customer": "kunde klant client cliente kunden",
    "customer number": "kundennummer klantnummer kundennr klantnr",
    "date": "datum date fecha data",
    "delivery date": "leverdatum lieferdatum",
    "description": "desc beschreibung bezeichnung designation descripcion descrizione omschrijving",
    "due": "fallig",
    "due date": "vervaldatum falligkeitsdatum echeance vencimiento scadenza vencimento falligkeit",
    "email": "mail",
    "invoice": "rechnung factuur facture factura fattura fatura faktura inv",
    "invoice date": "rechnungsdatum factuurdatum fakturadatum",
    "invoice number": "rechnungsnummer factuurnummer rechnungsnr factuurnr fakturanummer",
    "item": "article artikel articulo articolo artigo",
    "name": "naam nom nombre nome",
    "number": "nummer numero nr no num nbr",
    "order": "bestellung bestelling commande pedido ordine auftrag encomenda",
    "order date": "bestelldatum besteldatum orderdatum",
    "order number": "bestellnummer bestelnummer ordernummer auftragsnummer",
    "price": "preis prijs prix precio prezzo preco",
    "quantity": "menge aantal quantite cantidad quantita quantidade anzahl qty pcs units",
    "subtotal": "sub zwischensumme subtotaal",
    "tax": "btw mwst tva iva ust vat gst steuer belasting moms",
    "telephone": "telefon telefoon phone tel telefono telefone",
    "total": "totaal gesamt totale gesamtbetrag endbetrag summe totaalbedrag totalbetrag",
    "untaxed": "excl exclusief exclusive excluding exkl net netto nettobetrag grondslag imponible hors",
    "vendor": "lieferant fournisseur proveedor fornitore leverancier",
}
# Whoever writes a schema has not seen the form: what is called one of these may be labelled another.
_ALIKE = (
    "amount sum",
    "description item product service",
    "subtotal untaxed",
    "telephone mobile",
    "vendor supplier seller issuer merchant company",
)
_MEANINGS: dict[str, frozenset[str]] = {}
for _english, _words in _WORDS.items():
    _stems = frozenset(stem(word) for word in _english.split())
    for _word in (*_words.split(), *((_english,) if " " not in _english else ())):
        _MEANINGS[stem(_word)] = _MEANINGS.get(stem(_word), frozenset()) | _stems
_GROUP = {stem(word): stem(group.split()[0]) for group in _ALIKE for word in group.split()}
_SIGN = re.compile(r"[#№]")


def meanings(word: str) -> frozenset[str]:
    """Gives the stems of the English words that the stem of a label's word stands for; empty if that is not known."""
    return _MEANINGS.get(word, frozenset())


@lru_cache(maxsize=65536)
def own_words(text: str) -> frozenset[str]:
    """Gives what the words of a label, or of the name of a value, mean: stems of English words."""
    stems = [term.stem for term in content_terms(text) if term.stem[:1].isalpha()]
    words = {english for one in stems for english in meanings(one) or (one,)}
    return frozenset(words | ({"number"} if _SIGN.search(text) else set()))


@lru_cache(maxsize=65536)
def words_of(text: str) -> frozenset[str]:
    """Gives the same, words that are alike being one."""
    return frozenset(_GROUP.get(word, word) for word in own_words(text))
