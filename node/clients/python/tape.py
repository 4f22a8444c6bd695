"""The recording: a line on standard output for each call, and what is asked of the test."""

import asyncio
import json
import sys

import aetcd
import grpc
from google.protobuf.message import Message

# How long members may take for whatever is awaited, and between two looks at it, in seconds.
PATIENCE = 30
LOOK = 0.1

# Longer texts are told by their length, their beginning and their sum.
LONG_BYTES = 80


def text(octets):
    """Bytes, readable where they are text."""
    if len(octets) > LONG_BYTES:
        return f"{text(octets[:8])}... {len(octets)} bytes, sum {sum(octets)}"
    return repr(octets)[2:-1]


def plain(value):
    """Whatever a call gives back, as JSON has it: no field of it is left out."""
    if isinstance(value, Message):
        return {field.name: plain_field(field, part) for field, part in value.ListFields()}
    if isinstance(value, bytes):
        return text(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, aetcd.rtypes.GetRange):
        kvs = [plain(kv) for kv in value.kvs]
        return {"header": plain(value.header), "kvs": kvs, "more": value.more, "count": value.count}
    if isinstance(value, aetcd.rtypes.DeleteRange):
        prev_kvs = [plain(kv) for kv in value.prev_kvs]
        return {"header": plain(value.header), "deleted": value.deleted, "prev_kvs": prev_kvs}
    if hasattr(value, "__slots__") and value.__slots__:
        return {name: plain(getattr(value, name)) for name in value.__slots__}
    if hasattr(value, "__len__"):
        return [plain(part) for part in value]
    return {name: plain(part) for name, part in vars(value).items() if name[0] != "_"}


def plain_field(field, value):
    if field.enum_type is not None and isinstance(value, int):
        return field.enum_type.values_by_number[value].name
    return plain(value)


def told(error):
    """An exception as the client raises it, and the status behind it."""
    answer = {"raised": type(error).__name__, "text": str(error)}
    status = error if isinstance(error, grpc.aio.AioRpcError) else error.__cause__
    if isinstance(status, grpc.aio.AioRpcError):
        answer["code"], answer["message"] = status.code().name, status.details()
        if error is status:
            # Its text names addresses.
            del answer["text"]
    return answer


def line(call, answer):
    print(call, "=>", json.dumps(answer, sort_keys=True), flush=True)


def about(what):
    """Says what the calls that follow are about, where they do not say it themselves."""
    print("#", what, flush=True)


def ask(what):
    """Asks something of the test."""
    print("!", what, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "done", f"the test answered {answer!r}"


def written(value):
    """An argument as it stands in a recording."""
    if isinstance(value, Message):
        fields = (f"{field.name}={written(part)}" for field, part in value.ListFields())
        return f"{value.DESCRIPTOR.name}({', '.join(fields)})"
    if isinstance(value, bytes):
        return f"b'{text(value)}'"
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if hasattr(value, "__len__"):
        return f"[{', '.join(written(part) for part in value)}]"
    fields = (f"{name}={written(part)}" for name, part in vars(value).items() if part is not None)
    return f"{type(value).__name__}({', '.join(fields)})"


async def until(what, look):
    """Looks again and again until something is there."""
    for _ in range(int(PATIENCE / LOOK)):
        found = await look()
        if found:
            return found
        await asyncio.sleep(LOOK)
    raise TimeoutError(f"{what}: not in {PATIENCE} s")


class Listener:
    """A client of one member, that records what is called and all that the member answers.

    Some calls give back less than the member says, so it listens below the client, too: at the
    stubs, where the client's own requests and answers pass.
    """

    def __init__(self, name, client):
        self.name = name
        self.client = client
        self.heard = []
        self.watched = asyncio.Queue()

    @classmethod
    async def connect(cls, name, url):
        host, port = url.removeprefix("http://").rsplit(":", 1)
        client = aetcd.Client(host=host, port=int(port), timeout=PATIENCE)
        await client.connect()
        self = cls(name, client)
        stubs = [client.kvstub, client.leasestub, client.clusterstub, client.maintenancestub]
        for stub in stubs:
            for method in vars(stub):
                setattr(stub, method, self.listen(getattr(stub, method), self.heard.append))
        watching = client._watcher._watchstub
        watching.Watch = self.listen(watching.Watch, self.watched.put_nowait)
        return self

    def listen(self, rpc, note):
        """The same method; what it answers is noted, as JSON has it."""

        async def one(answer):
            answer = await answer
            note(plain(answer))
            return answer

        async def many(answers):
            async for answer in answers:
                note(plain(answer))
                yield answer

        def call(*arguments, **options):
            answer = rpc(*arguments, **options)
            is_one = isinstance(rpc, grpc.aio.UnaryUnaryMultiCallable)
            return one(answer) if is_one else many(answer)

        return call

    async def hear(self, method, *arguments, again=None, **options):
        """Makes a call and records it; gives back what it gives back, or None if it is refused.

        `again`: as long as the error says this it is made again, and the last is recorded.
        """
        stub, _, name = method.rpartition(".")
        owner = getattr(self.client, stub) if stub else self.client
        for _ in range(int(PATIENCE / LOOK)):
            self.heard.clear()
            answer, returned = {}, None
            try:
                returned = getattr(owner, name)(*arguments, **options)
                if hasattr(returned, "__aiter__"):
                    returned = [part async for part in returned]
                else:
                    returned = await returned
                if not stub:
                    answer["returned"] = plain(returned)
            except (aetcd.ClientError, grpc.aio.AioRpcError) as error:
                answer = told(error)
            if again is None or again not in answer.get("message", ""):
                break
            await asyncio.sleep(LOOK)
        answer["heard"] = list(self.heard)
        shown = [written(argument) for argument in arguments]
        shown += [f"{name}={written(option)}" for name, option in options.items()]
        line(f"{self.name}.{method}({', '.join(shown)})", answer)
        return returned

    async def watch(self, key, **options):
        """Begins a watch and records how that was answered."""
        shown = [written(key)] + [f"{name}={written(option)}" for name, option in options.items()]
        call = f"{self.name}.watch({', '.join(shown)})"
        watch = await self.client.watch(key, **options)
        line(call, {"returned": watch.watch_id})
        await self.next(call, 1)
        return watch

    async def next(self, what, answers):
        """Records what its watches are told next, so many answers."""
        for _ in range(answers):
            line(what, await asyncio.wait_for(self.watched.get(), PATIENCE))


async def events(watch, what, count):
    """Records what the client makes of the answers to a watch, so many events."""
    iterator = aiter(watch)
    for _ in range(count):
        try:
            line(what, plain(await asyncio.wait_for(anext(iterator), PATIENCE)))
        except aetcd.ClientError as error:
            line(what, told(error))
