"""`triptych see`: an image and a prompt to text."""

from __future__ import annotations

from pathlib import Path

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.printing import as_dict, echo_json
from triptych.cli.run import quiet, run_job


@click.command()
@click.argument("image", type=options.file_type)
@click.argument("prompt")
@options.model_option
@options.password_option
@click.option(
    "--schema", type=options.file_type, help="File with a JSON Schema: the output is a JSON document that satisfies it."
)
@click.option("--regex", default="", metavar="EXPRESSION", help="The whole output matches it.")
@click.option("--choice", "choices", multiple=True, metavar="TEXT", help="The output is one of these; repeat it.")
@click.option("--copy", "copying", is_flag=True, help='The output is copied from the page, or is "not found".')
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest output in tokens; default: the server's.")
@options.data_class_option
@options.timeout_option
@options.server_options
@options.json_option
def see(
    *,
    image: Path,
    prompt: str,
    model: str,
    password: str,
    schema: Path | None,
    regex: str,
    choices: tuple[str, ...],
    copying: bool,
    max_tokens: int | None,
    data_class: str | None,
    timeout_s: float,
    server: Server,
    as_json: bool,
) -> None:
    """Writes what the model says to PROMPT about IMAGE.

    At most one of --schema, --regex, --choice and --copy can be given. Say in the prompt what is wanted all the same:
    the model is held to it, but not told.
    """
    from triptych.client import specs
    from triptych.v1.vision_pb2 import GenerationConfig

    if sum((schema is not None, bool(regex), bool(choices), copying)) > 1:
        raise click.UsageError("give at most one of --schema, --regex, --choice and --copy")
    config = specs.generation(
        GenerationConfig(model=model, max_output_tokens=max_tokens),
        json_schema=options.schema_in(schema) if schema else "",
        regex=regex,
        choices=choices,
        copying=copying,
    )
    with server.connect() as client:
        spec = specs.vision(prompt, client.sources([image], password=password), config)
        job, outcome = run_job(client, spec, timeout_s=timeout_s, quiet=quiet(as_json), data_class=data_class)
    if as_json:
        echo_json({"job": job.name, **as_dict(outcome.vision)})
    else:
        click.echo(outcome.vision.output_json or outcome.vision.text)
