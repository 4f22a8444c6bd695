//! Changes of the configuration as bytes, read within bounds.
//!
//! raft-rs writes such an entry with its own protobuf codec, whose reader recurses without limit
//! on unknown groups. So bytes that came from a disk or a peer are read here: the known fields of
//! eraftpb's `ConfChangeV2`, nothing else, at most 64 KiB.

use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

/// No change may be longer.
const MAX_BYTES: usize = 64 * 1024;

/// Reads a `ConfChangeV2`; `None` for anything that raft-rs would not have written.
pub(super) fn decode_v2(bytes: &Bytes) -> Option<ConfChangeV2> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let mut change = ConfChangeV2::default();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        match tag(&mut rest)? {
            (1, Wire::Varint(number)) => {
                change.set_transition(match number {
                    0 => ConfChangeTransition::Auto,
                    1 => ConfChangeTransition::Implicit,
                    2 => ConfChangeTransition::Explicit,
                    _ => return None,
                });
            }
            (2, Wire::Bytes(single)) => {
                change.mut_changes().push(decode_single(single)?);
            }
            (3, Wire::Bytes(context)) => change.context = context,
            _ => return None,
        }
    }
    Some(change)
}

fn decode_single(mut rest: Bytes) -> Option<ConfChangeSingle> {
    let mut single = ConfChangeSingle::default();
    while !rest.is_empty() {
        match tag(&mut rest)? {
            (1, Wire::Varint(number)) => {
                single.set_change_type(match number {
                    0 => ConfChangeType::AddNode,
                    1 => ConfChangeType::RemoveNode,
                    2 => ConfChangeType::AddLearnerNode,
                    _ => return None,
                });
            }
            (2, Wire::Varint(id)) => single.node_id = id,
            _ => return None,
        }
    }
    Some(single)
}

enum Wire {
    Varint(u64),
    Bytes(Bytes),
}

fn tag(rest: &mut Bytes) -> Option<(u64, Wire)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Wire::Varint(varint(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            (length <= rest.len()).then(|| Wire::Bytes(rest.split_to(length)))?
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(rest: &mut Bytes) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *rest.first()?;
        let _ = rest.split_to(1);
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use protobuf::Message;

    use super::*;

    #[test]
    fn what_raft_writes_is_read() {
        let mut change = ConfChangeV2::default();
        change.set_context(Bytes::from_static(b"who"));
        for (kind, id) in [
            (ConfChangeType::AddNode, u64::MAX),
            (ConfChangeType::RemoveNode, 1),
            (ConfChangeType::AddLearnerNode, 300),
        ] {
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = id;
            change.mut_changes().push(single);
        }
        let bytes = Bytes::from(change.write_to_bytes().expect("encodes"));
        assert_eq!(decode_v2(&bytes), Some(change));
        assert_eq!(decode_v2(&Bytes::new()), Some(ConfChangeV2::default()), "leave joint");
    }

    #[test]
    fn anything_else_is_refused() {
        let group: Vec<u8> = vec![0x0b; 1000];
        for bytes in [
            vec![0x08],
            vec![0x08, 9],
            vec![0x12, 5, 1],
            vec![0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            group,
            vec![0x22, 0],
            vec![0; MAX_BYTES + 1],
        ] {
            assert_eq!(decode_v2(&bytes.into()), None);
        }
    }
}
