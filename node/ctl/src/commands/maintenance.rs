//! Alarms, defragmentation, and who leads.

use etcd_api::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;

use super::Desk;
use crate::args::{Alarm, Defrag};
use crate::client::Patience;
use crate::failure::{Failure, code, complain, say, words};
use crate::quote::uint;
use crate::show::{Alarms, Moved};

pub(crate) async fn alarm(desk: &Desk, asked: &Alarm) -> Result<(), Failure> {
    match asked {
        Alarm::List(asked) if !asked.words.is_empty() => {
            return Err(Failure::bad_args("alarm list command accepts no arguments"));
        }
        Alarm::Disarm(asked) if !asked.words.is_empty() => {
            return Err(Failure::bad_args("alarm disarm command accepts no arguments"));
        }
        Alarm::List(_) | Alarm::Disarm(_) => {}
    }
    let answer = desk.client.alarms(Patience::Command, pb::AlarmRequest::default()).await?;
    if let Alarm::List(_) = asked {
        return desk.style.print(&Alarms(&answer));
    }
    let mut disarmed = pb::AlarmResponse::default();
    for one in answer.alarms {
        let question = pb::AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: one.member_id,
            alarm: one.alarm,
        };
        let answer = desk.client.disarm(Patience::Command, question).await?;
        disarmed.alarms.extend(answer.alarms);
    }
    desk.style.print(&Alarms(&disarmed))
}

pub(crate) async fn defrag(desk: &Desk, asked: &Defrag) -> Result<(), Failure> {
    if !asked.data_dir.is_empty() {
        // Only the member's own program knows its files.
        return Err(Failure::bad_args(format!(
            "--data-dir is for the member's own program: stop the member and run raft-node defrag \
             --data-dir {}",
            asked.data_dir
        )));
    }
    let mut all = true;
    for endpoint in desk.endpoints(asked.cluster).await? {
        let client = desk.client.only(&endpoint);
        match client.defragment(Patience::Command, pb::DefragmentRequest {}).await {
            Ok(_) => say(format!("Finished defragmenting etcd member[{endpoint}]\n"))?,
            Err(status) => {
                all = false;
                let why = words(&status);
                complain(&format!("Failed to defragment etcd member[{endpoint}] ({why})"));
            }
        }
    }
    if all { Ok(()) } else { Err(Failure::silent(code::ERROR)) }
}

pub(crate) async fn move_leader(desk: &Desk, words: &[String]) -> Result<(), Failure> {
    let [target] = words else {
        return Err(Failure::bad_args("move-leader command needs 1 argument"));
    };
    let target_id = uint(target, 16).map_err(Failure::bad_args)?;
    for endpoint in desk.client.endpoints() {
        let client = desk.client.only(endpoint);
        let status = client.status(Patience::Command, pb::StatusRequest {}).await?;
        if status.header.unwrap_or_default().member_id != status.leader {
            continue;
        }
        let question = pb::MoveLeaderRequest { target_id };
        let answer = client.move_leader(Patience::Command, question).await?;
        let moved = Moved { from: status.leader, to: target_id, header: answer.header };
        return desk.style.print(&moved);
    }
    let endpoints = desk.client.endpoints().join(" ");
    Err(Failure::bad_args(format!("no leader endpoint given at [{endpoints}]")))
}
