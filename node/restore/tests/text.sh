#!/usr/bin/env bash
# The commands of etcd's guide "Disaster recovery", in their order: host1, host2 and host3 are
# 127.0.0.1, 127.0.0.2 and 127.0.0.3, and nothing else is changed.
#
#   CTL     takes and restores snapshots: etcdctl, or raft-ctl
#   ASK     puts keys before, and says what is there in the end: etcdctl
#   SERVER  the members: etcd, or raft-node
#
# It works in the current directory, which is empty at first, and prints the restored key space.
set -euo pipefail

export ETCDCTL_API=3
ENDPOINT=127.0.0.1:2379
members=()
trap 'kill "${members[@]}" 2>/dev/null || true; wait' EXIT

# Waits until somebody leads whom this member follows.
await() {
  for _ in $(seq 300); do
    if "$ASK" --endpoints "$1" --command-timeout 1s get a >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "no read is answered at $1:" >&2
  tail -n 5 ./*.log >&2
  exit 1
}

# A cluster worth saving.
"$SERVER" --data-dir before >before.log 2>&1 &
members+=($!)
await "$ENDPOINT"
lease=$("$ASK" --endpoints "$ENDPOINT" lease grant 3600 | cut -d' ' -f2)
"$ASK" --endpoints "$ENDPOINT" put a 1 >&2
"$ASK" --endpoints "$ENDPOINT" put a 2 >&2
"$ASK" --endpoints "$ENDPOINT" put b 1 >&2
"$ASK" --endpoints "$ENDPOINT" del b >&2
"$ASK" --endpoints "$ENDPOINT" put leased 1 --lease="$lease" >&2

# "For example, the following command snapshots the keyspace served by $ENDPOINT"
"$CTL" --endpoints $ENDPOINT snapshot save snapshot.db >&2

"$ASK" --endpoints "$ENDPOINT" put after snapshot >&2
kill "${members[@]}"
wait "${members[@]}" || true
members=()

# "the following creates new etcd data directories (m1.etcd, m2.etcd, m3.etcd)"
"$CTL" snapshot restore snapshot.db \
  --name m1 \
  --initial-cluster m1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380,m3=http://127.0.0.3:2380 \
  --initial-cluster-token etcd-cluster-1 \
  --initial-advertise-peer-urls http://127.0.0.1:2380 >&2
"$CTL" snapshot restore snapshot.db \
  --name m2 \
  --initial-cluster m1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380,m3=http://127.0.0.3:2380 \
  --initial-cluster-token etcd-cluster-1 \
  --initial-advertise-peer-urls http://127.0.0.2:2380 >&2
"$CTL" snapshot restore snapshot.db \
  --name m3 \
  --initial-cluster m1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380,m3=http://127.0.0.3:2380 \
  --initial-cluster-token etcd-cluster-1 \
  --initial-advertise-peer-urls http://127.0.0.3:2380 >&2

# "Next, start etcd with the new data directories"
"$SERVER" \
  --name m1 \
  --listen-client-urls http://127.0.0.1:2379 \
  --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 >m1.log 2>&1 &
members+=($!)
"$SERVER" \
  --name m2 \
  --listen-client-urls http://127.0.0.2:2379 \
  --advertise-client-urls http://127.0.0.2:2379 \
  --listen-peer-urls http://127.0.0.2:2380 >m2.log 2>&1 &
members+=($!)
"$SERVER" \
  --name m3 \
  --listen-client-urls http://127.0.0.3:2379 \
  --advertise-client-urls http://127.0.0.3:2379 \
  --listen-peer-urls http://127.0.0.3:2380 >m3.log 2>&1 &
members+=($!)

# "Now the restored etcd cluster should be available and serving the keyspace given by the snapshot."
for member in 1 2 3; do
  await "127.0.0.$member:2379"
done
for member in 1 2 3; do
  endpoint=127.0.0.$member:2379
  "$ASK" --endpoints "$endpoint" get '' --prefix -w fields |
    grep -v -e ClusterID -e MemberID -e RaftTerm -e '"Lease"'
  "$ASK" --endpoints "$endpoint" get a --rev 2
  "$ASK" --endpoints "$endpoint" get b --rev 4
  "$ASK" --endpoints "$endpoint" lease timetolive "$lease" --keys |
    sed -e 's/^lease [0-9a-f]* /lease /' -e 's/remaining([0-9]*s)/remaining/'
  "$ASK" --endpoints "$endpoint" member list | cut -d, -f1-4 | sort
done
