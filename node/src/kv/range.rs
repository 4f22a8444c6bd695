//! Reading ranges of keys at a revision.

use std::cmp::Ordering;

use etcd_api::etcdserverpb::{
    RangeRequest, RangeResponse,
    range_request::{SortOrder, SortTarget},
};
use etcd_api::mvccpb::KeyValue;

use super::error::{KvError, ReadError, RowsError};
use super::keys::KeyRange;
use super::store::{Store, header};

impl Store {
    /// Answers a range request from the state as it is.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        if request.revision > self.revision {
            return Err(KvError::FutureRevision.into());
        }
        if request.revision > 0 && request.revision < self.compacted {
            return Err(KvError::Compacted.into());
        }
        Ok(self.range_within(request, self.revision)?)
    }

    /// Answers a range request whose revision is known to be readable; `visible` is the revision
    /// that counts as current.
    pub(super) fn range_within(
        &self,
        request: &RangeRequest,
        visible: i64,
    ) -> Result<RangeResponse, RowsError> {
        let at = if request.revision <= 0 { visible } else { request.revision };
        let range = KeyRange::new(&request.key, &request.range_end);
        let mut response = RangeResponse { header: header(visible), ..RangeResponse::default() };
        if request.count_only {
            response.count = count(self.index.range(&range, at).count());
            return Ok(response);
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        // Where order or filters decide what comes first, everything has to be looked at.
        let filtered = request.min_mod_revision != 0
            || request.max_mod_revision != 0
            || request.min_create_revision != 0
            || request.max_create_revision != 0;
        let look_at = match limit {
            Some(limit) if request.sort_order == 0 && !filtered => limit.saturating_add(1),
            _ => usize::MAX,
        };
        let mut found = 0;
        for (_, version) in self.index.range(&range, at) {
            found += 1;
            if found <= look_at && kept(request, version.row.main, version.created) {
                response.kvs.push(self.rows.get(version.row)?.1);
            }
        }
        response.count = count(found);
        sort(request, &mut response.kvs);
        if let Some(limit) = limit
            && response.kvs.len() > limit
        {
            response.kvs.truncate(limit);
            response.more = true;
        }
        if request.keys_only {
            response.kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(response)
    }
}

fn count(keys: usize) -> i64 {
    i64::try_from(keys).expect("a map's length fits")
}

/// Whether a key is within the request's bounds on revisions; a bound of 0 is none.
fn kept(request: &RangeRequest, modified: i64, created: i64) -> bool {
    let within = |revision: i64, min: i64, max: i64| {
        (min == 0 || revision >= min) && (max == 0 || revision <= max)
    };
    within(modified, request.min_mod_revision, request.max_mod_revision)
        && within(created, request.min_create_revision, request.max_create_revision)
}

/// Sorts as asked; an order or target of no known number changes nothing, as in etcd 3.5.
fn sort(request: &RangeRequest, kvs: &mut [KeyValue]) {
    let Ok(target) = SortTarget::try_from(request.sort_target) else { return };
    let compare = |one: &KeyValue, other: &KeyValue| -> Ordering {
        match target {
            SortTarget::Key => one.key.cmp(&other.key),
            SortTarget::Version => one.version.cmp(&other.version),
            SortTarget::Create => one.create_revision.cmp(&other.create_revision),
            SortTarget::Mod => one.mod_revision.cmp(&other.mod_revision),
            SortTarget::Value => one.value.cmp(&other.value),
        }
    };
    match SortOrder::try_from(request.sort_order) {
        Ok(SortOrder::None) if target == SortTarget::Key => {}
        Ok(SortOrder::None | SortOrder::Ascend) => kvs.sort_by(compare),
        Ok(SortOrder::Descend) => kvs.sort_by(|one, other| compare(other, one)),
        Err(_) => {}
    }
}
