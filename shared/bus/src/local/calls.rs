//! Calls within the process: each goes to one of the servers that take it, in turn.

use std::sync::{Mutex, PoisonError};

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
    servers: Mutex<Servers>,
}

#[derive(Default)]
struct Servers {
    list: Vec<Server>,
    /// How many calls were handed out: whose turn it is.
    handed_out: usize,
}

struct Server {
    serve: Serve,
    queue: mpsc::Sender<Request>,
}

impl Calls {
    pub(super) fn serve(&self, serve: Serve) -> Queue {
        let (queue, requests) = mpsc::channel(QUEUED_CALLS);
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.list.push(Server { serve, queue });
        Queue { requests }
    }

    pub(super) async fn call(
        &self,
        clock: &dyn Clock,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> Result<Bytes, BusError> {
        let queue = self.choose(&service).ok_or(BusError::NoResponders)?;
        let (answer, answered) = oneshot::channel();
        let reply = Box::new(move |bytes: Bytes| {
            if let Err(error) = limits::check_payload(bytes.len()) {
                tracing::error!(%error, "an answer is not sent");
                return;
            }
            // The caller may have stopped waiting: nobody is left to tell.
            drop(answer.send(bytes));
        });
        // A full queue takes no call; its caller waits in vain, as over a network.
        drop(queue.try_send(Request { service, payload, reply }));
        let answer = async {
            match answered.await {
                Ok(bytes) => bytes,
                Err(_) => std::future::pending().await,
            }
        };
        deadline(clock, deadline_ms, answer).await.ok_or(BusError::Timeout)
    }

    /// The queue of the server whose turn it is among those that take the call.
    fn choose(&self, service: &Service) -> Option<mpsc::Sender<Request>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.list.retain(|server| !server.queue.is_closed());
        let turn = servers.handed_out;
        let mut able = servers.list.iter().filter(|server| server.serve.takes(service));
        let count = able.clone().count();
        let chosen = able.nth(turn.checked_rem(count)?)?.queue.clone();
        servers.handed_out = turn.wrapping_add(1);
        Some(chosen)
    }
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
