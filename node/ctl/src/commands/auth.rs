//! Users, and turning users and roles on or off.

use etcd_api::authpb::UserAddOptions;
use etcd_api::etcdserverpb as pb;

use super::{Desk, password};
use crate::args::{Auth, User, UserAdd, UserGet, UserPasswd};
use crate::client::Patience::{Command, Endless};
use crate::failure::{Failure, say};
use crate::show::{AuthStatus, Done, RoleGot, UserGot, UserNames};

pub(crate) async fn user(desk: &Desk, asked: &User) -> Result<(), Failure> {
    match asked {
        User::Add(asked) => add(desk, asked).await,
        User::Get(asked) => get(desk, asked).await,
        User::Passwd(asked) => passwd(desk, asked).await,
        User::Delete(asked) => {
            let name = one(&asked.words, "user delete command requires user name as its argument")?;
            let question = pb::AuthUserDeleteRequest { name: name.clone() };
            let header = desk.client.user_delete(Endless, question).await?.header;
            done(desk, header, format!("User {name} deleted"))
        }
        User::List(asked) if !asked.words.is_empty() => {
            Err(Failure::bad_args("user list command requires no arguments"))
        }
        User::List(_) => {
            let answer = desk.client.user_list(Endless, pb::AuthUserListRequest {}).await?;
            desk.style.print(&UserNames(&answer))
        }
        User::GrantRole(asked) => {
            let [user, role] = asked.words.as_slice() else {
                return Err(Failure::bad_args(
                    "user grant command requires user name and role name as its argument",
                ));
            };
            let question = pb::AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
            let header = desk.client.user_grant(Endless, question).await?.header;
            done(desk, header, format!("Role {role} is granted to user {user}"))
        }
        User::RevokeRole(asked) => {
            let [name, role] = asked.words.as_slice() else {
                return Err(Failure::bad_args(
                    "user revoke-role requires user name and role name as its argument",
                ));
            };
            let question = pb::AuthUserRevokeRoleRequest { name: name.clone(), role: role.clone() };
            let header = desk.client.user_revoke(Endless, question).await?.header;
            done(desk, header, format!("Role {role} is revoked from user {name}"))
        }
    }
}

/// Prints that something was done.
pub(crate) fn done(
    desk: &Desk,
    header: Option<pb::ResponseHeader>,
    text: String,
) -> Result<(), Failure> {
    desk.style.print(&Done { header, text })
}

/// The only word.
pub(crate) fn one<'a>(words: &'a [String], otherwise: &str) -> Result<&'a String, Failure> {
    match words {
        [word] => Ok(word),
        _ => Err(Failure::bad_args(otherwise)),
    }
}

async fn add(desk: &Desk, asked: &UserAdd) -> Result<(), Failure> {
    let word = one(&asked.words, "user add command requires user name as its argument")?;
    let (name, password) = match word.split_once(':') {
        _ if asked.no_password => (word.clone(), String::new()),
        _ if !asked.new_user_password.is_empty() => (word.clone(), asked.new_user_password.clone()),
        Some(("", _)) => return Err(Failure::bad_args("empty user name is not allowed")),
        Some((name, password)) => (name.to_owned(), password.to_owned()),
        None => (word.clone(), password::new(word, asked.interactive)?),
    };
    let question = pb::AuthUserAddRequest {
        name: name.clone(),
        password,
        options: Some(UserAddOptions { no_password: asked.no_password }),
        hashed_password: String::new(),
    };
    let header = desk.client.user_add(Endless, question).await?.header;
    done(desk, header, format!("User {name} created"))
}

async fn get(desk: &Desk, asked: &UserGet) -> Result<(), Failure> {
    let name = one(&asked.words, "user get command requires user name as its argument")?;
    let question = pb::AuthUserGetRequest { name: name.clone() };
    let answer = desk.client.user_get(Endless, question).await?;
    if !asked.detail {
        return desk.style.print(&UserGot(name, &answer));
    }
    say(format!("User: {name}\n"))?;
    for role in &answer.roles {
        say("\n")?;
        let question = pb::AuthRoleGetRequest { role: role.clone() };
        let answer = desk.client.role_get(Endless, question).await?;
        desk.style.print(&RoleGot(role, &answer))?;
    }
    Ok(())
}

async fn passwd(desk: &Desk, asked: &UserPasswd) -> Result<(), Failure> {
    let name = one(&asked.words, "user passwd command requires user name as its argument")?;
    let question = pb::AuthUserChangePasswordRequest {
        name: name.clone(),
        password: password::new(name, asked.interactive)?,
        hashed_password: String::new(),
    };
    let header = desk.client.user_password(Endless, question).await?.header;
    done(desk, header, "Password updated".to_owned())
}

pub(crate) async fn auth(desk: &Desk, asked: &Auth) -> Result<(), Failure> {
    let (words, name) = match asked {
        Auth::Enable(asked) => (&asked.words, "enable"),
        Auth::Disable(asked) => (&asked.words, "disable"),
        Auth::Status(asked) => (&asked.words, "status"),
    };
    if !words.is_empty() {
        return Err(Failure::bad_args(format!(
            "auth {name} command does not accept any arguments"
        )));
    }
    match asked {
        Auth::Enable(_) => {
            enable(desk).await?;
            say("Authentication Enabled\n")
        }
        Auth::Disable(_) => {
            desk.client.auth_disable(Command, pb::AuthDisableRequest {}).await?;
            say("Authentication Disabled\n")
        }
        Auth::Status(_) => {
            let answer = desk.client.auth_status(Command, pb::AuthStatusRequest {}).await?;
            desk.style.print(&AuthStatus(&answer))
        }
    }
}

/// Turns users and roles on; gives root its role first where it has none.
async fn enable(desk: &Desk) -> Result<(), Failure> {
    let again = match desk.client.auth_enable(Command, pb::AuthEnableRequest {}).await {
        Ok(_) => return Ok(()),
        Err(status) => status,
    };
    if again.message() != "etcdserver: root user does not have root role" {
        return Err(again.into());
    }
    let root = || "root".to_owned();
    desk.client.role_add(Command, pb::AuthRoleAddRequest { name: root() }).await?;
    let question = pb::AuthUserGrantRoleRequest { user: root(), role: root() };
    desk.client.user_grant(Command, question).await?;
    desk.client.auth_enable(Command, pb::AuthEnableRequest {}).await?;
    Ok(())
}
