//! Two relays of one store, each with its own way to the bus.

use std::sync::atomic::{AtomicBool, Ordering};

use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{BoxFuture, Bus, Reader, Requests, Serve, Service};
use turnpike_runtime::clock::{Clock as _, PausedClock};
use turnpike_runtime::tasks::Tasks;
use turnpike_store::memory::Memory;
use turnpike_wire::heartbeat::Heartbeat;

use super::*;
use crate::bootstrap::{FirstStart, first_start};
use crate::http::tests::{DAY, options};
use crate::run::{Parts, build};

/// Within how long a role that was given up is taken, and a beat of the heart.
const SOON_MS: u64 = 2_000;

/// A way to the bus that can be cut.
struct Way {
    bus: Arc<LocalBus>,
    is_cut: AtomicBool,
}

impl Way {
    fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }

    fn must_be_whole(&self) -> Result<(), BusError> {
        let is_cut = self.is_cut.load(Ordering::Relaxed);
        if is_cut { Err(BusError::Unavailable("on purpose".into())) } else { Ok(()) }
    }
}

impl Bus for Way {
    fn publish(&self, message: Publish) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            self.must_be_whole()?;
            self.bus.publish(message).await
        })
    }

    fn read(&self, feed: Feed, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, BusError>> {
        Box::pin(async move {
            self.must_be_whole()?;
            self.bus.read(feed, start).await
        })
    }

    fn call(
        &self,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> BoxFuture<'_, Result<Bytes, BusError>> {
        self.bus.call(service, payload, deadline_ms)
    }

    fn serve(&self, serve: Serve) -> BoxFuture<'_, Result<Box<dyn Requests>, BusError>> {
        self.bus.serve(serve)
    }
}

/// The term of the next heartbeat that is sent.
async fn term(bus: &LocalBus, app: &App) -> u64 {
    let feed = Feed::Heartbeat(Some(OrgId::PLATFORM));
    let mut reader = bus.read(feed, Start::Now).await.unwrap();
    let message = reader.next().await.unwrap();
    let signers = app.keys.signing.signers();
    Heartbeat::verify(&message.payload, signers).unwrap().number >> 32
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_cannot_reach_the_bus_makes_room_for_one_that_can() {
    let clock = PausedClock::new(turnpike_domain::time::Timestamp(DAY));
    let bus = Arc::new(LocalBus::new(Arc::new(clock.clone())));
    let kv = Arc::new(Memory::new());
    let ways = [(); 2].map(|()| {
        let is_cut = AtomicBool::new(false);
        Arc::new(Way { bus: Arc::clone(&bus), is_cut })
    });
    let tasks = Tasks::new("test");
    let mut apps = Vec::new();
    for way in &ways {
        let (kv, way) = (Arc::<Memory>::clone(&kv), Arc::<Way>::clone(way));
        let parts = Parts { kv, bus: way, clock: Arc::new(clock.clone()), options: options() };
        let (app, _) = build(parts).await.unwrap();
        tasks.spawn("relay", run(Arc::clone(&app), tasks.stopping()));
        // The first has the role before the second is there.
        assert_eq!(term(&bus, &app).await, 1);
        apps.push(app);
    }

    ways[0].set_cut(true);
    let cut_ms = clock.boot_ms();
    while term(&bus, &apps[0]).await == 1 {}
    assert_eq!(term(&bus, &apps[0]).await, 2);
    let took_ms = clock.boot_ms() - cut_ms;
    assert!(took_ms <= GIVE_UP_MS + 2 * SOON_MS, "{took_ms}");
    // What the one that is cut off accepts is published by the other.
    let mut events = bus.read(Feed::Events(None), Start::Now).await.unwrap();
    let wanted = FirstStart { organisation: "acme".into(), owner_email: "a@acme.example".into() };
    first_start(&apps[0], &wanted, |_, _| Ok(())).await.unwrap();
    events.next().await.unwrap();

    // Nobody reaches the bus; then it is back for one.
    ways[1].set_cut(true);
    clock.sleep(10 * GIVE_UP_MS).await;
    ways[0].set_cut(false);
    let healed_ms = clock.boot_ms();
    assert!(term(&bus, &apps[0]).await > 2);
    // The other may have taken the role a moment before.
    let took_ms = clock.boot_ms() - healed_ms;
    assert!(took_ms <= GIVE_UP_MS + 2 * SOON_MS, "{took_ms}");
}
