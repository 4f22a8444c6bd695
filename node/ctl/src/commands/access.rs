//! Roles and what they permit.

use etcd_api::authpb::Permission;
use etcd_api::authpb::permission::Type;
use etcd_api::etcdserverpb as pb;

use super::Desk;
use super::auth::{done, one};
use crate::args::{Role, RolePermission};
use crate::client::Patience::Endless;
use crate::failure::Failure;
use crate::quote::{prefix_end, quote};
use crate::show::{RoleGot, RoleNames};

pub(crate) async fn role(desk: &Desk, asked: &Role) -> Result<(), Failure> {
    match asked {
        Role::Add(asked) => {
            let name = one(&asked.words, "role add command requires role name as its argument")?;
            let question = pb::AuthRoleAddRequest { name: name.clone() };
            let header = desk.client.role_add(Endless, question).await?.header;
            done(desk, header, format!("Role {name} created"))
        }
        Role::Delete(asked) => {
            let role = one(&asked.words, "role delete command requires role name as its argument")?;
            let question = pb::AuthRoleDeleteRequest { role: role.clone() };
            let header = desk.client.role_delete(Endless, question).await?.header;
            done(desk, header, format!("Role {role} deleted"))
        }
        Role::Get(asked) => {
            let role = one(&asked.words, "role get command requires role name as its argument")?;
            let question = pb::AuthRoleGetRequest { role: role.clone() };
            let answer = desk.client.role_get(Endless, question).await?;
            desk.style.print(&RoleGot(role, &answer))
        }
        Role::List(asked) if !asked.words.is_empty() => {
            Err(Failure::bad_args("role list command requires no arguments"))
        }
        Role::List(_) => {
            let answer = desk.client.role_list(Endless, pb::AuthRoleListRequest {}).await?;
            desk.style.print(&RoleNames(&answer))
        }
        Role::GrantPermission(asked) => grant(desk, asked).await,
        Role::RevokePermission(asked) => revoke(desk, asked).await,
    }
}

async fn grant(desk: &Desk, asked: &RolePermission) -> Result<(), Failure> {
    let [name, kind, keys @ ..] = asked.words.as_slice() else {
        return Err(Failure::bad_args(GRANT));
    };
    if keys.is_empty() {
        return Err(Failure::bad_args(GRANT));
    }
    let kind = match kind.to_uppercase().as_str() {
        "READ" => Type::Read,
        "WRITE" => Type::Write,
        "READWRITE" => Type::Readwrite,
        _ => {
            let text = format!("invalid permission type: {}", quote(kind.as_bytes()));
            return Err(Failure::bad_args(text.replace('"', "")));
        }
    };
    let (key, range_end) = range(keys, asked)?;
    let perm = Permission { perm_type: kind.into(), key: key.into(), range_end: range_end.into() };
    let question = pb::AuthRoleGrantPermissionRequest { name: name.clone(), perm: Some(perm) };
    let header = desk.client.role_grant(Endless, question).await?.header;
    done(desk, header, format!("Role {name} updated"))
}

const GRANT: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";

async fn revoke(desk: &Desk, asked: &RolePermission) -> Result<(), Failure> {
    let [role, keys @ ..] = asked.words.as_slice() else {
        return Err(Failure::bad_args(REVOKE));
    };
    let Some(typed) = keys.first() else { return Err(Failure::bad_args(REVOKE)) };
    let (key, range_end) = range(keys, asked)?;
    let question = pb::AuthRoleRevokePermissionRequest {
        role: role.clone(),
        key: key.into(),
        range_end: range_end.clone().into(),
    };
    let header = desk.client.role_revoke(Endless, question).await?.header;
    let what = match range_end.as_slice() {
        [] => format!("key {typed}"),
        [0] => format!("range [{typed}, <open ended>"),
        end => format!("range [{typed}, {})", String::from_utf8_lossy(end)),
    };
    done(desk, header, format!("Permission of {what} is revoked from role {role}"))
}

const REVOKE: &str =
    "role revoke-permission command requires role name and key [endkey] as its argument";

/// The keys a permission is for.
fn range(words: &[String], asked: &RolePermission) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let RolePermission { words: _, prefix, from_key } = asked;
    let bad = |text: &str| Err(Failure::bad_args(text));
    let key = words[0].clone().into_bytes();
    let end = match words.get(1) {
        _ if *prefix && *from_key && (key.is_empty() || words.len() == 1) => {
            return bad("--from-key and --prefix flags are mutually exclusive");
        }
        // No permission is for no key: the smallest one stands for it.
        _ if key.is_empty() => {
            return Ok((vec![0], if *prefix || *from_key { vec![0] } else { Vec::new() }));
        }
        Some(_) if *prefix => return bad("unexpected endkey argument with --prefix flag"),
        Some(_) if *from_key => return bad("unexpected endkey argument with --from-key flag"),
        Some(end) => end.clone().into_bytes(),
        None if *prefix => prefix_end(&key),
        None if *from_key => vec![0],
        None => Vec::new(),
    };
    Ok((key, end))
}
