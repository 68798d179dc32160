"""Talks to /ws/echo with the websockets library; prints good, or fails."""
import asyncio
import sys

import websockets


async def main(uri):
    # The library offers compression; the gateway declines it.
    async with websockets.connect(uri, max_size=None, ping_interval=None) as ws:
        assert not ws.extensions, ws.extensions
        for n in (0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20):
            for message in ("é" * (n // 2), b"\xff" * n):
                await ws.send(message)
                assert await ws.recv() == message, (type(message), n)

        async def pieces():
            for piece in ("in ", "", "pieces €"):
                yield piece

        await ws.send(pieces())
        assert await ws.recv() == "in pieces €"
        await asyncio.wait_for(await ws.ping(b"are you there"), 10)
        for i in range(2000):
            await ws.send(str(i))
        for i in range(2000):
            assert await ws.recv() == str(i)
        await ws.close(code=4321, reason="done")
        assert ws.close_code == 4321, ws.close_code
    print("good")


asyncio.run(main(sys.argv[1]))
