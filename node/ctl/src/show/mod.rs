//! Answers as etcdctl prints them: `simple`, `fields`, `json` and, for some, `table`.
//!
//! An answer says itself in each format by [`Show`]; `json`, `fields` and `table` are the
//! formats' own rules. What etcdctl refuses to print in a format is refused here.

mod auth;
mod backup;
mod cluster;
mod fields;
mod json;
mod kv;
mod lease;
mod snapshot;
mod table;

pub(crate) use auth::{AuthStatus, Done, RoleGot, RoleNames, UserGot, UserNames};
pub(crate) use backup::{BackupPeriod, SavedBackup};
pub(crate) use cluster::{
    Alarms, Hashes, Health, Healths, MemberAdded, MemberChanged, Members, Moved, Statuses, alarm,
};
pub(crate) use kv::{Deleted, Got, PutDone, TxnDone, Watched, kind};
pub(crate) use lease::{Granted, KeptAlive, Leases, Revoked, TimeToLive};
pub(crate) use snapshot::SnapshotStatus;

use crate::args::Global;
use crate::failure::{Failure, code, say};
use fields::Fields;
use table::Table;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Simple,
    /// A field a line.
    Fields,
    /// Go's JSON, on one line.
    Json,
    /// A drawn table.
    Table,
}

/// A format, and how keys and values are written in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// Bytes as `\x61`.
    pub(crate) hex: bool,
    /// No keys beside the values.
    pub(crate) value_only: bool,
}

/// An answer that can be printed.
pub(crate) trait Show {
    /// For people; bytes, because keys and values need not be text.
    fn simple(&self, style: Style, out: &mut Vec<u8>);
    /// On one line, without the line's end.
    fn json(&self) -> String;
    /// JSON where `--hex` was asked for.
    fn hex_json(&self) -> String {
        self.json()
    }
    /// Nothing where etcdctl has no such format.
    fn fields(&self, _out: &mut Fields) -> Option<()> {
        None
    }
    /// Nothing where etcdctl has no such format.
    fn table(&self) -> Option<Table> {
        None
    }
}

impl Style {
    /// What the options ask for.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        let format = match global.write_out.as_str() {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "table" => Format::Table,
            "protobuf" => {
                let text = "protobuf is not supported as output format: use json";
                return Err(Failure::new(code::BAD_FEATURE, text));
            }
            _ => return Err(Failure::new(code::BAD_FEATURE, "unsupported output format")),
        };
        Ok(Self { format, hex: global.hex, value_only: false })
    }

    /// Prints an answer.
    pub(crate) fn print(self, answer: &impl Show) -> Result<(), Failure> {
        say(self.text(answer)?)
    }

    fn text(self, answer: &impl Show) -> Result<Vec<u8>, Failure> {
        let unsupported = |name: &str| {
            Failure::new(code::BAD_FEATURE, format!("{name} not supported as output format"))
        };
        let mut out = Vec::new();
        match self.format {
            Format::Simple => answer.simple(self, &mut out),
            Format::Json => {
                let json = if self.hex { answer.hex_json() } else { answer.json() };
                out.extend(json.as_bytes());
                out.push(b'\n');
            }
            Format::Fields => {
                let mut fields = Fields::default();
                answer.fields(&mut fields).ok_or_else(|| unsupported("fields"))?;
                out = fields.finish();
            }
            Format::Table => {
                let table = answer.table().ok_or_else(|| unsupported("table"))?;
                out = table.draw().into_bytes();
            }
        }
        Ok(out)
    }
}

/// A line of text at the end of what is printed.
fn line(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    out.extend(text.as_ref());
    out.push(b'\n');
}
