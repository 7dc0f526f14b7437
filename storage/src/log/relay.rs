//! How the answers of a flush reach those who wait: one wake-up a thread, however many tasks of that thread wait.
//!
//! Waking a task of another thread costs a system call. A flush answers dozens of appends that a few threads made, so each of
//! those threads runs [`relay`], which alone is woken from outside and wakes the tasks beside it. Threads without one are woken
//! task by task. The log's implementations call [`Flush`]; whoever owns a thread of tasks runs [`relay`] on it.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::LogError;

thread_local! {
    static HERE: RefCell<Option<Arc<Relay>>> = const { RefCell::new(None) };
}

/// Passes the log's answers on to the tasks of this thread; never ends. It belongs to a thread whose runtime runs on that
/// thread alone, beside the tasks that append, once a thread.
pub async fn relay() {
    let here = Entered::new();
    loop {
        here.0.notify.notified().await;
        here.0.pass_on();
    }
}

struct Entered(Arc<Relay>);

impl Entered {
    fn new() -> Self {
        let relay = Arc::new(Relay { wakers: Mutex::new(Some(Vec::new())), notify: Notify::new() });
        HERE.set(Some(Arc::clone(&relay)));
        Self(relay)
    }
}

impl Drop for Entered {
    /// What waits still is woken, and what comes later is woken directly.
    fn drop(&mut self) {
        HERE.try_with(|here| here.take()).ok();
        self.0.wakers.lock().take().into_iter().flatten().for_each(Waker::wake);
    }
}

struct Relay {
    /// To be woken from this thread; none once the thread's tasks have ended. As many at most as appends wait.
    wakers: Mutex<Option<Vec<Waker>>>,
    notify: Notify,
}

impl Relay {
    fn pass_on(&self) {
        let wakers = self.wakers.lock().as_mut().map(std::mem::take);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Takes all of them over, or wakes them when nobody would.
    fn wake(&self, wakers: Vec<Waker>) {
        match self.wakers.lock().as_mut() {
            Some(waiting) => waiting.extend(wakers),
            None => return wakers.into_iter().for_each(Waker::wake),
        }
        self.notify.notify_one();
    }
}

/// What a flush answers to all appends that it served; the side of those who wait.
#[derive(Debug, Default)]
pub(super) struct Flush(Mutex<State>);

#[derive(Debug)]
enum State {
    Open(Vec<Waiter>),
    Done(Result<(), LogError>),
}

struct Waiter {
    relay: Option<Arc<Relay>>,
    waker: Waker,
}

impl Default for State {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiter")
    }
}

impl Flush {
    /// The answer, or the promise to wake whoever asks. `ticket` is where the asker stands from its first question on.
    pub(super) fn poll(&self, ticket: &mut Option<usize>, context: &Context<'_>) -> Poll<Result<(), LogError>> {
        match &mut *self.0.lock() {
            State::Done(result) => Poll::Ready(result.clone()),
            State::Open(waiters) => {
                match ticket.and_then(|ticket| waiters.get_mut(ticket)) {
                    Some(waiter) if waiter.waker.will_wake(context.waker()) => {}
                    Some(waiter) => *waiter = Waiter::here(context),
                    None => {
                        *ticket = Some(waiters.len());
                        waiters.push(Waiter::here(context));
                    }
                }
                Poll::Pending
            }
        }
    }

    fn complete(&self, result: Result<(), LogError>) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Done(result));
        let State::Open(waiters) = before else { return };
        let mut threads: Vec<(Arc<Relay>, Vec<Waker>)> = Vec::new();
        for Waiter { relay, waker } in waiters {
            match relay {
                None => waker.wake(),
                Some(relay) => match threads.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &relay)) {
                    Some((_, wakers)) => wakers.push(waker),
                    None => threads.push((relay, vec![waker])),
                },
            }
        }
        for (relay, wakers) in threads {
            relay.wake(wakers);
        }
    }
}

impl Waiter {
    fn here(context: &Context<'_>) -> Self {
        Self { relay: HERE.with_borrow(Clone::clone), waker: context.waker().clone() }
    }
}

/// The flusher's side: it answers once. Dropped without an answer it says [`LogError::Closed`].
#[derive(Debug, Default)]
pub(super) struct Answer(Arc<Flush>);

impl Answer {
    /// For one more append to wait on.
    pub(super) fn flush(&self) -> Arc<Flush> {
        Arc::clone(&self.0)
    }

    /// Answers everyone.
    pub(super) fn give(self, result: Result<(), LogError>) {
        self.0.complete(result);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if matches!(*self.0.0.lock(), State::Open(_)) {
            self.0.complete(Err(LogError::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn wait(flush: Arc<Flush>) -> Result<(), LogError> {
        let mut ticket = None;
        poll_fn(|context| flush.poll(&mut ticket, context)).await
    }

    #[test]
    fn everyone_on_every_thread_hears_of_it() {
        let answer = Answer::default();
        let (ready, waiting) = std::sync::mpsc::sync_channel(3);
        let threads: Vec<_> = [true, true, false]
            .into_iter()
            .map(|relayed| {
                let (flush, ready) = (answer.flush(), ready.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    runtime.block_on(async {
                        let passing = relayed.then(|| tokio::spawn(relay()));
                        tokio::task::yield_now().await;
                        let tasks: Vec<_> = (0..20).map(|_| tokio::spawn(wait(Arc::clone(&flush)))).collect();
                        tokio::task::yield_now().await;
                        ready.send(()).expect("the test waits");
                        for task in tasks {
                            assert_eq!(task.await.expect("it does not panic"), Ok(()));
                        }
                        assert_eq!(wait(flush).await, Ok(()), "also those who come late");
                        passing.inspect(tokio::task::JoinHandle::abort);
                    });
                })
            })
            .collect();
        (0..3).for_each(|_| waiting.recv().expect("every thread waits"));
        answer.give(Ok(()));
        threads.into_iter().for_each(|thread| thread.join().expect("every task was answered"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_relay_that_ends_leaves_nobody_waiting() {
        let answer = Answer::default();
        let relaying = tokio::spawn(relay());
        tokio::task::yield_now().await;
        let waiting = tokio::spawn(wait(answer.flush()));
        tokio::task::yield_now().await;
        relaying.abort();
        tokio::task::yield_now().await;
        answer.give(Err(LogError::Busy));
        assert_eq!(waiting.await.expect("it does not panic"), Err(LogError::Busy));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_that_never_comes_means_closed() {
        let answer = Answer::default();
        let flush = answer.flush();
        drop(answer);
        assert_eq!(wait(flush).await, Err(LogError::Closed));
    }
}
