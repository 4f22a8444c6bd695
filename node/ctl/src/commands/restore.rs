//! Saved snapshots on this machine: what is in one, and a new member made of one.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use node_identity::InitialCluster;
use node_identity::urls::Url;
use node_restore::{
    Bump, Integrity, Progress, Restore, RestoreError, Restored, RowsError, Stage, Status,
    StatusError,
};

use super::Desk;
use crate::args::{Restore as Asked, Words};
use crate::failure::{Failure, complain};
use crate::quote::human_bytes;
use crate::show::SnapshotStatus;

/// Tells what is in a file.
pub(crate) fn status(desk: &Desk, asked: &Words) -> Result<(), Failure> {
    let [path] = asked.words.as_slice() else {
        return Err(Failure::bad_args("snapshot status requires exactly one argument"));
    };
    let status = Status::read(Path::new(path)).map_err(|error| match error {
        StatusError::Io(error) => Failure::error(format!("stat {path}: {}", gos(&error))),
        StatusError::Rows(RowsError::Read(error)) => {
            Failure::error(format!("invalid database: {path}: {}", with_causes(&error)))
        }
        StatusError::Rows(error) => Failure::error(format!("invalid database: {path}: {error}")),
    })?;
    desk.style.print(&SnapshotStatus(status))?;
    if let Integrity::Wrong { .. } = status.integrity {
        complain(&format!(
            "Warning: the hash behind {path} is that of another content: it has changed since it \
             was saved, and `snapshot restore` will refuse it"
        ));
    }
    Ok(())
}

/// Makes a data directory.
pub(crate) fn restore(asked: &Asked) -> Result<(), Failure> {
    let [snapshot] = asked.words.as_slice() else {
        return Err(Failure::bad_args("snapshot restore requires exactly one argument"));
    };
    // etcd's own words for either flag without the other.
    if (asked.bump_revision > 0) != asked.mark_compacted {
        return Err(Failure::bad_args("--mark-compacted required if --revision-bump > 0"));
    }
    let bump = match asked.bump_revision {
        0 => None,
        by => Some(Bump { by: i64::try_from(by).unwrap_or(i64::MAX) }),
    };
    let said = |error: &dyn std::error::Error| Failure::error(error.to_string());
    let data_dir = match asked.data_dir.as_str() {
        "" => format!("{}.etcd", asked.name),
        dir => dir.to_owned(),
    };
    let order = Restore {
        snapshot: PathBuf::from(snapshot),
        data_dir: PathBuf::from(&data_dir),
        wal_dir: Some(&asked.wal_dir).filter(|dir| !dir.is_empty()).map(PathBuf::from),
        name: asked.name.clone(),
        initial_cluster: InitialCluster::parse(&asked.initial_cluster).map_err(|e| said(&e))?,
        token: asked.initial_cluster_token.clone(),
        advertised: Url::parse_list(&asked.initial_advertise_peer_urls).map_err(|e| said(&e))?,
        skip_hash_check: asked.skip_hash_check,
        bump,
    };
    let bar = Bar::new();
    let restored = order.run(&mut |progress| {
        bar.show(progress);
        ControlFlow::Continue(())
    });
    bar.end();
    let restored = restored.map_err(|error| told(&error, snapshot))?;
    let Restored { member, cluster, revision, rows, image_bytes, .. } = restored;
    complain(&format!(
        "restored {snapshot} into {data_dir}: member {} {member} of the new cluster {cluster}, \
         {rows} rows up to revision {revision}, {}",
        asked.name,
        human_bytes(image_bytes)
    ));
    Ok(())
}

/// An error in etcd's words where it has some.
fn told(error: &RestoreError, snapshot: &str) -> Failure {
    match error {
        RestoreError::Io { operation: "open", path, source } if path == Path::new(snapshot) => {
            Failure::error(format!("open {snapshot}: {}", gos(source)))
        }
        error => Failure::error(with_causes(error)),
    }
}

/// An error of the system as Go says it.
pub(super) fn gos(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// An error and all its causes; one that says its cause itself says it once.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// How far it is, at a terminal only.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{msg} [{bar:40}] {bytes} of {total_bytes}, {eta} left",
            );
            ProgressBar::new(0).with_style(style.expect("the template is sound"))
        }))
    }

    fn show(&self, progress: Progress) {
        let Some(bar) = &self.0 else { return };
        let Progress { stage, done_bytes, total_bytes } = progress;
        bar.set_message(match stage {
            Stage::Read => "reading",
            Stage::Write => "writing",
        });
        bar.set_length(total_bytes);
        bar.set_position(done_bytes);
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
