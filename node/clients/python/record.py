"""A program that uses the public client aetcd for every call it has of keys, watches, leases,
members and maintenance, and records what it hears.

    record.py CLIENT-URL x 5  PEER-URL x 5

The first three members run. Where the client has no method for a call, its stub is used. It knows
neither etcd nor ours: whatever listens at the URLs is asked. What a recording is, and what is left
out, stands in the program of the Rust client beside it.
"""

import asyncio
import hashlib
import io
import sys

from aetcd import rpc
from aetcd.rtypes import EventKind

from tape import PATIENCE, Listener, about, ask, events, line, until

# What a member says as long as it has not been connected to the others for some seconds.
UNHEALTHY = "unhealthy cluster"


async def level(*clients):
    """Waits until members have applied all that is committed: what they then answer by themselves,
    without asking the others, is not left to chance."""
    for one in clients:
        await one.client.kvstub.Range(rpc.RangeRequest(key=b"level"))


async def keys(m1, m2, m3):
    await m1.hear("put", b"a", b"1")
    await m1.hear("put", b"a", b"2", prev_kv=True)
    await m2.hear("put", b"a", b"3", prev_kv=True)
    await m1.hear("put", b"new", b"1", prev_kv=True)
    await m1.hear("put", b"empty", b"")
    await m1.hear("put", b"\xff\x00\x80", b"\x00\xfe")
    await m1.hear("put", b"long", b"x" * 100_000)
    await m1.hear("put", b"", b"no key")
    await m1.hear("put", b"a", b"4", lease=4711)
    await m1.hear("put", b"large", b"x" * 1_600_000)
    put = rpc.PutRequest
    await m1.hear("kvstub.Put", put(key=b"a", ignore_value=True, prev_kv=True))
    await m1.hear("kvstub.Put", put(key=b"a", value=b"5", ignore_value=True))
    await m1.hear("kvstub.Put", put(key=b"nobody", ignore_value=True))
    await m1.hear("kvstub.Put", put(key=b"a", value=b"6", ignore_lease=True))
    await m1.hear("kvstub.Put", put(key=b"nobody", value=b"7", ignore_lease=True))
    await m1.hear("kvstub.Put", put(key=b"a", value=b"8", ignore_lease=True, lease=1))
    await m1.hear("replace", b"a", b"6", b"9")
    await m1.hear("replace", b"a", b"6", b"10")

    for value, times in [(b"c", 3), (b"b", 1), (b"a", 2)]:
        for _ in range(times):
            await m1.hear("put", b"r/" + value, value)
    for client in (m1, m2, m3):
        await client.hear("get", b"a")
    await m1.hear("get", b"nobody")
    await m1.hear("get", b"")
    await m1.hear("get", b"long")
    await m1.hear("get", b"\xff\x00\x80")
    await level(m2)
    await m2.hear("get", b"a", serializable=True)
    await m1.hear("get_prefix", b"r/")
    await m1.hear("get_prefix", b"r/", keys_only=True)
    for target in ("key", "version", "create", "mod", "value"):
        for order in ("ascend", "descend"):
            await m1.hear("get_prefix", b"r/", sort_order=order, sort_target=target)
    await m1.hear("get_range", b"r/a", b"r/c")
    await m1.hear("get_range", b"r/c", b"r/a")
    await m1.hear("get_all", keys_only=True)
    read = rpc.RangeRequest
    below = {"key": b"r/", "range_end": b"r0"}
    await m1.hear("kvstub.Range", read(**below, limit=2))
    await m1.hear("kvstub.Range", read(**below, limit=3))
    await m1.hear("kvstub.Range", read(**below, count_only=True))
    await m1.hear("kvstub.Range", read(key=b"a", revision=3))
    await m1.hear("kvstub.Range", read(key=b"a", revision=2))
    await m1.hear("kvstub.Range", read(key=b"a", revision=-5))
    await m1.hear("kvstub.Range", read(key=b"a", revision=1000))
    await m1.hear("kvstub.Range", read(**below, min_mod_revision=16))
    await m1.hear("kvstub.Range", read(**below, max_mod_revision=16))
    await m1.hear("kvstub.Range", read(**below, min_create_revision=16, limit=1))
    await m1.hear("kvstub.Range", read(**below, max_create_revision=16, limit=1))

    await m1.hear("delete", b"nobody")
    await m1.hear("delete", b"")
    await m1.hear("delete", b"new", prev_kv=True)
    await m3.hear("delete", b"empty")
    await m1.hear("delete_range", b"r/b", b"r/c", prev_kv=True)
    await m1.hear("delete_range", b"r/c", b"r/a")
    await m1.hear("delete_prefix", b"r/", prev_kv=True)
    await m1.hear("delete_prefix", b"r/")
    await m1.hear("get_all", keys_only=True)
    await m1.hear("delete_range", b"\0", b"\0", prev_kv=True)
    await m1.hear("get_all")


