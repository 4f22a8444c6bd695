//! Keys, transactions and watches.

use etcd_api::etcdserverpb::response_op::Response;
use etcd_api::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse, WatchResponse,
};
use etcd_api::mvccpb::event::EventType;
use etcd_api::mvccpb::{Event, KeyValue};

use super::fields::Fields;
use super::json::{Object, array, key_value};
use super::{Show, Style, line};

/// What a get found.
pub(crate) struct Got<'a>(pub(crate) &'a RangeResponse);
/// What a put replaced.
pub(crate) struct PutDone<'a>(pub(crate) &'a PutResponse);
/// What a delete deleted.
pub(crate) struct Deleted<'a>(pub(crate) &'a DeleteRangeResponse);
/// What a transaction did.
pub(crate) struct TxnDone<'a>(pub(crate) &'a TxnResponse);
/// What a watch was told.
pub(crate) struct Watched<'a>(pub(crate) &'a WatchResponse);

/// A pair, its key and its value each on a line.
fn pair(kv: &KeyValue, style: Style, out: &mut Vec<u8>) {
    let mut write = |bytes: &[u8]| {
        if style.hex {
            let hex: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            line(out, hex);
        } else {
            line(out, bytes);
        }
    };
    if !style.value_only {
        write(&kv.key);
    }
    write(&kv.value);
}

/// The name of an event's kind.
pub(crate) fn kind(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

impl Show for Got<'_> {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        self.0.kvs.iter().for_each(|kv| pair(kv, style, out));
    }

    fn json(&self) -> String {
        let RangeResponse { header, kvs, more, count } = self.0;
        Object::new()
            .header(header.as_ref())
            .list("kvs", kvs, key_value)
            .truth("more", *more)
            .number("count", *count)
            .end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        self.0.kvs.iter().for_each(|kv| out.key_value("", kv));
        out.plain("More", self.0.more);
        out.plain("Count", self.0.count);
        Some(())
    }
}

impl Show for PutDone<'_> {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        line(out, "OK");
        self.0.prev_kv.iter().for_each(|kv| pair(kv, style, out));
    }

    fn json(&self) -> String {
        let PutResponse { header, prev_kv } = self.0;
        Object::new().header(header.as_ref()).maybe("prev_kv", prev_kv.as_ref(), key_value).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        self.0.prev_kv.iter().for_each(|kv| out.key_value("Prev", kv));
        Some(())
    }
}

impl Show for Deleted<'_> {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        line(out, self.0.deleted.to_string());
        self.0.prev_kvs.iter().for_each(|kv| pair(kv, style, out));
    }

    fn json(&self) -> String {
        let DeleteRangeResponse { header, deleted, prev_kvs } = self.0;
        Object::new()
            .header(header.as_ref())
            .number("deleted", *deleted)
            .list("prev_kvs", prev_kvs, key_value)
            .end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        out.plain("Deleted", self.0.deleted);
        self.0.prev_kvs.iter().for_each(|kv| out.key_value("Prev", kv));
        Some(())
    }
}

impl Show for TxnDone<'_> {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        line(out, if self.0.succeeded { "SUCCESS" } else { "FAILURE" });
        for answer in self.0.responses.iter().filter_map(|answer| answer.response.as_ref()) {
            line(out, "");
            match answer {
                Response::ResponseRange(answer) => Got(answer).simple(style, out),
                Response::ResponsePut(answer) => PutDone(answer).simple(style, out),
                Response::ResponseDeleteRange(answer) => Deleted(answer).simple(style, out),
                Response::ResponseTxn(answer) => TxnDone(answer).simple(style, out),
            }
        }
    }

    fn json(&self) -> String {
        let TxnResponse { header, succeeded, responses } = self.0;
        Object::new()
            .header(header.as_ref())
            .truth("succeeded", *succeeded)
            .list("responses", responses, |answer| {
                let (name, value) = match &answer.response {
                    Some(Response::ResponseRange(answer)) => ("response_range", Got(answer).json()),
                    Some(Response::ResponsePut(answer)) => ("response_put", PutDone(answer).json()),
                    Some(Response::ResponseDeleteRange(answer)) => {
                        ("response_delete_range", Deleted(answer).json())
                    }
                    Some(Response::ResponseTxn(answer)) => ("response_txn", TxnDone(answer).json()),
                    None => return Object::new().raw("Response", "null").end(),
                };
                Object::new().raw("Response", Object::new().raw(name, value).end()).end()
            })
            .end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        out.plain("Succeeded", self.0.succeeded);
        for answer in self.0.responses.iter().filter_map(|answer| answer.response.as_ref()) {
            match answer {
                Response::ResponseRange(answer) => Got(answer).fields(out),
                Response::ResponsePut(answer) => PutDone(answer).fields(out),
                Response::ResponseDeleteRange(answer) => Deleted(answer).fields(out),
                Response::ResponseTxn(answer) => TxnDone(answer).fields(out),
            }?;
        }
        Some(())
    }
}

impl Show for Watched<'_> {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        for event in &self.0.events {
            line(out, kind(event));
            event.prev_kv.iter().for_each(|kv| pair(kv, style, out));
            event.kv.iter().for_each(|kv| pair(kv, style, out));
        }
    }

    fn json(&self) -> String {
        let header = Object::new().inlined(self.0.header.as_ref()).end();
        let events = array(&self.0.events, |event| {
            Object::new()
                .number("type", event.r#type)
                .maybe("kv", event.kv.as_ref(), key_value)
                .maybe("prev_kv", event.prev_kv.as_ref(), key_value)
                .end()
        });
        Object::new()
            .raw("Header", header)
            .raw("Events", events)
            .raw("CompactRevision", self.0.compact_revision)
            .raw("Canceled", self.0.canceled)
            .raw("Created", self.0.created)
            .end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        for event in &self.0.events {
            out.plain("Type", kind(event));
            event.prev_kv.iter().for_each(|kv| out.key_value("Prev", kv));
            event.kv.iter().for_each(|kv| out.key_value("", kv));
        }
        Some(())
    }
}
