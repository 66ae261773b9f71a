"""A TCP proxy between a gateway and Redis that can delay what passes, and cut what is open."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tests.nodes import process


class SlowProxy:
    """Passes bytes on after ``delay_seconds``; ``cut`` closes every connection."""

    def __init__(self, target_port: int) -> None:
        self.port = process.free_port()
        self.delay_seconds = 0.0
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, upstream_writer}
        await asyncio.gather(self._pass(reader, upstream_writer), self._pass(upstream_reader, writer), return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Close every connection that is open."""

        def close_all() -> None:
            for writer in self._writers:
                writer.close()
            self._writers.clear()

        self._loop.call_soon_threadsafe(close_all)


@contextlib.contextmanager
def slow_proxy(target_port: int) -> Iterator[SlowProxy]:
    """Run a proxy to a local port until the block ends."""
    proxy = SlowProxy(target_port)
    proxy._thread.start()
    yield proxy
    proxy.cut()
    proxy._loop.call_soon_threadsafe(proxy._loop.stop)
    proxy._thread.join(5)
