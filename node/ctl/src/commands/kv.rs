//! Get, put, del and compaction; their requests are a transaction's too.

use std::io::Read as _;

use etcd_api::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};

use super::Desk;
use crate::args::{Compaction, Del, Get, Put};
use crate::client::Patience;
use crate::failure::{Failure, code, complain, say};
use crate::quote::{int, prefix_end, quote};
use crate::show::{Deleted, Format, Got, PutDone};

const TWO_WAYS: &str = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
const TOO_MANY: &str =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";

/// A key and the end of its range, from a command's words and flags.
fn range(words: &[String], prefix: bool, from_key: bool) -> (Vec<u8>, Vec<u8>) {
    let key = words[0].clone().into_bytes();
    match words.get(1) {
        Some(end) => (key, end.clone().into_bytes()),
        // The smallest key stands for none.
        None if key.is_empty() && (prefix || from_key) => (vec![0], vec![0]),
        None if prefix => {
            let end = prefix_end(&key);
            (key, end)
        }
        None if from_key => (key, vec![0]),
        None => (key, Vec::new()),
    }
}

pub(crate) fn range_request(get: &Get) -> Result<pb::RangeRequest, Failure> {
    if get.words.is_empty() {
        return Err(Failure::bad_args(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    }
    if get.prefix && get.from_key {
        return Err(Failure::bad_args(TWO_WAYS));
    }
    if get.keys_only && get.count_only {
        return Err(Failure::bad_args(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let bad = |text: String| Err(Failure::new(code::BAD_FEATURE, text));
    let serializable = match get.consistency.as_str() {
        "s" => true,
        "l" => false,
        other => return bad(format!("unknown consistency flag {}", quote(other.as_bytes()))),
    };
    if get.words.len() > 1 && (get.prefix || get.from_key) {
        return Err(Failure::bad_args(TOO_MANY));
    }
    let order = match get.order.to_uppercase().as_str() {
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        "" => SortOrder::None,
        _ => return bad(format!("bad sort order {}", get.order)),
    };
    let target = match get.sort_by.to_uppercase().as_str() {
        "CREATE" => SortTarget::Create,
        "KEY" | "" => SortTarget::Key,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return bad(format!("bad sort target {}", get.sort_by)),
    };
    // Keys come in ascending order anyway.
    let order = match (target, order) {
        (SortTarget::Key, SortOrder::Ascend) => SortOrder::None,
        (_, order) => order,
    };
    let (key, range_end) = range(&get.words, get.prefix, get.from_key);
    Ok(pb::RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: get.limit,
        revision: get.rev.max(0),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: get.keys_only,
        count_only: get.count_only,
        ..Default::default()
    })
}

/// Without a value in the words, `input` is asked for one.
pub(crate) fn put_request(
    put: &Put,
    input: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<pb::PutRequest, Failure> {
    let needs =
        || Failure::bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    let key = put.words.first().ok_or_else(needs)?;
    if put.ignore_value && put.words.len() > 1 {
        return Err(Failure::bad_args(
            "put command needs only 1 argument when 'ignore-value' is set",
        ));
    }
    let value = match put.words.get(1) {
        _ if put.ignore_value => Vec::new(),
        Some(value) => value.clone().into_bytes(),
        None => input().filter(|input| !input.is_empty()).ok_or_else(needs)?,
    };
    let lease = int(&put.lease, 16)
        .map_err(|why| Failure::bad_args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(pb::PutRequest {
        key: key.clone().into(),
        value: value.into(),
        lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    })
}

pub(crate) fn delete_request(del: &Del) -> Result<pb::DeleteRangeRequest, Failure> {
    if del.words.is_empty() || del.words.len() > 2 {
        return Err(Failure::bad_args(
            "del command needs one argument as key and an optional argument as range_end",
        ));
    }
    if del.prefix && del.from_key {
        return Err(Failure::bad_args(TWO_WAYS));
    }
    if del.words.len() > 1 {
        if del.prefix || del.from_key {
            return Err(Failure::bad_args(TOO_MANY));
        }
        if !del.range {
            complain(
                "In etcd v3.6, the operation will be suspended for a few seconds to provide the \
                 user time to verify range.",
            );
        }
    }
    let (key, range_end) = range(&del.words, del.prefix, del.from_key);
    Ok(pb::DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: del.prev_kv,
    })
}

pub(crate) async fn get(desk: &Desk, asked: &Get) -> Result<(), Failure> {
    let answer = desk.client.range(Patience::Command, range_request(asked)?).await?;
    if asked.count_only && desk.style.format != Format::Fields {
        return Err(Failure::bad_args("--count-only is only for `--write-out=fields`"));
    }
    if asked.print_value_only && desk.style.format != Format::Simple {
        return Err(Failure::bad_args("print-value-only is only for `--write-out=simple`"));
    }
    let mut style = desk.style;
    style.value_only = asked.print_value_only;
    style.print(&Got(&answer))
}

pub(crate) async fn put(desk: &Desk, asked: &Put) -> Result<(), Failure> {
    let request = put_request(asked, || {
        let mut value = Vec::new();
        std::io::stdin().read_to_end(&mut value).ok().map(|_| value)
    })?;
    let answer = desk.client.put(Patience::Command, request).await?;
    desk.style.print(&PutDone(&answer))
}

pub(crate) async fn del(desk: &Desk, asked: &Del) -> Result<(), Failure> {
    let answer = desk.client.delete(Patience::Command, delete_request(asked)?).await?;
    desk.style.print(&Deleted(&answer))
}

pub(crate) async fn compact(desk: &Desk, asked: &Compaction) -> Result<(), Failure> {
    let [revision] = asked.words.as_slice() else {
        return Err(Failure::bad_args("compaction command needs 1 argument"));
    };
    let revision = int(revision, 10).map_err(Failure::error)?;
    let request = pb::CompactionRequest { revision, physical: asked.physical };
    desk.client.compact(Patience::Command, request).await?;
    say(format!("compacted revision {revision}\n"))
}
