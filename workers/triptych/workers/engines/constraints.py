"""Makes the constraints of a model's rows from what requests ask for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any

from llguidance import LLMatcher

from triptych.core.errors import FieldInvalid, MediaTypeUnsupported
from triptych.core.output_grammar import LIMITS, OutputGrammar, piece_grammar, plain_reason
from triptych.workers.engines.document_pieces import pieces
from triptych.workers.engines.drafts import KEPT_GRAMMARS, ByteDraft, Draft, WordDraft, beginning, new_beginning
from triptych.workers.engines.grammar_constraint import GrammarConstraint
from triptych.workers.engines.output_rules import FREE, NOT_FOUND, OutputRules
from triptych.workers.engines.token_bytes import TokenBytes


class Constraints:
    """Of one model; made once, after its tokenizer was loaded. The engine's thread calls.

    Args:
        tokenizer: A fast one of transformers.
        end_tokens: Tokens that end a turn.
    """

    def __init__(self, tokenizer: Any, end_tokens: AbstractSet[int]) -> None:
        self._tokenizer = tokenizer
        self._end_tokens = end_tokens
        self._compiled: OrderedDict[OutputGrammar, LLMatcher] = OrderedDict()

    def begin(self, rules: OutputRules, documents: Sequence[str] | None, limit: int) -> GrammarConstraint | None:
        """Gives the constraint of one row; None if its text is free.

        Args:
            rules: What the text is held to.
            documents: Text of each page that the model is shown; None: it is shown pixels.
            limit: Tokens that may come, with the one that ends the turn.

        Raises:
            FieldInvalid: No text that was asked for fits the limit, or can be written with the model's tokens.
            MediaTypeUnsupported: Something is to be copied, and there is no text to copy from.
        """
        if rules == FREE:
            return None
        grammar = rules.grammar() or _copying(documents)
        # A grammar of copies has the words of a document, which must not be here any more once it was purged.
        find, compiled = (new_beginning, self._compile) if rules.copied else (beginning, self._kept)
        words, matcher = self._words, compiled(grammar)
        complete = words.byte_tokens is not None
        draft: Draft = ByteDraft(find(grammar), words) if complete else WordDraft(matcher.deep_copy(), words)
        least = len(draft.ending)
        if not least and not complete:
            raise FieldInvalid("config", "no output as asked for can be written with the tokens of this model")
        if not least or least > limit:
            why = f"the shortest one found takes {least} tokens" if least else "none was found"
            raise FieldInvalid("config.max_output_tokens", f"no output as asked for fits {limit} tokens: {why}")
        return GrammarConstraint(matcher, words, draft, limit)

    @cached_property
    def _words(self) -> TokenBytes:
        # A second or two with a large vocabulary: only once somebody asks for it.
        return TokenBytes(self._tokenizer, self._end_tokens)

    def _kept(self, grammar: OutputGrammar) -> LLMatcher:
        """A matcher of tokens, at the beginning; a form is filled in again and again."""
        if grammar not in self._compiled:
            self._compiled[grammar] = self._compile(grammar)
        self._compiled.move_to_end(grammar)
        while len(self._compiled) > KEPT_GRAMMARS:
            self._compiled.popitem(last=False)
        return self._compiled[grammar].deep_copy()

    def _compile(self, grammar: OutputGrammar) -> LLMatcher:
        words = self._words
        lark = grammar.lark(before=words.before, forcing=words.byte_tokens is not None)
        matcher = LLMatcher(words.native, lark, log_level=0, limits=LIMITS)
        if matcher.is_error():
            raise FieldInvalid("config", f"the output cannot be held to this: {plain_reason(matcher.get_error())}")
        return matcher


def _copying(documents: Sequence[str] | None) -> OutputGrammar:
    if documents is None:
        raise MediaTypeUnsupported("this model sees images and recognizes no text to copy from; name a reader")
    return piece_grammar([pieces(text) for text in dict.fromkeys(documents) if text.strip()], NOT_FOUND)
