//! The commands for users, roles and what they permit.

use clap::{ArgAction, Args, Subcommand};

use super::commands::Words;

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user: NAME or NAME:PASSWORD
    #[command(after_help = "Example:\n  raft-ctl user add alice --new-user-password=secret")]
    Add(UserAdd),
    /// Delete a user
    #[command(after_help = "Example:\n  raft-ctl user delete alice")]
    Delete(Words),
    /// The roles of a user
    #[command(after_help = "Example:\n  raft-ctl user get alice --detail")]
    Get(UserGet),
    /// List the users
    #[command(after_help = "Example:\n  raft-ctl user list")]
    List(Words),
    /// Change a password
    #[command(
        after_help = "Example:\n  echo secret | raft-ctl user passwd alice --interactive=false"
    )]
    Passwd(UserPasswd),
    /// Give a user a role
    #[command(after_help = "Example:\n  raft-ctl user grant-role alice readers")]
    GrantRole(Words),
    /// Take a role from a user
    #[command(after_help = "Example:\n  raft-ctl user revoke-role alice readers")]
    RevokeRole(Words),
}

#[derive(Debug, Args)]
pub(crate) struct UserAdd {
    /// NAME or NAME:PASSWORD
    #[arg(value_name = "USER")]
    pub(crate) words: Vec<String>,
    /// Ask for the password at the terminal; false reads it from standard input
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set, hide_possible_values = true)]
    pub(crate) interactive: bool,
    /// The password
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) new_user_password: String,
    /// A user who cannot log in by a password
    #[arg(long)]
    pub(crate) no_password: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UserGet {
    /// The user's name
    #[arg(value_name = "USER")]
    pub(crate) words: Vec<String>,
    /// And what the roles permit
    #[arg(long)]
    pub(crate) detail: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UserPasswd {
    /// The user's name
    #[arg(value_name = "USER")]
    pub(crate) words: Vec<String>,
    /// Ask for the password at the terminal; false reads it from standard input
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set, hide_possible_values = true)]
    pub(crate) interactive: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Add a role
    #[command(after_help = "Example:\n  raft-ctl role add readers")]
    Add(Words),
    /// Delete a role
    #[command(after_help = "Example:\n  raft-ctl role delete readers")]
    Delete(Words),
    /// What a role permits
    #[command(after_help = "Example:\n  raft-ctl role get readers")]
    Get(Words),
    /// List the roles
    #[command(after_help = "Example:\n  raft-ctl role list")]
    List(Words),
    /// Permit read, write or readwrite of keys
    #[command(
        after_help = "Example:\n  raft-ctl role grant-permission readers read --prefix jobs/"
    )]
    GrantPermission(RolePermission),
    /// Take a permission back
    #[command(after_help = "Example:\n  raft-ctl role revoke-permission readers --prefix jobs/")]
    RevokePermission(RolePermission),
}

#[derive(Debug, Args)]
pub(crate) struct RolePermission {
    /// The role, what is permitted when granting, KEY, and the end of a range
    #[arg(value_name = "ROLE [PERMISSION] KEY [RANGE_END]")]
    pub(crate) words: Vec<String>,
    /// Keys that begin with KEY
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Keys from KEY on, in the order of their bytes
    #[arg(long)]
    pub(crate) from_key: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Turn it on; needs a user root
    #[command(after_help = "Example:\n  raft-ctl user add root:secret && raft-ctl auth enable")]
    Enable(Words),
    /// Turn it off
    #[command(after_help = "Example:\n  raft-ctl --user=root:secret auth disable")]
    Disable(Words),
    /// Is it on?
    #[command(after_help = "Example:\n  raft-ctl auth status")]
    Status(Words),
}
