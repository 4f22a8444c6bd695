//! Leases.

use etcd_api::etcdserverpb::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
};

use super::fields::Fields;
use super::json::{Object, array, base64, string};
use super::{Show, Style, line};

/// A lease that was granted.
pub(crate) struct Granted<'a>(pub(crate) &'a LeaseGrantResponse);
/// A lease that was revoked, and its id.
pub(crate) struct Revoked<'a>(pub(crate) i64, pub(crate) &'a LeaseRevokeResponse);
/// A lease that was renewed.
pub(crate) struct KeptAlive<'a>(pub(crate) &'a LeaseKeepAliveResponse);
/// What is left of a lease, and whether its keys were asked for.
pub(crate) struct TimeToLive<'a>(pub(crate) &'a LeaseTimeToLiveResponse, pub(crate) bool);
/// All leases.
pub(crate) struct Leases<'a>(pub(crate) &'a LeaseLeasesResponse);

impl Show for Granted<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("lease {:016x} granted with TTL({}s)", self.0.id, self.0.ttl));
    }

    fn json(&self) -> String {
        let LeaseGrantResponse { header, id, ttl, error } = self.0;
        Object::new()
            .inlined(header.as_ref())
            .raw("ID", id)
            .raw("TTL", ttl)
            .raw("Error", string(error))
            .end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        out.plain("ID", self.0.id);
        out.plain("TTL", self.0.ttl);
        Some(())
    }
}

impl Show for Revoked<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("lease {:016x} revoked", self.0));
    }

    fn json(&self) -> String {
        Object::new().header(self.1.header.as_ref()).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.1.header.as_ref());
        Some(())
    }
}

impl Show for KeptAlive<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("lease {:016x} keepalived with TTL({})", self.0.id, self.0.ttl));
    }

    fn json(&self) -> String {
        let LeaseKeepAliveResponse { header, id, ttl } = self.0;
        Object::new().inlined(header.as_ref()).raw("ID", id).raw("TTL", ttl).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        out.plain("ID", self.0.id);
        out.plain("TTL", self.0.ttl);
        Some(())
    }
}

impl Show for TimeToLive<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        let LeaseTimeToLiveResponse { header: _, id, ttl, granted_ttl, keys } = self.0;
        if *granted_ttl == 0 && *ttl == -1 {
            line(out, format!("lease {id:016x} already expired"));
            return;
        }
        let text = format!("lease {id:016x} granted with TTL({granted_ttl}s), remaining({ttl}s)");
        out.extend(text.as_bytes());
        if self.1 {
            out.extend(b", attached keys([");
            out.extend(keys.join(&b' '));
            out.extend(b"])");
        }
        line(out, "");
    }

    fn json(&self) -> String {
        let LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys } = self.0;
        let keys = match keys.is_empty() {
            true => "null".to_owned(),
            false => array(keys, |key| base64(key)),
        };
        Object::new()
            .inlined(header.as_ref())
            .raw("id", id)
            .raw("ttl", ttl)
            .raw("granted-ttl", granted_ttl)
            .raw("keys", keys)
            .end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        let LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys } = self.0;
        out.header(header.as_ref());
        out.plain("ID", id);
        out.plain("TTL", ttl);
        out.plain("GrantedTTL", granted_ttl);
        keys.iter().for_each(|key| out.quoted("Key", key));
        Some(())
    }
}

impl Show for Leases<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("found {} leases", self.0.leases.len()));
        self.0.leases.iter().for_each(|lease| line(out, format!("{:016x}", lease.id)));
    }

    fn json(&self) -> String {
        let leases = array(&self.0.leases, |lease| Object::new().raw("id", lease.id).end());
        Object::new().inlined(self.0.header.as_ref()).raw("leases", leases).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        self.0.leases.iter().for_each(|lease| out.plain("ID", lease.id));
        Some(())
    }
}
