"""The public addresses of instances, at which SSH is answered as long as they run.

Each is an address of this host's own network, 127.0.0.0/8, at the port of the private sshd of the tests, and leads there. The sshd learns from
a file which instance a connection was made to: `peers/PORT`, by the port that it comes from. It is there as long as the connection.
"""

import asyncio
import contextlib
import random
import socket
import threading

from state import STATE


class Addresses:
    """All addresses of the emulator, served by one thread, which begins with the first."""

    def __init__(self):
        self.loop, self.lock = None, threading.Lock()
        self.servers, self.connections = {}, {}

    def give(self, instance_id, sshd):
        """An address for an instance."""
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                threading.Thread(target=self.loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(self.listen(instance_id, sshd), self.loop).result(10)

    def take(self, instance_id):
        """Ends its connections; its address answers no more."""
        if self.loop is not None:
            asyncio.run_coroutine_threadsafe(self.hang_up(instance_id), self.loop).result(10)

    async def listen(self, instance_id, sshd):
        port = int((sshd / "port").read_text())
        (sshd / "peers").mkdir(exist_ok=True)

        async def reached(reader, writer):
            task = asyncio.current_task()
            self.connections.setdefault(instance_id, set()).add(task)
            try:
                with contextlib.suppress(OSError):
                    await lead(reader, writer, instance_id, sshd, port)
            finally:
                writer.transport.abort()
                self.connections.get(instance_id, set()).discard(task)

        while True:
            address = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
            try:
                self.servers[instance_id] = await asyncio.start_server(reached, address, port)
                return address
            except OSError as error:
                # Another emulator has it.
                if error.errno != socket.errno.EADDRINUSE:
                    raise

    async def hang_up(self, instance_id):
        server = self.servers.pop(instance_id, None)
        if server is not None:
            server.close()
        for task in self.connections.pop(instance_id, set()):
            task.cancel()


async def lead(reader, writer, instance_id, sshd, port):
    """One connection, to the sshd and back."""
    beyond = socket.socket()
    beyond.setblocking(False)
    beyond.bind(("127.0.0.1", 0))
    peer = sshd / "peers" / str(beyond.getsockname()[1])
    peer.write_text(instance_id)
    try:
        await asyncio.get_running_loop().sock_connect(beyond, ("127.0.0.1", port))
        # From here on the socket is the stream's: closed beneath it, its number would soon be another connection's.
        there = await asyncio.open_connection(sock=beyond)
    except BaseException:
        beyond.close()
        peer.unlink()
        raise
    try:
        await asyncio.gather(pour(reader, there[1]), pour(there[0], writer))
    finally:
        there[1].transport.abort()
        peer.unlink()


async def pour(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


ADDRESSES = Addresses()
