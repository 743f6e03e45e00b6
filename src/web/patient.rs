//! A connection whose other side has to take what it is sent: if it takes nothing for a while, or
//! all of an answer takes it too long, the connection is over, and what was kept for it goes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long is waited for a reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How long it may take nothing of what it is sent.
    pub(super) unread: Duration,
    /// How long it may take over all of an answer: from when it first did not take what it was sent
    /// until all that there was to send is sent.
    pub(super) answer: Duration,
}

/// A stream that gives up on a reader that takes nothing, or a whole answer, for so long.
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    waiting: Option<Pin<Box<Sleep>>>,
    answering: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Around a stream.
    pub(super) fn new(stream: S, patience: Patience) -> Self {
        Self { stream, patience, waiting: None, answering: None }
    }

    /// What was done ends the wait; what could not be done begins it, or ends the connection.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Patience { unread, answer } = self.patience;
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let sleep = |limit| Box::pin(tokio::time::sleep(limit));
        let answering = self.answering.get_or_insert_with(|| sleep(answer));
        let waiting = self.waiting.get_or_insert_with(|| sleep(unread));
        let is_slow = answering.as_mut().poll(context).is_ready();
        match waiting.as_mut().poll(context) {
            _ if is_slow => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            // Seeded bug: who-reads-nothing-is-kept
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watched(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        let done = self.watched(context, done);
        if done.is_ready() {
            // It is asked for once nothing is left to be written.
            self.answering = None;
        }
        done
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(context, done)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn patience(unread: u64, answer: u64) -> Patience {
        let [unread, answer] = [unread, answer].map(Duration::from_millis);
        Patience { unread, answer }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (near, _far) = tokio::io::duplex(16);
        let mut given_up = Patient::new(near, patience(200, 60_000));
        let writing = given_up.write_all(&[0; 64]);
        let written = tokio::time::timeout(Duration::from_secs(20), writing).await;
        assert_eq!(written.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);

        let (near, mut far) = tokio::io::duplex(16);
        let reader = tokio::spawn(async move {
            let mut taken = [0; 16];
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(80)).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        });
        Patient::new(near, patience(200, 60_000)).write_all(&[0; 64]).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_takes_too_long_over_an_answer_is_given_up_though_it_reads() {
        let (near, mut far) = tokio::io::duplex(16);
        let reader = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut trickling = Patient::new(near, patience(60_000, 1000));
        // Longer than the limit all in all: an answer that was taken does not count for the next.
        for _ in 0..3 {
            trickling.write_all(&[0; 26]).await.unwrap();
            trickling.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        let written =
            tokio::time::timeout(Duration::from_secs(30), trickling.write_all(&[0; 4000]));
        assert_eq!(written.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(trickling);
        reader.await.unwrap();
    }
}
