//! Chaos: larger faults, drawn from the seed, in storms with calm between them.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use turnpike_domain::command::PlatformCommand;
use turnpike_domain::time::HOUR_MS;
use turnpike_runtime::tasks::Tasks;
use turnpike_tests::chance::Fault;
use turnpike_tests::hostile_bus::Cut;

use crate::house::{GATEWAYS, House};
use crate::wishes::Wish;

/// Storms of a life, and larger faults of one storm.
const STORMS: u64 = 3;
const FAULTS: u64 = 5;
/// How long a storm may rage, and the calm behind it.
const STORM_MS: u64 = 9_000;
const CALM_MS: u64 = 13_000;
/// Most outages are short; some outlast every patience.
const SHORT_MS: u64 = 6_000;
const LONG_MS: u64 = 28_000;
/// How long after the end of a disturbance the house is whole again: the term of a relay that was
/// lost is taken over after 5 s, the ways of a gateway that could not ask rest up to 15 s.
const RELAY_BACK_MS: u64 = 9_000;
const UPSTAIRS_BACK_MS: u64 = 16_000;
const BUS_BACK_MS: u64 = 4_000;
const START_MS: u64 = 5_000;
/// How long a command may be tried, and how long a gateway may take to end in order.
const LIFETIME_OF_A_COMMAND_MS: u64 = 20_000;
const END_MS: u64 = 40_000;

/// Rages, until the last storm is over.
pub(crate) async fn rage(house: Rc<House>, tasks: Tasks) {
    for _ in 0..STORMS {
        house.sleep(house.dice.between(CALM_MS / 2, CALM_MS)).await;
        for _ in 0..FAULTS {
            house.sleep(house.dice.below(STORM_MS / FAULTS)).await;
            if house.watch.is_broken() {
                return;
            }
            let striking = Rc::clone(&house);
            tasks.spawn_local("fault", async move { strike(&striking).await });
        }
    }
    house.sleep(CALM_MS).await;
}

async fn strike(house: &Rc<House>) {
    let place = usize::try_from(house.dice.below(u64::try_from(GATEWAYS).unwrap())).unwrap();
    let long = house.dice.happens(1_200);
    let ms = if long { LONG_MS } else { house.dice.between(500, SHORT_MS) };
    match house.dice.below(100) {
        0..=8 => cut_gateway(house, place, Cut::Loud, ms).await,
        9..=19 => cut_gateway(house, place, Cut::Silent, ms).await,
        20..=28 => close_door(house, place, ms),
        29..=38 => upset(house, place, Upset::Killed, ms).await,
        39..=41 => upset(house, place, Upset::FolderLost, ms).await,
        42..=44 => upset(house, place, Upset::Fenced, ms).await,
        45..=49 => upset(house, place, Upset::Restarted, ms).await,
        50..=54 => take_store_from_control(house, ms),
        55..=59 => take_store_from_projector(house, ms),
        60..=63 => cut_control(house, ms).await,
        64..=68 => cut_projector(house, ms).await,
        69..=73 => wipe_bus(house),
        74..=78 => kill_control(house, ms.min(SHORT_MS)).await,
        79..=81 => double_control(house).await,
        82..=88 => kill_projector(house, ms.min(SHORT_MS)).await,
        89..=92 => double_projector(house),
        _ => step_day(house, place),
    }
}

async fn cut_gateway(house: &House, place: usize, cut: Cut, ms: u64) {
    let port = &house.machines[place].bus;
    if port.cut() != Cut::None {
        return;
    }
    house.note(format!("gateway {place} is cut off for {ms} ms, {cut:?}"));
    house.watch.calm.disturb(place, house.now_ms() + ms + BUS_BACK_MS);
    port.set_cut(cut);
    house.sleep(ms).await;
    port.set_cut(Cut::None);
}

