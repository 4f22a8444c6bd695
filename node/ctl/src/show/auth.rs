//! Users, roles and permissions.

use etcd_api::authpb::Permission;
use etcd_api::authpb::permission::Type;
use etcd_api::etcdserverpb::{
    AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetResponse,
    AuthUserListResponse, ResponseHeader,
};

use super::fields::Fields;
use super::json::{Object, string};
use super::{Show, Style, line};
use crate::quote::quote;

/// Something that was done: the answer is a header, the rest the client knows.
pub(crate) struct Done {
    pub(crate) header: Option<ResponseHeader>,
    pub(crate) text: String,
}

/// A user's name and what it has.
pub(crate) struct UserGot<'a>(pub(crate) &'a str, pub(crate) &'a AuthUserGetResponse);
/// All users.
pub(crate) struct UserNames<'a>(pub(crate) &'a AuthUserListResponse);
/// A role's name and what it permits.
pub(crate) struct RoleGot<'a>(pub(crate) &'a str, pub(crate) &'a AuthRoleGetResponse);
/// All roles.
pub(crate) struct RoleNames<'a>(pub(crate) &'a AuthRoleListResponse);
/// Whether users and roles are on.
pub(crate) struct AuthStatus<'a>(pub(crate) &'a AuthStatusResponse);

impl Show for Done {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, &self.text);
    }

    fn json(&self) -> String {
        Object::new().header(self.header.as_ref()).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.header.as_ref());
        Some(())
    }
}

impl Show for UserGot<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("User: {}", self.0));
        let roles: String = self.1.roles.iter().map(|role| format!(" {role}")).collect();
        line(out, format!("Roles:{roles}"));
    }

    fn json(&self) -> String {
        let AuthUserGetResponse { header, roles } = self.1;
        Object::new().header(header.as_ref()).list("roles", roles, |role| string(role)).end()
    }
}

impl Show for UserNames<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        self.0.users.iter().for_each(|user| line(out, user));
    }

    fn json(&self) -> String {
        let AuthUserListResponse { header, users } = self.0;
        Object::new().header(header.as_ref()).list("users", users, |user| string(user)).end()
    }
}

impl Show for RoleGot<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("Role {}", self.0));
        for (heading, kind) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
            line(out, heading);
            let permits = |permission: &&Permission| {
                permission.perm_type() == kind || permission.perm_type() == Type::Readwrite
            };
            for permission in self.1.perm.iter().filter(permits) {
                out.push(b'\t');
                keys(permission, out);
            }
        }
    }

    fn json(&self) -> String {
        let AuthRoleGetResponse { header, perm } = self.1;
        let one = |permission: &Permission| {
            let Permission { perm_type, key, range_end } = permission;
            Object::new()
                .number("permType", *perm_type)
                .bytes("key", key)
                .bytes("range_end", range_end)
                .end()
        };
        Object::new().header(header.as_ref()).list("perm", perm, one).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.1.header.as_ref());
        for permission in &self.1.perm {
            // Two blanks, as in etcdctl.
            out.line(&format!("\"PermType\" :  {}", permission.perm_type().as_str_name()));
            out.quoted("Key", &permission.key);
            out.quoted("RangeEnd", &permission.range_end);
        }
        Some(())
    }
}

/// The keys of a permission: one, a range, or all from one on.
fn keys(permission: &Permission, out: &mut Vec<u8>) {
    let Permission { perm_type: _, key, range_end } = permission;
    if range_end.is_empty() {
        line(out, key);
        return;
    }
    out.push(b'[');
    out.extend(key);
    if range_end.as_ref() == b"\0" {
        out.extend(b", <open ended>");
    } else {
        out.extend(b", ");
        out.extend(range_end);
        out.push(b')');
    }
    if crate::quote::prefix_end(key) == range_end.as_ref() {
        out.extend(b" (prefix ");
        out.extend(key);
        out.push(b')');
    }
    line(out, "");
}

impl Show for RoleNames<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        self.0.roles.iter().for_each(|role| line(out, role));
    }

    fn json(&self) -> String {
        let AuthRoleListResponse { header, roles } = self.0;
        Object::new().header(header.as_ref()).list("roles", roles, |role| string(role)).end()
    }

    fn fields(&self, out: &mut Fields) -> Option<()> {
        out.header(self.0.header.as_ref());
        let roles: String =
            self.0.roles.iter().map(|role| format!(" {}", quote(role.as_bytes()))).collect();
        out.line(&format!("\"Roles\" :{roles}"));
        Some(())
    }
}

impl Show for AuthStatus<'_> {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line(out, format!("Authentication Status: {}", self.0.enabled));
        line(out, format!("AuthRevision: {}", self.0.auth_revision));
    }

    fn json(&self) -> String {
        let AuthStatusResponse { header, enabled, auth_revision } = self.0;
        Object::new()
            .header(header.as_ref())
            .truth("enabled", *enabled)
            .number("authRevision", *auth_revision)
            .end()
    }
}
