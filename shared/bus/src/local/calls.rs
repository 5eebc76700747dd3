//! Calls within the process: each goes to every server that takes it, and the first answer counts.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use turnpike_runtime::clock::{Clock, deadline};

use crate::limits;
use crate::seam::{BoxFuture, BusError, ReadError, Request, Requests, Serve, Service};

/// Calls that wait for one server. A server that is behind by more answers none of them in time.
const QUEUED_CALLS: usize = 1_024;

/// The servers of one bus.
#[derive(Default)]
pub(super) struct Calls {
    servers: Mutex<Vec<Server>>,
}

struct Server {
    serve: Serve,
    queue: mpsc::Sender<Request>,
}

/// Where the answer goes; whoever answers first takes it out.
type Answer = Arc<Mutex<Option<oneshot::Sender<Bytes>>>>;

impl Calls {
    pub(super) fn serve(&self, serve: Serve) -> Queue {
        let (queue, requests) = mpsc::channel(QUEUED_CALLS);
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.push(Server { serve, queue });
        Queue { requests }
    }

    pub(super) async fn call(
        &self,
        clock: &dyn Clock,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> Result<Bytes, BusError> {
        let queues = self.able(&service);
        if queues.is_empty() {
            return Err(BusError::NoResponders);
        }
        let (sender, answered) = oneshot::channel();
        let answer = Answer::new(Mutex::new(Some(sender)));
        for queue in queues {
            let request = Request { service, payload: payload.clone(), reply: reply(&answer) };
            // A full queue takes no call; its caller waits in vain, as over a network.
            drop(queue.try_send(request));
        }
        drop(answer);
        let answer = async {
            match answered.await {
                Ok(bytes) => bytes,
                Err(_) => std::future::pending().await,
            }
        };
        deadline(clock, deadline_ms, answer).await.ok_or(BusError::Timeout)
    }

    /// The queues of the servers that take the call.
    fn able(&self, service: &Service) -> Vec<mpsc::Sender<Request>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| !server.queue.is_closed());
        let able = servers.iter().filter(|server| server.serve.takes(service));
        able.map(|server| server.queue.clone()).collect()
    }
}

fn reply(answer: &Answer) -> Box<dyn FnOnce(Bytes) + Send> {
    let answer = Arc::clone(answer);
    Box::new(move |bytes: Bytes| {
        if let Err(error) = limits::check_payload(bytes.len()) {
            tracing::error!(%error, "an answer is not sent");
            return;
        }
        if let Some(sender) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The caller may have stopped waiting: nobody is left to tell.
            drop(sender.send(bytes));
        }
    })
}

/// The calls to one server.
pub(super) struct Queue {
    requests: mpsc::Receiver<Request>,
}

impl Requests for Queue {
    fn next(&mut self) -> BoxFuture<'_, Result<Request, ReadError>> {
        Box::pin(async {
            let gone = || ReadError::Unavailable("the bus is gone".to_owned());
            self.requests.recv().await.ok_or_else(gone)
        })
    }
}