fn close_door(house: &House, place: usize, ms: u64) {
    house.note(format!("gateway {place} cannot ask for {ms} ms"));
    house.tally.count(Fault::UpstairsDown);
    let until_ms = house.now_ms() + ms;
    house.watch.calm.disturb(place, until_ms + UPSTAIRS_BACK_MS);
    house.machines[place].upstairs_down_ms.store(until_ms, Ordering::Relaxed);
}

/// What becomes of a gateway.
#[derive(Clone, Copy)]
enum Upset {
    Killed,
    FolderLost,
    Fenced,
    Restarted,
}

/// One thing at a time becomes of a gateway, and then it stands again.
async fn upset(house: &Rc<House>, place: usize, upset: Upset, ms: u64) {
    let machine = &house.machines[place];
    if machine.serving().is_none() || machine.taken.replace(true) {
        return;
    }
    house.tally.count(match upset {
        Upset::Killed => Fault::GatewayKilled,
        Upset::FolderLost => Fault::SpoolLost,
        Upset::Fenced => Fault::GatewayFenced,
        Upset::Restarted => Fault::GatewayRestarted,
    });
    match upset {
        Upset::Killed => {
            house.kill_gateway(place).await;
            house.sleep(ms).await;
        }
        Upset::FolderLost => {
            house.kill_gateway(place).await;
            house.lose_folder(place, house.dice.happens(5_000));
            house.sleep(ms).await;
        }
        Upset::Fenced => fence_gateway(house, place, ms.min(SHORT_MS)).await,
        Upset::Restarted => house.end_gateway(place).await,
    }
    start_gateway(house, place).await;
    machine.taken.set(false);
}

/// Fences a gateway, lets it go on for a while, and makes place for another one.
async fn fence_gateway(house: &Rc<House>, place: usize, ms: u64) {
    let Some(gateway) = house.machines[place].known_as() else { return };
    house.watch.calm.disturb(place, house.now_ms() + LIFETIME_OF_A_COMMAND_MS);
    house.command(Wish::Platform(Box::new(PlatformCommand::FenceGateway { gateway }))).await;
    house.watch.calm.disturb(place, house.now_ms() + ms + END_MS);
    house.sleep(ms).await;
    house.end_gateway(place).await;
    house.lose_folder(place, true);
}

/// Starts a gateway; it is no part of the house before it has heard its first words.
pub(crate) async fn start_gateway(house: &House, place: usize) {
    house.start_gateway(place).await;
    house.watch.calm.disturb(place, house.now_ms() + START_MS);
}

fn take_store_from_control(house: &House, ms: u64) {
    let controls = house.controls.borrow();
    let Some((place, control)) = house.dice.pick(&controls) else { return };
    house.note(format!("control plane {place} loses the store for {ms} ms"));
    control.kv.take_down(ms);
    house.watch.calm.disturb_all(house.now_ms() + ms + UPSTAIRS_BACK_MS);
}

fn take_store_from_projector(house: &House, ms: u64) {
    let projectors = house.projectors.borrow();
    let Some((place, projector)) = house.dice.pick(&projectors) else { return };
    house.note(format!("projector {place} loses the store for {ms} ms"));
    projector.kv.take_down(ms);
}

async fn cut_control(house: &House, ms: u64) {
    let port = {
        let controls = house.controls.borrow();
        let Some((place, control)) = house.dice.pick(&controls) else { return };
        if control.bus.cut() != Cut::None {
            return;
        }
        house.note(format!("control plane {place} loses the bus for {ms} ms"));
        std::sync::Arc::clone(&control.bus)
    };
    house.watch.calm.disturb_all(house.now_ms() + ms + RELAY_BACK_MS);
    port.set_cut(if house.dice.happens(5_000) { Cut::Loud } else { Cut::Silent });
    house.sleep(ms).await;
    port.set_cut(Cut::None);
}

async fn cut_projector(house: &House, ms: u64) {
    let port = {
        let projectors = house.projectors.borrow();
        let Some((place, projector)) = house.dice.pick(&projectors) else { return };
        if projector.bus.cut() != Cut::None {
            return;
        }
        house.note(format!("projector {place} loses the bus for {ms} ms"));
        std::sync::Arc::clone(&projector.bus)
    };
    port.set_cut(if house.dice.happens(5_000) { Cut::Loud } else { Cut::Silent });
    house.sleep(ms).await;
    port.set_cut(Cut::None);
}

