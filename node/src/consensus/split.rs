//! Appends that fit a frame.
//!
//! raft-rs keeps to its limit for the entries of one message when it makes one, and then appends
//! further entries to a message that has not left yet (`batch_append`) without looking at the
//! limit. A member that was busy for a moment under many large writes so makes a message that no
//! receiver takes. It is sent as several, each of which goes on where the one before it ends.

use raft::eraftpb::{Entry, Message, MessageType};

/// Bytes of entries in one frame. Half of what a frame may have
/// ([`MAX_FRAME_BYTES`](node_protocol::frame::MAX_FRAME_BYTES)): no entry comes near the other half.
const APPEND_BYTES: usize = 8 << 20;

/// What an entry's own fields take beside its bytes, generously.
const FIELDS_BYTES: usize = 64;

/// The same messages in the same order, appends with more than [`APPEND_BYTES`] in pieces.
pub(super) fn fitting(messages: Vec<Message>) -> Vec<Message> {
    if messages.iter().all(fits) {
        return messages;
    }
    messages.into_iter().flat_map(pieces).collect()
}

fn fits(message: &Message) -> bool {
    message.get_msg_type() != MessageType::MsgAppend
        || message.entries.iter().map(bytes).sum::<usize>() <= APPEND_BYTES
}

fn bytes(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + FIELDS_BYTES
}

fn pieces(mut message: Message) -> Vec<Message> {
    if fits(&message) {
        return vec![message];
    }
    let mut rest = message.take_entries().into_vec().into_iter().peekable();
    let mut pieces = Vec::new();
    while rest.peek().is_some() {
        let mut piece = message.clone();
        let mut room = APPEND_BYTES;
        while let Some(entry) =
            rest.next_if(|entry| piece.entries.is_empty() || bytes(entry) <= room)
        {
            room = room.saturating_sub(bytes(&entry));
            (message.index, message.log_term) = (entry.index, entry.term);
            piece.entries.push(entry);
        }
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64, data: usize) -> Entry {
        Entry { index, term, data: vec![7; data].into(), ..Entry::default() }
    }

    fn append(after: (u64, u64), entries: Vec<Entry>) -> Message {
        Message {
            msg_type: MessageType::MsgAppend,
            to: 2,
            term: 5,
            index: after.0,
            log_term: after.1,
            commit: 9,
            entries: entries.into(),
            ..Message::default()
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let messages = vec![
            append((3, 1), vec![entry(4, 1, APPEND_BYTES / 2), entry(5, 1, 10)]),
            append((5, 1), Vec::new()),
            Message { msg_type: MessageType::MsgHeartbeat, to: 2, ..Message::default() },
        ];
        assert_eq!(fitting(messages.clone()), messages);
    }

    #[test]
    fn a_large_append_is_sent_in_pieces_that_follow_each_other() {
        let entries: Vec<_> =
            (4..40).map(|at| entry(at, if at < 20 { 4 } else { 5 }, 1 << 20)).collect();
        let beat = Message { msg_type: MessageType::MsgHeartbeat, to: 3, ..Message::default() };
        let sent = fitting(vec![append((3, 2), entries.clone()), beat.clone()]);
        let (last, appends) = sent.split_last().expect("some");
        assert_eq!((last, appends.len() > 4), (&beat, true));
        let mut before = (3, 2);
        let mut seen = Vec::new();
        for piece in appends {
            assert!(fits(piece) && !piece.entries.is_empty());
            assert_eq!((piece.index, piece.log_term), before);
            assert_eq!((piece.to, piece.term, piece.commit), (2, 5, 9));
            before = piece.entries.last().map(|last| (last.index, last.term)).expect("some");
            seen.extend(piece.entries.iter().cloned());
        }
        assert_eq!(seen, entries);
    }

    #[test]
    fn an_entry_that_is_larger_goes_alone() {
        let entries = vec![entry(4, 1, 10), entry(5, 1, APPEND_BYTES), entry(6, 1, 10)];
        let sent = fitting(vec![append((3, 1), entries)]);
        let indices: Vec<Vec<_>> =
            sent.iter().map(|m| m.entries.iter().map(|entry| entry.index).collect()).collect();
        assert_eq!(indices, [[4], [5], [6]]);
    }
}
