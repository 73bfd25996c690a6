"""Reads one pipeline's file, with the prompts and the schema that it names; whatever is wrong is told by its line."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid, ModelNotFound, SchemaInvalid
from triptych.core.pipelines.options import DEFAULT_PROMPTS, NEEDED, OPTIONS
from triptych.core.pipelines.order import check_order
from triptych.core.pipelines.plan import Mistake, Plan, PlanInvalid, Prompt, Stage
from triptych.core.pipelines.yaml_text import Node, at_pointer, kind_of, line_of, pairs, parse, plain
from triptych.core.records import KINDS
from triptych.core.schema_values import wanted_values
from triptych.core.schemas import check_schema
from triptych.v1.reasoning_service_pb2 import QuestionRule

SHIPPED = Path(__file__).parent / "shipped"
MAX_FILE_BYTES = 64 * 1024
Stamp = tuple[int, int, int] | None
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_KEYS = ("description", "question", "models", "stages")
_QUESTION = {
    "required": QuestionRule.QUESTION_RULE_REQUIRED,
    "optional": QuestionRule.QUESTION_RULE_OPTIONAL,
    "none": QuestionRule.QUESTION_RULE_NONE,
}
_MODEL_KINDS = ("ocr", "transcription", "vision")


def stamp_of(path: Path) -> Stamp:
    """Gives what tells a file from what it was: time of the last change, size and inode; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one call is all that an unchanged pipeline costs
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class PlanFile:
    """One file and what it refers to.

    Args:
        path: The file.
        catalog: Models that it may name.

    Attributes:
        shown: Its name in what is said about it.
        stamps: Every file that was looked at, and its stamp right before it was read.
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self.shown = path.name
        self.stamps: dict[Path, Stamp] = {}
        self._path = path
        self._catalog = catalog
        self._digest = hashlib.sha256()
        self._mistakes: list[Mistake] = []

    def read(self) -> Plan:
        """Gives the plan.

        Raises:
            PlanInvalid: With all that is wrong, as far as it can be seen at once.
        """
        root = parse(self._text(self._path, Mistake(file=self.shown, line=1, reason="")), self.shown)
        if not _NAME.fullmatch(self._path.stem) or self._path.suffix != ".yaml":
            self._wrong(root, f"the file's name has to match {_NAME.pattern}.yaml: it is the pipeline's")
        found = self.known(root, _KEYS)
        for key in ("description", "question", "stages"):
            if key not in found:
                self._wrong(root, f"{key!r} is missing")
        description = self._one_of_text(found.get("description"))
        question = self._question(found.get("question"))
        models = self._models(found.get("models"))
        stages = self._stages(found.get("stages"))
        if self._mistakes:
            raise PlanInvalid(*sorted(self._mistakes, key=lambda mistake: (mistake.file != self.shown, mistake.line)))
        return Plan(
            name=self._path.stem,
            description=description,
            question=question,
            models=models,
            stages=stages,
            schema=_schema_of(stages),
            digest=f"sha256-{self._digest.hexdigest()}",
            custom=self._path.parent != SHIPPED,
        )

    def known(self, node: Node, keys: Iterable[str]) -> dict[str, Node]:
        """Gives those entries of a mapping whose keys are known; the others are mistakes."""
        known, found = list(keys), {}
        try:
            for key, key_node, value in pairs(node, self.shown):
                if key in known:
                    found[key] = value
                else:
                    self._wrong(key_node, f"unknown key {key!r}; {_near(key, known)}")
        except PlanInvalid as error:
            self._mistakes += error.mistakes
        return found

    def prompt(self, node: Node, names: tuple[str, ...]) -> Prompt:
        """Gives the prompt in the file that a node names.

        Raises:
            ValueError: The node names no file.
            PlanInvalid: There is no such file, or it has placeholders of other names.
        """
        path = self._beside(node)
        return self._prompt_in(path, names, Mistake(file=self.shown, line=line_of(node), reason=""))

    def schema(self, node: Node) -> str:
        """Gives the JSON Schema that stands at a node, or in the file that it names.

        Raises:
            ValueError: The node is neither a mapping nor the name of a file.
            PlanInvalid: It is no schema, or asks for what cannot be looked for.
        """
        shown = self.shown
        if node.tag.endswith(":str"):
            path = self._beside(node)
            shown = self._shown(path)
            text = self._text(path, Mistake(file=self.shown, line=line_of(node), reason=""))
            if path.suffix == ".json":
                value, root = self._json(text, shown), _composed(text, shown)
                if root is not None:
                    plain(root, shown)  # a key that stands twice
                return self._checked_schema(value, root, shown)
            node = parse(text, shown)
        if not node.tag.endswith(":map"):
            raise ValueError(f"has to be a JSON Schema, or the name of a file with one, not {kind_of(node)}")
        return self._checked_schema(plain(node, shown), node, shown)

    def _json(self, text: str, shown: str) -> Any:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise PlanInvalid(Mistake(file=shown, line=error.lineno, reason=f"no JSON: {error.msg}")) from None
        except RecursionError:
            raise PlanInvalid(Mistake(file=shown, line=1, reason="is nested too deeply")) from None

    def _checked_schema(self, value: Any, root: Node | None, shown: str) -> str:
        text = json.dumps(value, ensure_ascii=False)
        try:
            check_schema(text, "fields")
            wanted_values(value, "fields")
        except (SchemaInvalid, FieldInvalid) as error:
            reason = error.message.removeprefix("fields: ")
            line = line_of(at_pointer(root, _place_in(reason))) if root is not None else 1
            raise PlanInvalid(Mistake(file=shown, line=line, reason=reason)) from None
        return text

    def _stages(self, node: Node | None) -> tuple[Stage, ...]:
        if node is None:
            return ()
        if not node.tag.endswith(":seq"):
            self._wrong(node, f"'stages' has to be a list, not {kind_of(node)}")
            return ()
        found: list[tuple[Stage, int]] = []
        for item in node.value:
            try:
                if stage := self._stage(item):
                    found.append((stage, line_of(item)))
            except PlanInvalid as error:
                self._mistakes += error.mistakes
        if len(found) == len(node.value):
            self._mistakes += check_order(found, self.shown, line_of(node))
        return tuple(stage for stage, _ in found)

    def _stage(self, node: Node) -> Stage | None:
        if node.tag.endswith(":str"):
            name, options = node, {}
        else:
            entries = list(pairs(node, self.shown))
            if len(entries) != 1:
                raise PlanInvalid(self._mistake(node, "a stage is a name, or one name with its options"))
            _, name, value = entries[0]
            options = self.known(value, OPTIONS[name.value]) if name.value in OPTIONS else {}
        if name.value not in OPTIONS:
            self._wrong(name, f"no stage is called {name.value!r}; {_near(name.value, OPTIONS)}")
            return None
        values: dict[str, Any] = {}
        for key, value in options.items():
            try:
                values[key] = OPTIONS[name.value][key](self, value)
            except ValueError as error:
                self._wrong(value, f"{key!r} {error}")
            except PlanInvalid as error:
                self._mistakes += error.mistakes
        for key in NEEDED.get(name.value, ()):
            if key not in options:
                self._wrong(name, f"{name.value!r} needs {key!r}")
        for key, file in DEFAULT_PROMPTS.get(name.value, {}).items():
            if key not in options:
                values[key] = self._prompt_in(SHIPPED / file, ("question", "max_sentences", "choices"), None)
        return Stage(name=name.value, options=values)

    def _prompt_in(self, path: Path, names: tuple[str, ...], named: Mistake | None) -> Prompt:
        shown = self._shown(path)
        prompt = Prompt(self._text(path, named or Mistake(file=shown, line=1, reason="")).rstrip())
        if not prompt.text:
            raise PlanInvalid(Mistake(file=shown, line=1, reason="is empty"))
        allowed = ", ".join(f"{{{name}}}" for name in names) or "none"
        mistakes = [
            Mistake(file=shown, line=line, reason=f"no placeholder is called {text}; known: {allowed}; {{{{ is a brace")
            for line, text in prompt.unknown(names)
        ]
        if mistakes:
            raise PlanInvalid(*mistakes)
        return prompt

    def _question(self, node: Node | None) -> QuestionRule.ValueType:
        rule = node.value if node is not None and node.tag.endswith(":str") else ""
        if node is not None and rule not in _QUESTION:
            self._wrong(node, f"'question' has to be {', '.join(_QUESTION)}, not {rule or kind_of(node)}")
        return _QUESTION.get(rule, QuestionRule.QUESTION_RULE_UNSPECIFIED)

    def _one_of_text(self, node: Node | None) -> str:
        if node is None:
            return ""
        if not node.tag.endswith(":str") or not node.value.strip():
            self._wrong(node, f"'description' has to be text, not {kind_of(node)}")
            return ""
        return str(node.value)

    def _models(self, node: Node | None) -> Mapping[str, str]:
        models: dict[str, str] = {}
        for kind, value in self.known(node, _MODEL_KINDS).items() if node is not None else ():
            if not value.tag.endswith(":str"):
                self._wrong(value, f"has to be the name of a model, not {kind_of(value)}")
                continue
            try:
                entry = self._catalog.get(value.value, KINDS[kind])
            except ModelNotFound as error:
                self._wrong(value, error.message)
                continue
            if entry.kind != KINDS[kind]:
                self._wrong(value, f"{value.value!r} serves {entry.kind_name} jobs, not {kind} jobs")
            models[kind] = value.value
        return models

    def _beside(self, node: Node) -> Path:
        """Gives the path of a file that a node names: beside the pipeline's, or in a folder there."""
        if not node.tag.endswith(":str"):
            raise ValueError(f"has to be the name of a file, not {kind_of(node)}")
        name = Path(node.value)
        if name.is_absolute() or ".." in name.parts:
            raise ValueError("has to be the name of a file beside this one, or in a folder beside it")
        return self._path.parent / name

    def _text(self, path: Path, named: Mistake) -> str:
        """Reads a file; what is wrong with it as a whole is a mistake where it was named."""
        self.stamps[path] = stamp_of(path)

        def refused(reason: str) -> PlanInvalid:
            return PlanInvalid(Mistake(file=named.file, line=named.line, reason=f"{self._shown(path)} {reason}"))

        try:
            # Not blocking: nobody may ever write into a pipe that lies there, and the catalogue waits for this.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise refused("is no regular file")
                with open(handle, "rb", closefd=False) as file:
                    data = file.read(MAX_FILE_BYTES + 1)
            finally:
                os.close(handle)
        except OSError as error:
            raise refused(f"cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise refused(f"has over {MAX_FILE_BYTES} bytes")
        self._digest.update(len(data).to_bytes(8, "big") + data)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise PlanInvalid(Mistake(file=self._shown(path), line=line, reason="is not in UTF-8")) from None

    def _shown(self, path: Path) -> str:
        root = self._path.parent if path.is_relative_to(self._path.parent) else SHIPPED
        return path.relative_to(root).as_posix()

    def _mistake(self, node: Node, reason: str) -> Mistake:
        return Mistake(file=self.shown, line=line_of(node), reason=reason)

    def _wrong(self, node: Node, reason: str) -> None:
        self._mistakes.append(self._mistake(node, reason))


def _schema_of(stages: Iterable[Stage]) -> str:
    """Gives the schema of what a plan's outcome writes as JSON."""
    for stage in stages:
        if stage.name == "extract":
            return str(stage.options.get("fields", ""))
        if stage.name == "classify":
            kinds = {"enum": list(stage.options["choices"])}
            return json.dumps({"type": "object", "additionalProperties": kinds}, ensure_ascii=False)
    return ""


def _composed(text: str, shown: str) -> Node | None:
    """Gives the nodes of a JSON text for their lines; None if YAML cannot read it."""
    try:
        # JSON may be indented with tabs.
        return parse(text.replace("\t", " "), shown)
    except PlanInvalid:
        return None


def _place_in(reason: str) -> list[str]:
    """Gives the steps of the place that a refusal of a schema names: a JSON Pointer, or jsonschema's JSON path."""
    if match := re.match(r"(/\S*): ", reason):
        return [part.replace("~1", "/").replace("~0", "~") for part in match[1].split("/")[1:]]
    if match := re.search(r"at \$(\S*): ", reason):
        return [a or b or c for a, b, c in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]", match[1])]
    return []


def _near(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(known)}" if known else "there is none"
