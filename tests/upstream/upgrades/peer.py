"""A foreign WebSocket server and client: `peer.py server` prints its port and serves;
`peer.py client URL` talks to it through the balancer and fails if anything is lost."""

import asyncio
import http
import os
import sys

import websockets

BIG = 3_000_000


async def serve():
    async def talk(socket, *_):
        try:
            await answer(socket)
        except websockets.ConnectionClosed:
            pass  # However it was closed: the client looks at the code.

    async def answer(socket):
        async for message in socket:
            if message == "close 4001":
                await socket.close(4001, "as told")
            elif message == "flood":
                for number in range(200):
                    await socket.send(bytes([number]) * 50_000)
            elif message == "ping me":
                await (await socket.ping(b"from the server"))
                await socket.send("ponged")
            else:
                await socket.send(message)

    def plain(*said):
        # Old releases give path and headers, new ones connection and request.
        if isinstance(said[0], str):
            return (http.HTTPStatus.OK, [], b"") if said[0] == "/heartbeat" else None
        connection, request = said
        return connection.respond(200, "") if request.path == "/heartbeat" else None

    async def process(*said):
        return plain(*said)

    server = await websockets.serve(talk, "127.0.0.1", 0, process_request=process, max_size=None)
    print(list(server.sockets)[0].getsockname()[1], flush=True)
    await asyncio.Future()


async def talk(url):
    connect = lambda: websockets.connect(url, max_size=None)
    async with connect() as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await (await socket.ping(b"from the client"))
        await socket.send("ping me")
        assert await socket.recv() == "ponged"
        for size in (0, 1, 125, 126, 65_535, 65_536, BIG):
            message = os.urandom(size)
            await socket.send(message)
            assert await socket.recv() == message, size

    # Both directions at once: everything is sent while everything comes.
    async with connect() as socket:
        await socket.send("flood")
        messages = [os.urandom(40_000) for _ in range(200)]

        async def say():
            for message in messages:
                await socket.send(message)

        saying = asyncio.ensure_future(say())
        for number in range(200):
            assert await socket.recv() == bytes([number]) * 50_000
        for message in messages:
            assert await socket.recv() == message
        await saying

    # Close codes, from either side.
    async with connect() as socket:
        await socket.send("close 4001")
        try:
            await socket.recv()
            raise AssertionError("not closed")
        except websockets.ConnectionClosed:
            assert (socket.close_code, socket.close_reason) == (4001, "as told")
    async with connect() as socket:
        await socket.close(4002, "by the client")
        assert socket.close_code == 4002
    many = [await connect() for _ in range(20)]
    for number, socket in enumerate(many):
        await socket.send(str(number))
    for number, socket in enumerate(many):
        assert await socket.recv() == str(number)
    await asyncio.gather(*(socket.close() for socket in many))
    print("all is well")


asyncio.run(serve() if sys.argv[1] == "server" else talk(sys.argv[2]))
