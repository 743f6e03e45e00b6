"""A door in front of the emulator that can be killed: the state stays in the emulator behind it.

`front.py PORT BACKEND` passes bytes from PORT of this host to BACKEND and back. Says `ready` when it listens, and ends when its
standard input closes. A SIGKILL cuts every call that is under way, wherever it is: before its effect or after it.
"""

import asyncio
import os
import sys
import threading


async def pour(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(port, backend):
    async def passed(reader, writer):
        try:
            behind = await asyncio.open_connection("127.0.0.1", backend)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pour(reader, behind[1]), pour(behind[0], writer))

    server = await asyncio.start_server(passed, "127.0.0.1", port)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def end_with_parent():
    while os.read(0, 4096):
        pass
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
