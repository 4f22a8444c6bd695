//! Ports for members: chosen once, kept for the lab's life, never taken by somebody else.
//!
//! Ports lie below the range from which systems give out ports by themselves. A port is held by a
//! socket that is bound and never listens: a client of a member that is down is refused as it
//! should be, and the member can still listen there, because both set `SO_REUSEADDR`. That works
//! on Linux; elsewhere ports are only checked, not held.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
use serde::{Deserialize, Serialize};

/// The first block; its members' clients are at 23791, 23792, …
const FIRST_BLOCK: u16 = 23_790;

/// Ports in a block: ten for clients, ten for peers, ten for telemetry.
const BLOCK: u16 = 30;

/// Blocks that are tried.
const BLOCKS: u16 = 180;

/// The ports of one member, all on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPorts {
    /// Where clients reach it.
    pub client: u16,
    /// Where the fabric reaches it for its peers.
    pub peer: u16,
    /// Where its telemetry is read.
    pub telemetry: u16,
}

impl MemberPorts {
    fn all(self) -> [u16; 3] {
        [self.client, self.peer, self.telemetry]
    }
}

/// Ports that are held as long as this lives.
#[derive(Debug)]
pub struct Reservation {
    /// One a member, ascending by member.
    pub members: Vec<MemberPorts>,
    _held: Vec<OwnedFd>,
}

/// Members that a lab has ports for, from the start: numbers are never used again.
pub const PLACES: u8 = 9;

/// No ports could be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "no free block of {BLOCK} ports between {FIRST_BLOCK} and {}; end another lab first",
    FIRST_BLOCK + BLOCK * BLOCKS
)]
pub struct PortError;

/// Reserves ports for so many members: the block that begins with the wanted ones if it is free,
/// else the first free block.
pub fn reserve(members: u8, wanted: &[MemberPorts]) -> Result<Reservation, PortError> {
    let block = |base: u16| -> Vec<_> {
        (1..=u16::from(members))
            .map(|no| MemberPorts {
                client: base + no,
                peer: base + 10 + no,
                telemetry: base + 20 + no,
            })
            .collect()
    };
    let bases = (0..BLOCKS).map(|number| FIRST_BLOCK + number * BLOCK);
    let same = |base: &u16| !wanted.is_empty() && block(*base).starts_with(wanted);
    for base in bases.clone().filter(same).chain(bases) {
        let ports = block(base);
        if let Some(held) = hold_all(&ports) {
            return Ok(Reservation { members: ports, _held: held });
        }
    }
    Err(PortError)
}

fn hold_all(ports: &[MemberPorts]) -> Option<Vec<OwnedFd>> {
    let mut held = Vec::new();
    for port in ports.iter().flat_map(|ports| ports.all()) {
        held.extend(hold(port).ok()?);
    }
    Some(held)
}

/// Holds one port. Errors: somebody else has it, listening or not.
fn hold(port: u16) -> rustix::io::Result<Option<OwnedFd>> {
    // Bound strictly first: this fails also when another lab merely holds the port.
    drop(bound(port, false)?);
    if cfg!(target_os = "linux") { bound(port, true).map(Some) } else { Ok(None) }
}

fn bound(port: u16, reuse: bool) -> rustix::io::Result<OwnedFd> {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&fd, reuse)?;
    bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn held_ports_refuse_clients_and_let_the_member_listen() {
        let first = reserve(3, &[]).expect("ports");
        let second = reserve(3, &first.members).expect("other ports");
        assert_ne!(first.members, second.members, "two labs never share ports");
        let wanted = second.members[..1].to_vec();
        drop(second);
        let third = reserve(3, &wanted).expect("the same");
        assert_eq!(third.members[0], wanted[0], "a lab that is resumed has its ports again");
        let port = first.members[0].client;
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "refused while nobody listens");
        for _ in 0..2 {
            let member = TcpListener::bind(("127.0.0.1", port)).expect("the member listens");
            TcpStream::connect(("127.0.0.1", port)).expect("and is reached");
            drop(member);
        }
    }
}
