//! The end of a lifetime: heal everything, wait until all members are equal, read them back.

use bytes::Bytes;
use etcd_api::etcdserverpb::{AlarmMember, RangeRequest};
use lab_protocol::{Event, ReadBack};
use node::cluster::Membership;
use node_protocol::{Index, MemberId, Revision, Role, Status};

use super::{Broken, Member, World, no};
use crate::plan::Action;

/// How long members may take to be equal once everything is healed and quiet.
const CONVERGE_MICROS: u64 = 30_000_000;

/// How long every watch may take then to be told of all that happened.
const WATCHED_MICROS: u64 = 5_000_000;

impl World {
    /// Heals everything, waits until the members are equal, reads them back.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        self.show_note(
            "The plan is done: everything is healed, and the members must become equal.",
        );
        self.falls.clear();
        for action in [Action::HealNetwork, Action::SlowNetwork(0), Action::Lossy(0)] {
            self.act(&action)?;
        }
        self.act(&Action::Repeating(0))?;
        for place in 0..self.members.len() {
            let member = &mut self.members[place];
            // What was to fail in some later sync does not any more.
            member.disk.fail_sync(u64::MAX);
            (member.power_loss_in_sync, member.sync_fails) = (false, false);
            self.act(&Action::SlowDisk(place, 0))?;
            self.act(&Action::Resume(place))?;
            self.act(&Action::Restart(place))?;
        }
        self.converge()?;
        self.turn_off_removed()?;
        self.end_watches();
        let revision = self.revision();
        let limit = self.now() + WATCHED_MICROS;
        if !self.until(limit, |world| world.unheard(revision).next().is_none())? {
            let unheard: Vec<_> = self.unheard(revision).map(|watch| watch.0).collect();
            return Err(format!(
                "watches: healed and equal, and {unheard:?} not told of all up to {revision} \
                 after {} s",
                WATCHED_MICROS / 1_000_000
            ));
        }
        // A lease may have ended meanwhile.
        self.converge()?;
        self.read_back()
    }

    fn converge(&mut self) -> Result<(), Broken> {
        let is_over = |world: &Self| world.clients.are_answered() && world.is_equal();
        let limit = self.now() + CONVERGE_MICROS;
        if is_over(self) || self.until(limit, is_over)? {
            return Ok(());
        }
        let seen: Vec<_> = (0..self.members.len()).filter_map(|place| self.seen(place)).collect();
        Err(format!(
            "convergence: healed, and not equal after {} s: {}",
            CONVERGE_MICROS / 1_000_000,
            seen.join("; ")
        ))
    }

    /// A member that is up, in a few words.
    fn seen(&self, place: usize) -> Option<String> {
        let member = &self.members[place];
        let Status { role, term, last, commit, voters, learners, .. } = &*member.last_status;
        let applied = member.running.as_ref()?.progress.applied();
        let named = |ids: &[MemberId]| {
            let place = |id: &MemberId| self.members.iter().position(|member| member.id == *id);
            let names = ids.iter().filter_map(place).map(|place| no(place).to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        Some(format!(
            "{}: {role:?} in term {term}, last {last}, commit {commit}, applied {applied}, voters \
             {}, learners {}",
            no(place),
            named(voters),
            if learners.is_empty() { "none".into() } else { named(learners) },
        ))
    }

    /// The highest revision that any member has.
    fn revision(&self) -> i64 {
        let running = self.members.iter().filter_map(|member| member.running.as_ref());
        running.map(|running| running.store.read().revision().0).max().unwrap_or(0)
    }

    /// Whether all members of the last configuration run, know it, and have applied everything.
    fn is_equal(&self) -> bool {
        let Some((Status { commit, last, .. }, list)) = self.newest_leader() else { return false };
        commit == last
            && list.members().all(|listed| {
                let member = self.members.iter().find(|member| member.id == listed.id);
                member.is_some_and(|member| member.has(*last, &list))
            })
    }

    /// Of the leader with the highest term, its status and its list of members.
    pub(super) fn newest_leader(&self) -> Option<(&Status, Membership)> {
        let leads = |member: &&Member| member.last_status.role == Role::Leader;
        let leaders = self.members.iter().filter(leads);
        let leader = leaders.max_by_key(|member| member.last_status.term)?;
        Some((&leader.last_status, leader.running.as_ref()?.membership.read().clone()))
    }

    fn read_back(&mut self) -> Result<(), Broken> {
        let mut reads = Vec::new();
        let mut alarms: Option<(usize, Vec<AlarmMember>)> = None;
        let list = self.newest_leader().map(|(_, list)| list).unwrap_or_default();
        for (place, member) in self.members.iter().enumerate() {
            let Some(running) = &member.running else { continue };
            if list.get(member.id).is_none() {
                continue;
            }
            let store = running.store.read();
            let active: Vec<_> = store.alarms().collect();
            match &alarms {
                None => alarms = Some((place, active)),
                Some((_, others)) if *others == active => {}
                Some((other, others)) => {
                    let (one, two) = (no(place), no(*other));
                    return Err(format!("alarms: {active:?} on {one}, {others:?} on {two}"));
                }
            }
            let everything = RangeRequest {
                key: Bytes::from_static(&[0]),
                range_end: Bytes::from_static(&[0]),
                ..RangeRequest::default()
            };
            let unreadable = |error: &dyn std::fmt::Display| {
                format!("{} cannot be read back: {error}", no(place))
            };
            let answer = store.range(&everything).map_err(|e| unreadable(&e))?;
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let rows = answer
                .kvs
                .iter()
                .map(|row| (text(&row.key), text(&row.value), row.mod_revision))
                .collect();
            let revision = store.revision().0;
            let hash = store.hash_kv(Revision(revision)).map_err(|e| unreadable(&e))?;
            let hash = (revision, hash.hash);
            let failed = String::new();
            reads.push(ReadBack { member: no(place), revision, rows, hash, failed });
        }
        for read in reads {
            self.tell(Event::ReadBack(Box::new(read)));
        }
        Ok(())
    }
}

impl Member {
    /// Whether it has applied this much, and both its list of members and its votes are these.
    fn has(&self, last: Index, list: &Membership) -> bool {
        let Some(running) = &self.running else { return false };
        running.progress.applied() == last
            && *running.membership.read() == *list
            && self.last_status.voters == list.voters()
            && self.last_status.learners == list.learners()
    }
}
