"""`triptych ledger` and `triptych doctor` against real services: what left, and what may leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.deployment import Deployment
from click.testing import CliRunner

from triptych.cli.__main__ import cli
from triptych.core import spending
from triptych.core.policy import TenantPolicy
from triptych.core.spending import Leaving

MODELS = """
[models.far]
kind = "vision"
engine = "remote"
licence = "LicenseRef-far"
remote = { base_url = "https://api.example.com/v1", model = "far-1" }
"""


async def leave(deployment: Deployment, number: int) -> None:
    call = Leaving(
        id=f"{number:032x}", tenant="default", job_id=f"j{number}", data_class="public", model="far",
        host="api.example.com", documents=("a" * 64, "b" * 64), body_digest="c" * 64, body_bytes=10, image_count=1,
        redaction_count=2, why="named",
    )  # fmt: skip
    await deployment.store.run(spending.reserve(call, 9000, TenantPolicy(budget=1), ttl_s=60, kept_s=3600))
    await deployment.store.run(spending.settle(call.id, "ok", 1500, input_tokens=100, output_tokens=4))


async def test_a_pipe_gets_a_line_per_entry_and_people_the_budget(deployment: Deployment) -> None:
    for number in (1, 2):
        await leave(deployment, number)
    said = await deployment.triptych("ledger")
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert [line[1] for line in lines] == ["jobs/j2", "jobs/j1"]
    assert lines[0][2:13] == [
        "public", "far", "api.example.com", "named", "ok", "10", "1", "2", "100", "4", "0.001500",
    ]  # fmt: skip
    assert lines[0][16] == f"sha256-{'a' * 64} sha256-{'b' * 64}"
    assert said.err == "0.003 of 0 spent this month, 0 reserved\n"


async def test_programs_get_entries_and_budget(deployment: Deployment) -> None:
    await leave(deployment, 1)
    facts = json.loads((await deployment.triptych("ledger", "--json", "--limit", "1")).out)
    assert facts["entries"][0]["cost_micros"] == "1500"
    assert facts["budget"]["used_micros"] == "1500"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (None, "nothing leaves this deployment"),
        ('[tenants.acme.public]\nmodels = ["far"]', "acme's public data to far"),
        ('[tenants.acme.secret]\nmodels = ["far"]', "tenants.acme.secret"),
    ],
)
def test_the_doctor_says_what_may_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str | None, said: str
) -> None:
    (tmp_path / "models.toml").write_text(MODELS)
    monkeypatch.setenv("TRIPTYCH_MODELS_FILE", str(tmp_path / "models.toml"))
    if policy:
        (tmp_path / "policy.toml").write_text(policy)
        monkeypatch.setenv("TRIPTYCH_POLICY_FILE", str(tmp_path / "policy.toml"))
    result = CliRunner().invoke(cli, ["doctor", "--json", "--state-dir", str(tmp_path)])
    [check] = [check for check in json.loads(result.stdout) if check["name"] == "policy"]
    assert said in check["message"]
    assert check["level"] == ("fail" if "secret" in said else "ok")
