"""A TCP relay on loopback whose connections can be cut: the bad network between two processes."""

import asyncio

CHUNK_BYTES = 64 * 1024


class Proxy:
    """Relays a port of its own to another one until told to drop what is open."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Takes a free port and relays."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def drop(self) -> None:
        """Resets every connection; new ones are relayed as before."""
        for writer in self._open:
            writer.transport.abort()

    async def stop(self) -> None:
        """Takes no more connections and resets the open ones."""
        if self._server:
            self._server.close()
        self.drop()
        if self._relays:
            await asyncio.wait(self._relays)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.ensure_future(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._open |= pair
        pumps = [
            asyncio.ensure_future(_pump(source, sink)) for source, sink in ((reader, far_writer), (far_reader, writer))
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= pair
            for each in pair:
                each.transport.abort()
            await asyncio.wait(pumps)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
    except OSError:
        return
