"""Currencies in a text, by sign, code or name, as codes of ISO 4217."""

from __future__ import annotations

import re
from collections.abc import Iterator

CURRENCY_OF = {
    "€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "₪": "ILS",
    "฿": "THB", "₫": "VND", "₱": "PHP", "zł": "PLN", "Kč": "CZK", "RM": "MYR", "Rp": "IDR", "Rs": "INR",
    "R$": "BRL", "US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD", "HK$": "HKD",
    "S$": "SGD", "NT$": "TWD", "SFr": "CHF", "Fr": "CHF", "euro": "EUR", "euros": "EUR", "dollar": "USD",
    "dollars": "USD", "pound": "GBP", "pounds": "GBP", "sterling": "GBP", "yen": "JPY", "yuan": "CNY",
    "rupees": "INR", "ringgit": "MYR", "francs": "CHF", "franken": "CHF",
}  # fmt: skip
_ISO_4217 = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP "
    "CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB "
    "RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU "
    "UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG "
)
CODES = frozenset(_ISO_4217.split())
# Signs that several countries use, with those where they mean another currency than elsewhere.
_ELSEWHERE = {
    "$": {"CA": "CAD", "AU": "AUD", "NZ": "NZD", "SG": "SGD", "HK": "HKD", "MX": "MXN", "US": "USD"},
    "¥": {"CN": "CNY", "JP": "JPY"},
}
_WORDS = sorted((sign for sign in CURRENCY_OF if sign.isalpha()), key=len, reverse=True)
# What belongs to a figure beside it for sure: "Rs" and "Fr" may be words.
SIGNS = tuple(sign for sign in CURRENCY_OF if not sign.isalpha() or sign.isupper())
_SIGNS = sorted((sign for sign in CURRENCY_OF if not sign.isalpha()), key=len, reverse=True)
_MONEY = re.compile(
    rf"(?<![^\W\d_])(?P<code>[A-Z]{{3}})(?![^\W\d_])|(?P<sign>{'|'.join(map(re.escape, _SIGNS))})"
    rf"|(?<![^\W\d_])(?P<word>{'|'.join(map(re.escape, _WORDS))})(?![^\W\d_])"
)


def currencies(text: str, country: str = "") -> Iterator[tuple[int, int, str, bool]]:
    """Yields (start, end, code, whether it is sure) of the currencies in a text.

    Args:
        text: Recognized.
        country: ISO 3166 code where the document is at home; "$" is not the same everywhere.
    """
    for match in _MONEY.finditer(text):
        if match["code"]:
            if match["code"] in CODES:
                # "ALL" and "TOP" are words as well.
                sure = match[0] == text.strip() or beside_figure(text, match.start(), match.end())
                yield match.start(), match.end(), match["code"], sure
            continue
        sign = match["sign"] or match["word"]
        # A word may be another one ("pounds" of flour): only beside a figure it is money for sure.
        sure = bool(match["sign"]) or beside_figure(text, match.start(), match.end())
        elsewhere = _ELSEWHERE.get(sign)
        if elsewhere:
            yield match.start(), match.end(), elsewhere.get(country, CURRENCY_OF[sign]), country in elsewhere
        else:
            yield match.start(), match.end(), CURRENCY_OF[sign], sure


def beside_figure(text: str, start: int, end: int) -> bool:
    """Whether a figure stands right before or behind a span of a text."""
    return bool(re.search(r"\d\s?$", text[:start][-3:]) or re.match(r"\.?\s?\d", text[end : end + 3]))