fn wipe_bus(house: &House) {
    house.note("the bus loses all".to_owned());
    house.watch.calm.disturb_all(house.now_ms() + BUS_BACK_MS);
    house.bus.wipe();
}

async fn kill_control(house: &House, down_ms: u64) {
    let count = house.controls.borrow().len();
    if count == 0 {
        return;
    }
    house.tally.count(Fault::ControlPlaneKilled);
    let at = house.dice.below(u64::try_from(count).unwrap());
    house.watch.calm.disturb_all(house.now_ms() + down_ms + UPSTAIRS_BACK_MS);
    house.kill_control(usize::try_from(at).unwrap());
    if count > 1 {
        return;
    }
    house.sleep(down_ms).await;
    house.start_control().await;
    house.watch.calm.disturb_all(house.now_ms() + UPSTAIRS_BACK_MS);
}

async fn double_control(house: &House) {
    if house.controls.borrow().len() != 1 {
        return;
    }
    house.tally.count(Fault::ControlPlaneDoubled);
    house.start_control().await;
}

async fn kill_projector(house: &House, down_ms: u64) {
    let count = house.projectors.borrow().len();
    if count == 0 {
        return;
    }
    house.tally.count(Fault::ProjectorKilled);
    house.kill_projector(usize::try_from(house.dice.below(u64::try_from(count).unwrap())).unwrap());
    if count == 1 {
        house.sleep(down_ms).await;
        house.start_projector();
    }
}

fn double_projector(house: &House) {
    if house.projectors.borrow().len() == 1 {
        house.tally.count(Fault::ProjectorDoubled);
        house.start_projector();
    }
}

fn step_day(house: &House, place: usize) {
    house.tally.count(Fault::DayStepped);
    house.days_stepped.set(true);
    let far = i64::try_from(HOUR_MS).unwrap();
    let ms = match house.dice.below(4) {
        0 => far,
        1 => -far,
        2 => i64::try_from(house.dice.below(300_000)).unwrap(),
        _ => -i64::try_from(house.dice.below(300_000)).unwrap(),
    };
    house.note(format!("a day is stepped by {ms} ms"));
    match house.dice.below(3) {
        0 => {
            house.watch.calm.disturb_all(house.now_ms() + BUS_BACK_MS);
            house.control_clock.step_day(ms);
            let back_ms = u64::try_from(-ms).unwrap_or(0);
            house.control_set_back_ms.set(house.control_set_back_ms.get() + back_ms);
        }
        1 => {
            let machine = &house.machines[place];
            machine.clock.step_day(ms);
            let back_ms = u64::try_from(-ms).unwrap_or(0);
            machine.set_back_ms.set(machine.set_back_ms.get() + back_ms);
        }
        _ => {
            let projectors = house.projectors.borrow();
            if let Some((_, projector)) = projectors.first() {
                projector.clock.step_day(ms);
            }
        }
    }
}

/// Ends every outage and starts what is down.
pub(crate) async fn heal(house: &House) {
    house.note("everything heals".to_owned());
    house.set_hostile(false);
    for machine in &house.machines {
        machine.bus.set_cut(Cut::None);
        machine.upstairs_down_ms.store(0, Ordering::Relaxed);
    }
    for (_, control) in house.controls.borrow().iter() {
        control.kv.bring_up();
        control.bus.set_cut(Cut::None);
    }
    for (_, projector) in house.projectors.borrow().iter() {
        projector.kv.bring_up();
        projector.bus.set_cut(Cut::None);
    }
    if house.controls.borrow().is_empty() {
        house.start_control().await;
    }
    if house.projectors.borrow().is_empty() {
        house.start_projector();
    }
    for place in 0..GATEWAYS {
        if house.machines[place].serving().is_none() {
            start_gateway(house, place).await;
        }
    }
}
