//! A socket whose reader can stop reading, so that the other side feels it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether reading stands still, and who waits for it to go on.
#[derive(Debug, Default)]
pub(super) struct Valve {
    inner: Mutex<(bool, Option<Waker>)>,
}

impl Valve {
    /// Nothing is read from the socket from now on.
    pub(super) fn shut(&self) {
        self.inner.lock().0 = true;
    }

    /// Reading goes on.
    pub(super) fn open(&self) {
        let waiting = {
            let mut inner = self.inner.lock();
            inner.0 = false;
            inner.1.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// A socket behind a valve.
#[derive(Debug)]
pub(super) struct Valved<IO> {
    socket: IO,
    valve: Arc<Valve>,
}

impl<IO> Valved<IO> {
    pub(super) fn new(socket: IO, valve: Arc<Valve>) -> Self {
        Self { socket, valve }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Valved<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        {
            let mut inner = self.valve.inner.lock();
            if inner.0 {
                inner.1 = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Valved<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn nothing_is_read_through_a_shut_valve_and_nothing_is_lost() {
        let (mut near, far) = tokio::io::duplex(64);
        let valve = Arc::new(Valve::default());
        let mut valved = Valved::new(far, valve.clone());
        valve.shut();
        near.write_all(b"waits").await.expect("there is room");
        let mut read = tokio::task::JoinSet::new();
        read.spawn(async move {
            let mut text = [0; 5];
            valved.read_exact(&mut text).await.expect("it is there");
            text
        });
        // It has stopped at the valve when its waker is there.
        while valve.inner.lock().1.is_none() {
            tokio::task::yield_now().await;
        }
        valve.open();
        assert_eq!(read.join_next().await.expect("one task").expect("no panic"), *b"waits");
    }
}
