"""Models outside for tests: a real server of chat completions, a real Redis, and what a worker has of both."""

import json
import textwrap

import pytest
from chat_server import ChatServer

from triptych.core import spending
from triptych.core.catalog import Catalog
from triptych.core.policy import CLASSES
from triptych.core.store import Store
from triptych.workers.engines.generation import Prompt
from triptych.workers.outside.ask import Ask, Sender
from triptych.workers.outside.outside import Outside

POLICY = """
[tenants.acme]
budget = 100
[tenants.acme.public]
models = ["far"]
"""


@pytest.fixture
def chat():
    server = ChatServer()
    yield server
    server.close()


class World:
    """One worker's view of the outside; `open` begins it with a catalogue and a policy."""

    def __init__(self, settings, folder, chat):
        self.chat = chat
        self._settings = settings
        self._folder = folder
        self._opened = []
        self.store = Store(settings.redis_url)

    def open(self, policy=POLICY, *, base_url=None, **remote):
        facts = {
            "base_url": base_url or self.chat.base_url,
            "model": "far-1",
            "input_price": 2.0,
            "output_price": 10.0,
            "retries": 2,
        } | remote
        table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in facts.items())
        models, rules = self._folder / "models.toml", self._folder / "policy.toml"
        models.write_text(
            '[models.far]\nkind = "vision"\nengine = "remote"\nlicence = "LicenseRef-far"\n'
            f"[models.far.remote]\n{table}"
        )
        rules.write_text(textwrap.dedent(policy))
        settings = self._settings.model_copy(update={"models_file": models, "policy_file": rules})
        self.outside = Outside(settings, Catalog.load(settings))
        self.outside.start()
        self._opened.append(self.outside)
        return self.outside

    def ask(self, prompt, data_class="public", deadline=None, **sender):
        """Asks by name; gives the future."""
        policy = self.outside.policy.of("acme")
        rule = self.outside.policy.allowed("acme", CLASSES[data_class], "far")
        whose = Sender(
            tenant="acme",
            policy=policy,
            job_id="j1",
            data_class=data_class,
            crops=((0.0, 0.0, 1.0, 1.0),) * len(prompt.images()),
            **sender,
        )
        return self.outside.submit("far", Ask(prompt=prompt, rule=rule, sender=whose, why="named", deadline=deadline))

    def entries(self):
        """The ledger, oldest first."""
        return self.store.run(spending.list_page("acme", after="", limit=1000))[::-1]

    def spent(self):
        return self.store.run(spending.spent("acme", self.outside.policy.of("acme")))

    def close_outside(self):
        while self._opened:
            self._opened.pop().stop()

    def close(self):
        self.close_outside()
        self.store.close()


@pytest.fixture
def world(settings, tmp_path, chat):
    world = World(settings, tmp_path, chat)
    yield world
    world.close()


def prompt(*parts, **options):
    return Prompt(turns=(("user", parts or ("What is the total?",)),), **{"max_output_tokens": 20, **options})
