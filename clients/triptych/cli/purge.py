"""`triptych purge`: removes a document, or everything of a tenant, and proves it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.failure import EPILOG, FAILED
from triptych.cli.printing import as_dict, echo_json

if TYPE_CHECKING:
    from triptych.client import Client, Source
    from triptych.v1.blob_service_pb2 import PurgeResponse


@click.command(epilog=EPILOG)
@click.option("--document", default="", metavar="FILE_OR_BLOB", help="A file, or blobs/sha256-... of a document.")
@click.option("--tenant", is_flag=True, help="Everything of the caller's tenant.")
@options.yes_option
@options.server_options
@options.json_option
@click.pass_context
def purge(
    context: click.Context,
    *,
    document: str,
    tenant: bool,
    yes: bool,
    server: Server,
    as_json: bool,
) -> None:
    """Removes a document, or all of a tenant, with everything that comes of it: jobs, results, cached units.

    Jobs that read it are cancelled first. Then all that is kept is searched; exit code 1 if anything is left.
    """
    if bool(document) == tenant:
        raise click.UsageError("give either --document or --tenant")
    if not yes:
        what = f"{document} and everything that comes of it" if document else "everything of the tenant"
        click.confirm(f"Remove {what}, for good?", abort=True, err=True)
    with server.connect() as client:
        removed = _purge(client, document)
    if as_json:
        echo_json(as_dict(removed))
    else:
        click.echo(f"removed: {removed.job_count} jobs, {removed.unit_count} units, {removed.blob_count} blobs")
        left = removed.remaining_count
        click.echo(f"left: {left} traces; purge again when the jobs have stopped" if left else "left: nothing")
    if removed.remaining_count:
        context.exit(FAILED)


def _purge(client: Client, document: str) -> PurgeResponse:
    from triptych.v1.common_pb2 import InputSource

    if not document:
        return client.purge_tenant()
    source: Source = InputSource(blob=document) if document.startswith("blobs/") else Path(document)
    return client.purge_document(source)
