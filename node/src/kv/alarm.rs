//! Alarms: what is wrong with a member and has to be heeded by all of them.
//!
//! | alarm | raised by | while it is active, on every member |
//! |---|---|---|
//! | `NOSPACE` | a member whose state is larger than its quota | puts, transactions with a put and lease grants are refused |
//! | `CORRUPT` | a client that found members' states to differ; no member raises it yet | every write is refused |
//!
//! They are part of the replicated state, so members agree on what they refuse, and only an
//! operator's `disarm` ends them. Kinds that this version does not know are not raised.
//!
//! ```text
//!   table Meta:  "alarm/" · 8 bytes member, big endian · 4 bytes kind, big endian  →  nothing
//! ```

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use etcd_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, alarm_request::AlarmAction,
};
use node_protocol::MemberId;

use super::change::{Change, Table};
use super::check::op_grows;
use super::command::Op;
use super::error::KvError;
use super::store::{Store, header};

/// How names of alarms in the table of single values begin.
pub(super) const ALARM_PREFIX: &[u8] = b"alarm/";

/// All active alarms: the member that has it, and the number of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Alarms(BTreeSet<(MemberId, i32)>);

impl Alarms {
    fn of_kind(&self, kind: AlarmType) -> bool {
        self.0.iter().any(|(_, active)| *active == kind as i32)
    }

    /// Why an operation is refused as long as these are active.
    pub(super) fn refusal(&self, op: &Op) -> Option<KvError> {
        if self.0.is_empty() {
            return None;
        }
        let is_of_members = matches!(op, Op::Alarm(_) | Op::Publish { .. } | Op::ChangeMembers(_));
        if self.of_kind(AlarmType::Corrupt) && !is_of_members {
            return Some(KvError::Corrupt);
        }
        (self.of_kind(AlarmType::Nospace) && op_grows(op)).then_some(KvError::NoSpace)
    }

    /// Takes a stored row in, named by what follows the prefix; says what is wrong with it
    /// otherwise.
    pub(super) fn restore(&mut self, name: &[u8]) -> Result<(), &'static str> {
        let (member, kind) = name.split_first_chunk::<8>().ok_or("its name is too short")?;
        let kind = kind.try_into().map_err(|_| "its name has an impossible length")?;
        self.0.insert((MemberId(u64::from_be_bytes(*member)), i32::from_be_bytes(kind)));
        Ok(())
    }
}

fn is_known(kind: i32) -> bool {
    matches!(AlarmType::try_from(kind), Ok(AlarmType::Nospace | AlarmType::Corrupt))
}

/// The change that raises an alarm; none for a kind that nobody knows.
pub(super) fn change(alarm: AlarmMember) -> Option<Change> {
    let AlarmMember { member_id, alarm } = alarm;
    let key = is_known(alarm).then(|| row_key(MemberId(member_id), alarm))?;
    Some(Change::set(Table::Meta, key, Bytes::new()))
}

fn row_key(member: MemberId, kind: i32) -> Bytes {
    let mut key = BytesMut::with_capacity(ALARM_PREFIX.len() + 12);
    key.put_slice(ALARM_PREFIX);
    key.put_u64(member.0);
    key.put_i32(kind);
    key.freeze()
}

impl Store {
    /// The active alarms, by member and kind.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmMember> + '_ {
        let active = self.alarms.0.iter();
        active.map(|(member, alarm)| AlarmMember { member_id: member.0, alarm: *alarm })
    }

    /// Whether this member has raised this alarm.
    pub fn has_alarm(&self, member: MemberId, kind: AlarmType) -> bool {
        self.alarms.0.contains(&(member, kind as i32))
    }

    /// Raises an alarm, ends one, or lists those of a kind (none: of every kind). The answer holds
    /// the alarms it is about; an alarm that is to be ended and is not active is none.
    pub(super) fn alarm(&mut self, request: &AlarmRequest) -> AlarmResponse {
        let AlarmRequest { action, member_id, alarm } = *request;
        let member = MemberId(member_id);
        let alarms = match AlarmAction::try_from(action) {
            Ok(AlarmAction::Get) => self
                .alarms()
                .filter(|active| alarm == AlarmType::None as i32 || active.alarm == alarm)
                .collect(),
            Ok(AlarmAction::Activate) if !is_known(alarm) => Vec::new(),
            Ok(AlarmAction::Activate) => {
                if self.alarms.0.insert((member, alarm)) {
                    self.record(Change::set(Table::Meta, row_key(member, alarm), Bytes::new()));
                }
                vec![AlarmMember { member_id, alarm }]
            }
            Ok(AlarmAction::Deactivate) if self.alarms.0.remove(&(member, alarm)) => {
                self.record(Change::remove(Table::Meta, row_key(member, alarm)));
                vec![AlarmMember { member_id, alarm }]
            }
            Ok(AlarmAction::Deactivate) | Err(_) => Vec::new(),
        };
        AlarmResponse { header: header(self.revision), alarms }
    }
}
