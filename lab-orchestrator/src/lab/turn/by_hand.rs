//! What the loop does about members that somebody starts by hand: it writes down how, and adopts
//! those that speak.

use std::collections::BTreeSet;

use lab_protocol::{Event, MemberNo, Process};

use super::{Loop, blocking, in_full};
use crate::engine::client_url;
use crate::observer::Found;
use crate::supervisor::{Adoption, Order, Seat, Seats};

impl Loop {
    /// Writes down where the members are and how one is started.
    pub(super) async fn write_seats(&mut self) {
        let mut members = Vec::new();
        for plan in self.parts.plans.clone() {
            let seat = self.seat_of(plan.member, None);
            let ports = seat.ports;
            members.push(Seat {
                member: plan.member,
                client_url: client_url(ports),
                peer_url: self.parts.engine.peer_url(plan.member),
                listen_peer_url: format!("http://127.0.0.1:{}", ports.peer),
                telemetry_url: match self.parts.engine.takes_orders() {
                    true => format!("http://127.0.0.1:{}", ports.telemetry),
                    false => String::new(),
                },
                proxy_url: seat.proxy_url.clone(),
                data_dir: seat.data_dir.clone(),
                start: self.parts.engine.by_hand(&seat),
            });
        }
        members.sort_by_key(|seat| seat.member);
        let directory = self.parts.directory.clone();
        let written = blocking(move || {
            let desk = directory.desk()?;
            Seats::new(directory.root(), desk, members).write(&directory)
        });
        if let Err(error) = written.await {
            let text = format!("how members are started was not written down: {}", in_full(&error));
            self.append(Event::Note { text });
        }
    }

    /// Tells the finder who is down.
    pub(super) fn look_around(&self) {
        let down: BTreeSet<_> = match self.starting_over {
            true => BTreeSet::new(),
            false => self.parts.plans.iter().map(|plan| plan.member).collect(),
        };
        let down = self.journal.with_state(|state| {
            let is_down = |no: &MemberNo| {
                state.members.get(no).is_some_and(|member| match member.process {
                    Process::Planned | Process::Down { .. } => !self.starting.contains(no),
                    Process::Up { .. } | Process::Paused { .. } => false,
                })
            };
            down.into_iter().filter(is_down).collect()
        });
        self.parts.finder.look_for(down);
    }

    /// Somebody speaks as a member that is down: it is adopted, or it is said once why not.
    pub(super) async fn found(&mut self, found: Found) {
        let Found { member, greeting } = found;
        let is_down = self.journal.with_state(|state| {
            state.members.get(&member).is_some_and(|member| {
                matches!(member.process, Process::Planned | Process::Down { .. })
            })
        });
        if !is_down || self.starting.contains(&member) || self.starting_over {
            return; // The lab itself was faster.
        }
        match self.adoption(member, greeting).await {
            Ok(adoption) => {
                let text = format!(
                    "{member} was started by hand, as process {}, and is the lab's from now on",
                    adoption.pid()
                );
                self.append(Event::Note { text });
                self.strangers.remove(&member);
                self.data_dirs.insert(member, adoption.data_dir.clone());
                self.starting.insert(member);
                self.parts.supervisor.order(Order::Adopt(Box::new(adoption))).await;
                self.write_seats().await;
            }
            Err(why) => {
                let text = format!("somebody speaks as {member} and is not adopted: {why}");
                if self.strangers.insert(member, text.clone()).as_ref() != Some(&text) {
                    self.append(Event::Note { text });
                }
            }
        }
    }

    async fn adoption(
        &mut self,
        member: MemberNo,
        greeting: Result<(String, u32), String>,
    ) -> Result<Adoption, String> {
        let (name, pid) = greeting?;
        if name != member.to_string() {
            return Err(format!("its name is {name}"));
        }
        let seat = self.seat_of(member, None);
        let desk = self.parts.directory.desk().map_err(|error| in_full(&error))?;
        let looked = move || {
            Adoption::of(member, pid, seat.ports, &seat.proxy_url, &desk, seat.output.clone())
        };
        blocking(looked).await
    }
}