async def transactions(m1, m2):
    made = m1.client.transactions

    async def txn(compare, success=(), failure=(), client=m1):
        await client.hear("transaction", compare, list(success), list(failure))

    await m1.hear("put", b"t", b"b")
    await m1.hear("put", b"t", b"m")
    await m1.hear("put", b"t/1", b"m")
    read = ([made.get(b"t")], [made.get(b"nobody")])
    for key in (b"t", b"nobody"):
        for kind, number in ((made.version, 2), (made.create, 25), (made.mod, 25), (made.value, b"m")):
            await txn([kind(key) == number], *read)
            await txn([kind(key) != number], *read)
            await txn([kind(key) < number], *read)
            await txn([kind(key) > number], *read)
    await txn([made.value(b"t", b"u") == b"m"], *read)
    await txn([made.version(b"u", b"v") == 0], *read)
    await txn([made.version(b"t") == 2, made.version(b"t") == 3], *read)
    await txn([made.version(b"") == 0], *read)
    await txn([])
    await txn([], *read, client=m2)
    await txn([], [made.put(b"o/1", b"1"), made.put(b"o/2", b"2")])
    await txn([], [made.get(b"o/1"), made.put(b"o/1", b"3", prev_kv=True), made.get(b"o/1")], client=m2)
    await txn([], [made.put(b"o/3", b"4"), made.delete(b"o/2"), made.get(b"o/", b"o0")])
    await txn([], [made.delete(b"o/", b"o0", prev_kv=True), made.get(b"o/1")])
    inner = made.txn([made.version(b"t") > 0], [made.put(b"n", b"then")], [made.put(b"n", b"else")])
    await txn([], [inner, made.get(b"n")])
    await txn([], [made.txn([], [inner], []), made.get(b"n")])
    await txn([], [made.put(b"n", b"twice"), inner])
    await txn([], [made.put(b"d", b"1"), made.put(b"d", b"2")])
    await txn([], [], [made.delete(b"d"), made.put(b"d", b"2")])
    await txn([], [made.put(b"", b"1")])
    await txn([], [made.get(b"")])
    await txn([], [made.put(b"d", b"1"), made.put(b"e", b"1", lease=4711)])
    await txn([], [made.put(b"many/%d" % number, b"x") for number in range(128)])
    await txn([], [made.put(b"many/%d" % number, b"x") for number in range(129)])
    await txn([], [made.put(b"h/1", b"x" * 800_000), made.put(b"h/2", b"x" * 800_000)])
    # A kind of operation that nobody has set, which no method makes.
    await m1.hear("kvstub.Txn", rpc.TxnRequest(success=[rpc.RequestOp()]))
    await m1.hear("get", b"d")
    await m1.hear("delete_prefix", b"many/")


async def revision(client):
    answer = await client.client.kvstub.Range(rpc.RangeRequest(key=b"nobody"))
    return answer.header.revision


