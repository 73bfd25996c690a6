"""What may leave this deployment: which bytes of whom, to which models outside, for how much money."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from triptych.core.errors import EgressDenied, FieldInvalid
from triptych.core.remote_server import MICROS
from triptych.v1.job_pb2 import DataClass

if TYPE_CHECKING:
    from triptych.core.catalog import Catalog
    from triptych.core.settings import Settings

CLASSES: Mapping[str, DataClass.ValueType] = {
    "public": DataClass.DATA_CLASS_PUBLIC,
    "internal": DataClass.DATA_CLASS_INTERNAL,
    "confidential": DataClass.DATA_CLASS_CONFIDENTIAL,
    "restricted": DataClass.DATA_CLASS_RESTRICTED,
}
CLASS_NAMES = {value: name for name, value in CLASSES.items()}
# Whoever has no table of its own.
EVERYBODY = "*"
Period = Literal["hour", "day", "month"]
Box: TypeAlias = tuple[float, float, float, float]


def _box(box: Box) -> Box:
    x_min, y_min, x_max, y_max = box
    if not (0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1):
        raise ValueError("needs 0 <= min < max <= 1, as x_min, y_min, x_max, y_max")
    return box


def _pattern(text: object) -> object:
    if not isinstance(text, str):
        raise ValueError("has to be a regular expression in quotes")  # noqa: TRY004 - pydantic wants a ValueError
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    if pattern.search(""):
        raise ValueError("must not match nothing: it would match everywhere")
    return pattern


def _class(name: object) -> object:
    if name not in CLASSES:
        raise ValueError(f"has to be one of {', '.join(CLASSES)}")
    return CLASSES[str(name)]


Share = Annotated[float, Field(ge=0, le=1)]
if TYPE_CHECKING:
    Class: TypeAlias = DataClass.ValueType
    Pattern: TypeAlias = re.Pattern[str]
else:
    Class = Annotated[int, BeforeValidator(_class)]
    Pattern = Annotated[Any, BeforeValidator(_pattern)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one tenant's bytes of one class may do."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    """Models outside that may see them, by their names in the catalogue. The first is the one that helps out."""
    overflow_after_s: Annotated[float, Field(ge=0)] | None = None
    """Jobs that would wait longer than this for the local model go to the one outside, in seconds; absent: none."""
    escalate_below: Share | None = None
    """Jobs whose local result is less sure than this go to the one outside; absent: none."""
    redact_boxes: tuple[Annotated[Box, AfterValidator(_box)], ...] = ()
    """Parts of every page that are painted over: x_min, y_min, x_max, y_max, 0 to 1."""
    redact_patterns: tuple[Pattern, ...] = ()
    """Regular expressions; what they match is taken out of texts, and painted over in pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPolicy:
    """What one tenant may send out. A class without a rule never leaves."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    default_class: Class = DataClass.DATA_CLASS_RESTRICTED
    """Of jobs whose caller says none."""
    least_class: Class = DataClass.DATA_CLASS_PUBLIC
    """The least strict that a caller can choose: a job that says less has this."""
    budget: Annotated[float, Field(ge=0, le=1_000_000_000)] = 0
    """Money for a period; 0: only models that cost nothing."""
    period: Period = "month"
    """When the budget begins anew: hours, days and months in UTC."""
    public: Rule | None = None
    internal: Rule | None = None
    confidential: Rule | None = None

    @property
    def budget_micros(self) -> int:
        """The budget in millionths."""
        return round(self.budget * MICROS)

    def class_of(self, asked: DataClass.ValueType) -> DataClass.ValueType:
        """Gives the class in force of a job whose caller asked for one: it can only be made stricter."""
        return max(asked or self.default_class, self.least_class)

    def rule(self, asked: DataClass.ValueType) -> Rule | None:
        """Gives the rule of a job whose caller asked for a class; None: its bytes stay here."""
        in_force = self.class_of(asked)
        # Whatever a file says, and whatever classes a newer contract may have.
        if in_force not in CLASS_NAMES or in_force == DataClass.DATA_CLASS_RESTRICTED:
            return None
        found: Rule | None = getattr(self, CLASS_NAMES[in_force])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policies of all tenants; without a file nothing ever leaves."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    tenants: Mapping[str, TenantPolicy] = field(default_factory=dict)

    @classmethod
    def load(cls, settings: Settings, catalog: Catalog) -> Policy:
        """Reads `settings.policy_file`.

        Raises:
            FieldInvalid: It cannot be read, or something in it is wrong; names file, line or field.
        """
        if settings.policy_file is None:
            return cls()
        try:
            text = settings.policy_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FieldInvalid("policy_file", f"{settings.policy_file} cannot be read: {error}") from error
        policy = parse(text, str(settings.policy_file))
        _check_models(policy, catalog, str(settings.policy_file))
        return policy

    def of(self, tenant: str) -> TenantPolicy:
        """Gives a tenant's policy, or that of everybody."""
        return self.tenants.get(tenant) or self.tenants.get(EVERYBODY) or TenantPolicy()

    def allowed(self, tenant: str, asked: DataClass.ValueType, model: str) -> Rule:
        """Gives the rule under which a tenant's bytes may be seen by a model outside.

        Raises:
            EgressDenied: They may not.
        """
        rule = self.of(tenant).rule(asked)
        if rule is None or model not in rule.models:
            name = CLASS_NAMES.get(self.of(tenant).class_of(asked), "unknown")
            raise EgressDenied(
                f"{model} is outside, and the policy keeps {name} data of {tenant} from it",
                metadata={"model": model, "data_class": name},
            )
        return rule


def parse(text: str, origin: str) -> Policy:
    """Gives the policy of a TOML text.

    Args:
        text: TOML with one table `[tenants.NAME]` per tenant and `[tenants.NAME.CLASS]` per class.
        origin: Name of the file, for errors.

    Raises:
        FieldInvalid: Not TOML (names the line), or a field is wrong (names it).
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FieldInvalid(origin, f"is not TOML: {error}") from error
    try:
        return TypeAdapter(Policy).validate_python(tables)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        message = first["msg"]
        if first["loc"][-1] == "restricted":
            message = "restricted data never leaves; such a table would promise otherwise"
        raise FieldInvalid(f"{origin}: {place}", message) from error


def _check_models(policy: Policy, catalog: Catalog, origin: str) -> None:
    known = {entry.name: entry for entry in catalog.entries}
    for tenant, each in policy.tenants.items():
        for name in CLASSES:
            rule: Rule | None = getattr(each, name, None)
            for model in rule.models if rule else ():
                if model not in known or known[model].remote is None:
                    place = f"{origin}: tenants.{tenant}.{name}.models"
                    raise FieldInvalid(place, f"{model!r} is no model of the catalogue with the engine 'remote'")
