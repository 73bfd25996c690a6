"""What a policy lets leave, and what a wrong one is told."""

import re
from pathlib import Path

import pytest

from triptych.core.catalog import Catalog
from triptych.core.errors import EgressDenied, FieldInvalid
from triptych.core.policy import Policy, parse
from triptych.core.settings import Settings
from triptych.v1.job_pb2 import (
    DATA_CLASS_CONFIDENTIAL,
    DATA_CLASS_INTERNAL,
    DATA_CLASS_PUBLIC,
    DATA_CLASS_RESTRICTED,
    DATA_CLASS_UNSPECIFIED,
)

POLICY = parse(
    """
[tenants.acme]
default_class = "internal"
budget = 2.5
period = "day"
[tenants.acme.public]
models = ["big", "small"]
[tenants.acme.internal]
models = ["small"]
escalate_below = 0.5
[tenants.strict]
default_class = "public"
least_class = "confidential"
[tenants.strict.public]
models = ["big"]
""",
    "policy.toml",
)
MODELS = """
[models.big]
kind = "vision"
engine = "remote"
licence = "LicenseRef-closed"
remote = { base_url = "https://api.example.com/v1", model = "big-1" }
"""


def test_a_class_goes_where_its_rule_says():
    acme = POLICY.of("acme")
    assert acme.rule(DATA_CLASS_PUBLIC).models == ("big", "small")
    assert acme.rule(DATA_CLASS_CONFIDENTIAL) is None
    assert POLICY.allowed("acme", DATA_CLASS_PUBLIC, "big").models[0] == "big"
    with pytest.raises(EgressDenied) as denied:
        POLICY.allowed("acme", DATA_CLASS_INTERNAL, "big")
    assert denied.value.metadata == {"model": "big", "data_class": "internal"}


def test_who_says_no_class_has_the_tenants_default():
    assert POLICY.of("acme").rule(DATA_CLASS_UNSPECIFIED).models == ("small",)


def test_a_caller_can_only_be_stricter_than_the_tenants_least_class():
    strict = POLICY.of("strict")
    for asked in (DATA_CLASS_UNSPECIFIED, DATA_CLASS_PUBLIC, DATA_CLASS_INTERNAL):
        assert strict.class_of(asked) == DATA_CLASS_CONFIDENTIAL
    assert strict.class_of(DATA_CLASS_RESTRICTED) == DATA_CLASS_RESTRICTED


def test_restricted_unknown_classes_and_unknown_tenants_stay_here():
    assert POLICY.of("acme").rule(DATA_CLASS_RESTRICTED) is None
    assert POLICY.of("acme").rule(9) is None
    assert POLICY.of("nobody").rule(DATA_CLASS_PUBLIC) is None
    assert Policy().of("acme").rule(DATA_CLASS_PUBLIC) is None


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("[tenants.acme\n", "policy.toml", "line 1"),
        ("[tenants.acme.restricted]\nmodels = ['big']", "tenants.acme.restricted", "never leaves"),
        ("[tenants.acme.public]\nmodels = []", "tenants.acme.public.models", "at least 1"),
        ("[tenants.acme.public]\nmodel = ['big']", "tenants.acme.public.model", ""),
        ("[tenants.acme]\nbudget = -1", "tenants.acme.budget", "greater"),
        ("[tenants.acme]\nperiod = 'year'", "tenants.acme.period", ""),
        ("[tenants.acme]\ndefault_class = 'secret'", "tenants.acme.default_class", "has to be one of"),
        ("[tenants.acme.public]\nmodels = ['big']\nredact_patterns = ['[']", "redact_patterns.0", "no regular"),
        ("[tenants.acme.public]\nmodels = ['big']\nredact_patterns = ['x*']", "redact_patterns.0", "match nothing"),
        ("[tenants.acme.public]\nmodels = ['big']\nredact_boxes = [[0, 0, 0, 1]]", "redact_boxes.0", "min < max"),
        ("budget = 3", "policy.toml: budget", ""),
    ],
)
def test_a_wrong_policy_is_told_what_is_wrong(text, field, said):
    with pytest.raises(FieldInvalid) as wrong:
        parse(text, "policy.toml")
    assert field in wrong.value.message
    assert said in wrong.value.message


def test_the_example_of_the_docs_says_what_they_say():
    docs = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    [example] = re.findall(r"```toml\n(# TRIPTYCH_POLICY_FILE\n.*?)```", docs, re.DOTALL)
    acme = parse(example, "operations.md").of("acme")
    assert acme.rule(DATA_CLASS_UNSPECIFIED).redact_patterns[0].search("card 1234-5678-9012")
    assert acme.rule(DATA_CLASS_PUBLIC).overflow_after_s == 10
    assert acme.budget_micros == 50_000_000


def test_a_rule_names_models_that_are_outside(tmp_path):
    models, policy = tmp_path / "models.toml", tmp_path / "policy.toml"
    models.write_text(MODELS)
    settings = Settings(_env_file=None, models_dir=tmp_path, models_file=models, policy_file=policy)
    catalog = Catalog.load(settings)
    policy.write_text('[tenants."*".public]\nmodels = ["big"]')
    assert Policy.load(settings, catalog).of("anybody").rule(DATA_CLASS_PUBLIC)
    for name in ("bigger", "reader-qwen2.5-coder-0.5b"):
        policy.write_text(f'[tenants."*".public]\nmodels = ["{name}"]')
        with pytest.raises(FieldInvalid, match=r"tenants\.\*\.public\.models"):
            Policy.load(settings, catalog)
    policy.unlink()
    with pytest.raises(FieldInvalid, match="cannot be read"):
        Policy.load(settings, catalog)