async def watches(m1, m2):
    began = 1 + await revision(m1)
    await m1.hear("put", b"w", b"1")
    await m1.hear("put", b"w/1", b"2")
    await m1.hear("put", b"w", b"3")
    await m1.hear("delete", b"w")
    both = [m1.client.transactions.put(b"w", b"4"), m1.client.transactions.put(b"w/2", b"5")]
    await m1.hear("transaction", [], both, [])
    await level(m2)
    for client in (m1, m2):
        for key, count, options in (
            (b"w", 4, {}),
            (b"w", 4, {"prev_kv": True}),
            (b"w", 6, {"range_end": b"x"}),
            (b"w/", 2, {"range_end": b"w0"}),
            (b"w", 3, {"kind": EventKind.PUT}),
            (b"w", 1, {"kind": EventKind.DELETE, "prev_kv": True}),
        ):
            watch = await client.watch(key, start_revision=began, **options)
            await client.next("from history", 1)
            await events(watch, "an event from history", count)
            await watch.cancel()
            await client.next("cancelled", 1)

    live = await m1.watch(b"l", range_end=b"m", prev_kv=True)
    other = await m1.watch(b"l/1")
    await m1.hear("put", b"l", b"1")
    await m1.next("a put", 1)
    await m1.hear("put", b"l", b"2")
    await m1.next("another", 1)
    all_of_it = [
        m1.client.transactions.put(b"l/1", b"3"),
        m1.client.transactions.delete(b"l"),
        m1.client.transactions.put(b"y", b"4"),
    ]
    # Two watches are told, in an order that is chance.
    await m1.hear("transaction", [], all_of_it, [])
    answers = [await asyncio.wait_for(m1.watched.get(), PATIENCE) for _ in range(2)]
    line("a transaction", sorted(answers, key=lambda answer: answer.get("watch_id", 0)))
    await events(live, "a live event", 4)
    await events(other, "an event of the other", 1)
    await live.cancel()
    await m1.next("the first is cancelled", 1)
    await m1.hear("put", b"l/1", b"5")
    await m1.next("the other is not", 1)
    await other.cancel()
    await m1.next("the other is", 1)

    compacted = await revision(m1)
    await m1.hear("compact", compacted)
    late = await m1.watch(b"w", start_revision=began)
    await m1.next("a watch from before the compaction", 1)
    await events(late, "a watch from before the compaction", 1)
    await stream(m1, compacted)


