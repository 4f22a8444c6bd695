//! Free ports for members.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Free ports, never given twice, and none that the system gives to a connection: members keep
/// theirs while they are down.
pub fn ports(count: usize) -> Vec<u16> {
    const FIRST: u16 = 14_000;
    const LAST: u16 = 32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests of two programs begin at two places.
    let begin = u16::try_from(std::process::id() % u32::from(LAST - FIRST)).expect("it fits");
    let candidates = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + (begin + step) % (LAST - FIRST)
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.filter(is_free).take(count).collect()
}
