//! Alarms: raised, heeded, listed, ended, and kept.

use etcd_api::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, alarm_request::AlarmAction};

use AlarmAction::{Activate, Deactivate, Get};
use AlarmType::{Corrupt, None as Any, Nospace};

use super::*;

#[test]
fn alarms_refuse_what_they_must_until_they_are_ended() {
    let (mut store, mut disk) = new_store();
    let alarm = |action, member_id, alarm| {
        Op::Alarm(AlarmRequest { action: i32::from(action), member_id, alarm: i32::from(alarm) })
    };
    let told = |store: &mut Store, op: Op| match apply(store, op).result {
        Ok(Response::Alarm(answer)) => answer.alarms,
        other => panic!("{other:?}"),
    };
    let active = |member_id, alarm| AlarmMember { member_id, alarm: i32::from(alarm) };
    done(&mut store, Op::Put(put("a", "1")));
    done(&mut store, Op::LeaseGrant { id: 5, ttl_seconds: 60 });
    assert_eq!(told(&mut store, alarm(Get, 0, Any)), []);
    assert_eq!(told(&mut store, alarm(Activate, 7, Nospace)), [active(7, Nospace)]);
    assert_eq!(told(&mut store, alarm(Activate, 7, Nospace)), [active(7, Nospace)], "again");
    assert_eq!(told(&mut store, alarm(Activate, 8, Nospace)), [active(8, Nospace)]);
    assert_eq!(told(&mut store, alarm(Get, 0, Corrupt)), []);
    let hash = store.hash();
    disk.flush(&mut store);
    let mut store = disk.load();
    assert_eq!(store.hash(), hash);
    let writes = || {
        let txn = |op: RequestOp| Op::Txn(TxnRequest { success: vec![op], ..Default::default() });
        [
            (Op::Put(put("a", "2")), true),
            (txn(put("b", "1").op()), true),
            (Op::LeaseGrant { id: 6, ttl_seconds: 60 }, true),
            (txn(delete("b", "").op()), false),
            (Op::DeleteRange(delete("b", "")), false),
            (Op::LeaseRevoke { id: 9 }, false),
        ]
    };
    for (op, grows) in writes() {
        let refused = apply(&mut store, op.clone()).result == Err(KvError::NoSpace);
        assert_eq!(refused, grows, "{op:?}");
    }
    assert_eq!(told(&mut store, alarm(Deactivate, 7, Nospace)), [active(7, Nospace)]);
    assert_eq!(told(&mut store, alarm(Deactivate, 7, Nospace)), [], "again");
    assert_eq!(apply(&mut store, Op::Put(put("a", "2"))).result, Err(KvError::NoSpace));
    assert_eq!(told(&mut store, alarm(Get, 0, Any)), [active(8, Nospace)]);
    told(&mut store, alarm(Deactivate, 8, Nospace));
    done(&mut store, Op::Put(put("a", "2")));
    told(&mut store, alarm(Activate, 8, Corrupt));
    for (op, _) in writes() {
        assert_eq!(apply(&mut store, op.clone()).result, Err(KvError::Corrupt), "{op:?}");
    }
    told(&mut store, alarm(Deactivate, 8, Corrupt));
    disk.flush(&mut store);
    assert_eq!(disk.load().alarms().count(), 0);
}