async def stream(m1, compacted):
    """What the client has no words for, on a stream by itself."""
    requests = asyncio.Queue()

    async def sent():
        while (request := await requests.get()) is not None:
            yield request

    answers = aiter(m1.client._watcher._watchstub.Watch(sent()))

    async def next_of(what):
        await asyncio.wait_for(anext(answers), PATIENCE)
        await m1.next(what, 1)

    async def create(what, **fields):
        request = rpc.WatchCreateRequest(**fields)
        await requests.put(rpc.WatchRequest(create_request=request))
        await next_of(what)

    await create("a first watch", key=b"s")
    await create("an id of its own", key=b"s", watch_id=77)
    await create("an id in use", key=b"s", watch_id=77)
    await create("an empty range", key=b"s", range_end=b"a")
    await create("no key")
    await create("from the compacted revision", key=b"l/1", start_revision=compacted)
    await next_of("from the compacted revision")
    for watch_id in (77, 77, 1234):
        cancel = rpc.WatchCancelRequest(watch_id=watch_id)
        await requests.put(rpc.WatchRequest(cancel_request=cancel))
    await next_of("cancelled once")
    await requests.put(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
    await next_of("progress")
    await m1.hear("put", b"s", b"1")
    await next_of("the first hears")
    await create("told of progress", key=b"idle", progress_notify=True)
    await next_of("told of progress")
    await requests.put(None)


async def leases(m1, m2, m3):
    await m1.hear("lease", 600, 1001)
    await m1.hear("lease", 600, 1001)
    await m2.hear("lease", 700, 1002)
    await m1.hear("lease", 9_000_000_001, 1004)
    await m1.hear("lease", 0, 2001)
    await m1.hear("lease", 1, 2002)
    granted = await m1.client.lease(900)
    ask(f"name {granted.id} lease")
    line("m1.lease(900)", {"id": granted.id, "TTL": granted.ttl})
    await level(m1, m2)
    for client in (m1, m2):
        await client.hear("leasestub.LeaseLeases", rpc.LeaseLeasesRequest())
    await m1.hear("get_lease_info", 1001)
    await m1.hear("get_lease_info", 1234)
    await m1.hear("put", b"lease/2", b"x", lease=1001)
    await m1.hear("put", b"lease/1", b"y", lease=1001)
    await m3.hear("put", b"lease/3", b"z", lease=1001)
    await m1.hear("get_prefix", b"lease/")
    await level(m1, m2, m3)
    for client in (m1, m2, m3):
        await client.hear("get_lease_info", 1001)
        await client.hear("refresh_lease", 1001)
        await client.hear("refresh_lease", 1234)
    await m1.hear("put", b"lease/1", b"of another", lease=1002)
    await m1.hear("put", b"lease/2", b"of none")
    await m1.hear("get_lease_info", 1001)
    await m1.hear("get_lease_info", 1002, keys=False)
    for lease_id in (1001, 1001, 2001, 2002, 0):
        await m1.hear("revoke_lease", lease_id)
    await m1.hear("get_prefix", b"lease/")
    await m1.hear("get_lease_info", 1001)
    await m1.hear("lease", 2, 2003)
    watch = await m1.watch(b"lease/6")
    await m1.hear("put", b"lease/6", b"x", lease=2003)
    await m1.next("a key of a short lease", 1)
    await m1.next("it is gone by itself", 1)
    await events(watch, "of a short lease", 2)
    await watch.cancel()
    await m1.next("cancelled", 1)
    await m1.hear("revoke_lease", 1002)


async def compaction(m1, m2):
    first = 1 + await revision(m1)
    for value in (b"1", b"2", b"3"):
        await m1.hear("put", b"k", value)
    await m1.hear("compact", first + 1)
    await m1.hear("compact", first + 1)
    await m1.hear("compact", 0)
    await m1.hear("compact", first + 1000)
    await m2.hear("compact", first + 2, physical=True)
    await m1.hear("kvstub.Range", rpc.RangeRequest(key=b"k", revision=first))
    await m1.hear("kvstub.Range", rpc.RangeRequest(key=b"k", revision=first + 2))


async def lead(wanted, clients):
    """Makes a member lead, and waits until all know; nothing of it is recorded."""

    async def agreed():
        statuses = [await one.client.maintenancestub.Status(rpc.StatusRequest()) for one in clients]
        if all(status.leader == wanted for status in statuses):
            return True
        for one in clients:
            try:
                await one.client.maintenancestub.MoveLeader(rpc.MoveLeaderRequest(targetID=wanted))
            except rpc.AioRpcError:
                # All but one of them refuse, because they do not lead.
                pass
        return False

    await until("the leader that is wanted", agreed)


async def maintenance(m1, m2, m3, ids):
    everybody = [m1, m2, m3]
    await lead(ids[0], everybody)
    await level(*everybody)
    for client in everybody:
        await client.hear("status")
        await client.hear("defragment")
        await client.hear("hash")
        image = io.BytesIO()
        client.heard.clear()
        await client.client.snapshot(image)
        image = image.getvalue()
        answer = {
            "headers": sum("header" in part for part in client.heard),
            "whole_pages": len(image) > 32 and (len(image) - 32) % 4096 == 0,
            "sum_at_the_end": hashlib.sha256(image[:-32]).digest() == image[-32:],
        }
        line(f"{client.name}.snapshot()", answer)
    # Not at the compacted revision itself, where two etcds differ.
    await m1.hear("put", b"hash", b"1")
    now = await revision(m1)
    for asked in (0, now, now + 1, 1, -1):
        await m1.hear("maintenancestub.HashKV", rpc.HashKVRequest(revision=asked))

    await m1.hear("list_alarms")
    await m1.hear("disarm_alarm", ids[0])
    await m1.hear("create_alarm", ids[0])
    await m1.hear("create_alarm", ids[0])
    await m1.hear("list_alarms")
    await m1.hear("list_alarms", ids[1], "no space")
    await m1.hear("put", b"alarm", b"refused")
    await m1.hear("lease", 60, 3001)
    await m1.hear("delete", b"alarm")
    await m1.hear("get", b"alarm")
    await m1.hear("maintenancestub.Status", rpc.StatusRequest())
    await m1.hear("disarm_alarm", ids[0])
    await m1.hear("list_alarms")
    await m1.hear("put", b"alarm", b"taken")

    move = rpc.MoveLeaderRequest
    await m2.hear("maintenancestub.MoveLeader", move(targetID=ids[0]))
    await m1.hear("maintenancestub.MoveLeader", move(targetID=1234))
    await m1.hear("maintenancestub.MoveLeader", move(targetID=ids[1]))
    await lead(ids[1], everybody)
    await level(*everybody)
    await m1.hear("maintenancestub.Status", rpc.StatusRequest())
    await m2.hear("put", b"moved", b"1")
    await lead(ids[0], everybody)


async def members(m1, m2, m3, ids, client_urls, peer_urls):
    async def change(client, method, *arguments):
        """A change of the members, and a write behind it, for the reason that the program of the
        Rust client gives."""
        await client.hear(method, *arguments, again=UNHEALTHY)
        await m1.client.put(b"settled", b"")

    add, promote = rpc.MemberAddRequest, rpc.MemberPromoteRequest
    await m1.hear("members")
    await m2.hear("members")
    await change(m1, "add_member", ["nowhere"])
    await change(m1, "add_member", [peer_urls[0]])
    await change(m1, "remove_member", 1234)
    await change(m1, "update_member", 1234, [peer_urls[3]])
    await change(m1, "update_member", ids[0], [peer_urls[1]])
    await change(m1, "clusterstub.MemberPromote", promote(ID=1234))
    await change(m1, "clusterstub.MemberPromote", promote(ID=ids[0]))

    learner = add(peerURLs=[peer_urls[3]], isLearner=True)
    answer = await m1.client.clusterstub.MemberAdd(learner)
    fourth = answer.member.ID
    ask(f"name {fourth} m4")
    line("m1.clusterstub.MemberAdd(learner)", m1.heard[-1])
    await m1.client.put(b"settled", b"")
    second = add(peerURLs=[peer_urls[4]], isLearner=True)
    await change(m1, "clusterstub.MemberAdd", second)
    await m1.hear("put", b"learner", b"1")
    ask("start 4")

    async def said():
        return [member async for member in m1.client.members() if member.name == "m4"]

    await until("m4 says who it is", said)
    await m1.hear("members")
    m4 = await Listener.connect("m4", client_urls[3])

    async def has_it():
        return await m4.client.get(b"learner", serializable=True)

    await until("the learner has what was written", has_it)
    await m4.hear("get", b"learner", serializable=True)
    await m4.hear("get", b"learner")
    await m4.hear("put", b"learner", b"2")
    await m4.hear("lease", 60, 4001)
    await m4.hear("members")
    await m4.hear("maintenancestub.Status", rpc.StatusRequest())
    await m1.hear("maintenancestub.MoveLeader", rpc.MoveLeaderRequest(targetID=fourth))
    await m1.hear("clusterstub.MemberPromote", promote(ID=fourth), again="in sync")
    await m1.client.put(b"settled", b"")
    await m1.hear("members")

    async def serves():
        try:
            return await m4.client.get(b"learner")
        except Exception:
            return None

    await until("m4 serves as a voter", serves)
    await m4.hear("get", b"learner")
    await change(m1, "update_member", fourth, peer_urls[3:5])
    await m1.hear("members")
    await change(m1, "update_member", fourth, [peer_urls[3]])
    await change(m1, "remove_member", fourth)
    await change(m1, "remove_member", fourth)
    await m1.hear("members")
    for client in (m1, m2, m3):
        await client.hear("put", b"last", b"1")
    await m4.client.close()


async def main():
    urls = sys.argv[1:]
    client_urls, peer_urls = urls[:5], urls[5:]
    clients = [await Listener.connect(f"m{at + 1}", client_urls[at]) for at in range(3)]
    m1, m2, m3 = clients
    ids = []
    for one in clients:
        status = await one.client.maintenancestub.Status(rpc.StatusRequest())
        ids.append(status.header.member_id)
    await keys(m1, m2, m3)
    await transactions(m1, m2)
    await watches(m1, m2)
    await leases(m1, m2, m3)
    await compaction(m1, m2)
    await maintenance(m1, m2, m3, ids)
    await members(m1, m2, m3, ids, client_urls, peer_urls)
    for one in clients:
        await one.client.close()


asyncio.run(main())
