//! Watches.

use etcd_api::etcdserverpb::watch_create_request::FilterType;
use etcd_api::etcdserverpb::watch_request::RequestUnion;
use etcd_api::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest as WireRequest,
    WatchResponse as WireResponse,
};
use etcd_api::mvccpb::{Event, event::EventType};
use lab_protocol::{
    WatchEvent, WatchEventKind, WatchFilter, WatchRequest, WatchResponse, WatchTold,
};

use crate::rows::{range, row};

/// Asks for a watch. `start_revision` is where it begins this time: elsewhere than the first time
/// when it is resumed. With `fragment` its client can put split responses together.
pub fn watch(request: &WatchRequest, start_revision: i64, fragment: bool) -> WireRequest {
    let (key, range_end) = range(&request.keys);
    let filter = |filter: &WatchFilter| match filter {
        WatchFilter::NoPut => FilterType::Noput.into(),
        WatchFilter::NoDelete => FilterType::Nodelete.into(),
    };
    let create = WatchCreateRequest {
        key,
        range_end,
        start_revision,
        progress_notify: request.progress_notify,
        filters: request.filters.iter().map(filter).collect(),
        prev_kv: request.prev_kv,
        watch_id: 0,
        fragment,
    };
    WireRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

/// Asks how far all watches of a stream have come.
pub fn progress() -> WireRequest {
    let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
    WireRequest { request_union: Some(union) }
}

/// What a response says; `events` are its own, behind those of the fragments before it.
pub fn watched(response: &WireResponse, events: Vec<Event>) -> WatchResponse {
    let told = match response {
        WireResponse { canceled: true, compact_revision: 1.., .. } => {
            WatchTold::Compacted { compact_revision: response.compact_revision }
        }
        WireResponse { canceled: true, cancel_reason, .. } => {
            WatchTold::Canceled { why: cancel_reason.clone() }
        }
        WireResponse { created: true, .. } => WatchTold::Created,
        _ if events.is_empty() => WatchTold::Progress,
        _ => WatchTold::Events(events.into_iter().filter_map(changed).collect()),
    };
    WatchResponse { revision: response.header.unwrap_or_default().revision, told }
}

fn changed(event: Event) -> Option<WatchEvent> {
    let kind = match event.r#type() {
        EventType::Put => WatchEventKind::Put,
        EventType::Delete => WatchEventKind::Delete,
    };
    Some(WatchEvent { kind, row: row(event.kv?), prev: event.prev_kv.map(row) })
}

#[cfg(test)]
mod tests {
    use etcd_api::etcdserverpb::ResponseHeader;
    use etcd_api::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn a_response_says_one_thing() {
        let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
        let of = |response| {
            let response = WireResponse { header, ..response };
            let events = response.events.clone();
            watched(&response, events).told
        };
        let plain = WireResponse::default;
        assert_eq!(of(plain()), WatchTold::Progress);
        assert_eq!(of(WireResponse { created: true, ..plain() }), WatchTold::Created);
        let compacted = WireResponse { canceled: true, compact_revision: 7, ..plain() };
        assert_eq!(of(compacted), WatchTold::Compacted { compact_revision: 7 });
        let canceled = WireResponse { canceled: true, cancel_reason: "w".into(), ..plain() };
        assert_eq!(of(canceled), WatchTold::Canceled { why: "w".into() });
        let kv = KeyValue { key: "w/1".into(), mod_revision: 8, ..KeyValue::default() };
        let event = Event { kv: Some(kv), ..Event::default() };
        let WatchTold::Events(events) = of(WireResponse { events: vec![event], ..plain() }) else {
            panic!("a change is no news");
        };
        assert_eq!((events[0].row.key.as_str(), events[0].row.mod_revision), ("w/1", 8));
    }
}
