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
        self.target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._started.wait(5)

    def cut(self) -> None:
        """Close every connection that is open."""
        self._loop.call_soon_threadsafe(self._close_all)

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(5)

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._started.set()
        await self._stopping.wait()
        server.close()
        self._close_all()

    def _close_all(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            self._writers |= {writer, upstream_writer}
            await asyncio.gather(self._pass(reader, upstream_writer), self._pass(upstream_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.contextmanager
def slow_proxy(target_port: int) -> Iterator[SlowProxy]:
    """Run a proxy to a local port until the block ends."""
    proxy = SlowProxy(target_port)
    proxy.start()
    yield proxy
    proxy.stop()
