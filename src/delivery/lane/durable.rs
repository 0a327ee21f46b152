//! What a lane has on disk: a log for each priority, read back as there is room in memory, and
//! left for the next start when the process ends.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::Lane;
use crate::batch::Priority;
use crate::budget::{Budget, Reservation};
use crate::delivery::config::Order;
use crate::delivery::queue::Parcel;
use crate::delivery::record;
use crate::receipt::Receipt;
use crate::storage::{Log, Page, ReadOrder, Record, Tally, Ticket};
use crate::telemetry::ledger::{Fate, Reason};

/// How long to wait where the disk cannot be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The logs of one lane, and what pays for their records in memory.
#[derive(Debug)]
pub struct Durable {
    /// By priority, the least first.
    pub(super) logs: [Log; Priority::ALL.len()],
    /// What may be in memory of what came in lately; the requests' own reservations pay for it.
    pub(super) resident: Budget,
    /// What may be in memory of what was read back.
    reading: Budget,
    /// Pays for `reading`, for good: what waits on disk must get out when all else is taken.
    _paid: Reservation,
    unloaded: Notify,
    /// What a start found to be lost, and in how many files.
    lost: (u64, Tally),
    /// Whether a page is being read: its records do not wait any more, and are not in memory yet.
    in_hand: AtomicBool,
}

/// While this lives, a page is being read.
struct InHand<'a>(&'a AtomicBool);

impl<'a> InHand<'a> {
    fn new(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Durable {
    /// The logs by priority, the least first; `resident` bytes of new data stay in memory, and
    /// `paid` is what data that is read back may take.
    pub fn new(logs: [Log; Priority::ALL.len()], resident: u64, paid: Reservation) -> Self {
        Self {
            logs,
            resident: Budget::new(resident),
            reading: Budget::new(paid.bytes() as u64),
            _paid: paid,
            unloaded: Notify::new(),
            lost: Default::default(),
            in_hand: AtomicBool::new(false),
        }
    }

    /// Damage that was found when the logs were opened: so many files, and what they cost.
    #[must_use]
    pub fn with_lost(mut self, files: u64, lost: Tally) -> Self {
        self.lost = (files, lost);
        self
    }

    pub(super) fn log(&self, priority: Priority) -> &Log {
        let [low, normal, high] = &self.logs;
        match priority {
            Priority::Low => low,
            Priority::Normal => normal,
            Priority::High => high,
        }
    }

    /// What waits on disk and is not in memory.
    pub(super) fn waiting(&self) -> Tally {
        let mut total = Tally::default();
        for log in &self.logs {
            total.add(&log.waiting());
        }
        total
    }

    /// Whether anything is to come from disk: what comes in now must not overtake it.
    pub(super) fn has_backlog(&self) -> bool {
        // In this order: a page is in hand before its records are no longer waiting, and in memory
        // before it is out of hand.
        self.logs.iter().any(|log| log.waiting().records > 0) || self.in_hand.load(Ordering::SeqCst)
    }

    pub(super) fn unload(&self, ticket: Ticket) {
        ticket.unload();
        self.unloaded.notify_one();
    }

    /// How many requests are in use whose files something removed.
    pub(super) fn unsafe_requests(&self) -> u64 {
        self.logs.iter().map(Log::unsafe_records).sum()
    }

    /// Waits until a log has news.
    async fn told(&self) {
        let [low, normal, high] = &self.logs;
        tokio::select! {
            () = low.told() => {}
            () = normal.told() => {}
            () = high.told() => {}
        }
    }

    /// The log that is read next: of those in which anything waits, the highest priority's, but
    /// for those that were passed over.
    fn next_log(&self, passed: &[&str]) -> Option<&Log> {
        let passed = |log: &Log| passed.contains(&log.name());
        let mut logs = self.logs.iter().rev();
        logs.find(|log| log.waiting().records > 0 && !passed(log))
    }
}

impl Lane {
    /// Keeps this lane's queue in these logs too. What waits in them is taken over.
    #[must_use]
    pub fn with_durable(mut self, durable: Durable) -> Self {
        for (account, items) in self.accounts.iter().zip(durable.waiting().weight) {
            account.recover(items);
        }
        self.stats.set_logs(durable.logs.to_vec());
        let (files, lost) = &durable.lost;
        self.stats.add_damage(*files, lost.records);
        for (account, items) in self.accounts.iter().zip(lost.weight) {
            account.recover(items);
            account.settle(items, Fate::Dropped(Reason::Damaged));
        }
        self.durable = Some(durable);
        self.show(&self.lock());
        self
    }

    /// Whether more is to come from disk.
    pub(in crate::delivery) fn reads(&self) -> bool {
        self.durable.as_ref().is_some_and(Durable::has_backlog)
    }

    /// Reads back what waits on disk as there is room for it in memory, and hears of what happens
    /// to it there. Never returns.
    pub(in crate::delivery) async fn load(self: Arc<Self>) {
        let Some(durable) = &self.durable else {
            return std::future::pending().await;
        };
        tokio::join!(self.read_back(durable), async {
            loop {
                durable.told().await;
                self.hear(durable);
            }
        });
    }

    /// What is known of files that something else removed; what is lost by it is counted.
    pub(super) fn hear(&self, durable: &Durable) {
        let mut removed_files = 0;
        let mut disowned = false;
        for log in &durable.logs {
            let news = log.news();
            removed_files += news.removed_files;
            disowned |= news.disowned.is_some();
            self.give_up_unread(&news.lost, Reason::Damaged);
        }
        self.stats.set_removed_files(removed_files);
        self.stats.set_disk_fails(disowned);
        self.show(&self.lock());
    }

    async fn read_back(&self, durable: &Durable) {
        let order = match self.config.queue.order {
            Order::OldestFirst => ReadOrder::OldestFirst,
            Order::FreshFirst => ReadOrder::NewestFirst,
        };
        let page_bytes = usize::try_from(durable.reading.limit() / 4).unwrap_or(usize::MAX);
        // Logs that the disk did not give must not keep back the others.
        let mut passed = Vec::new();
        loop {
            let Some(log) = durable.next_log(&passed) else {
                if !passed.is_empty() {
                    passed.clear();
                    sleep(READ_AGAIN).await;
                    continue;
                }
                durable.unloaded.notified().await;
                continue;
            };
            let room = durable.reading.reserve_most(page_bytes).await;
            let in_hand = InHand::new(&durable.in_hand);
            let read = log.next(page_bytes, order).await;
            match read {
                Ok(page) => self.take_in(page, room),
                Err(error) => {
                    drop(in_hand);
                    if let Some(repeated) = self.said_disk.pass() {
                        tracing::error!(
                            repeated,
                            exporter = %self.name,
                            %error,
                            "the queue cannot be read; it is tried again each second"
                        );
                    }
                    passed.push(log.name());
                }
            }
        }
    }

    fn take_in(&self, page: Page, mut room: Reservation) {
        for (file, reason) in &page.quarantined {
            tracing::error!(
                exporter = %self.name,
                file = %file.display(),
                reason,
                "a file of the queue is damaged or missing; what can be read of it is delivered"
            );
        }
        let files = page.quarantined.len() as u64;
        self.stats.add_damage(files, page.lost.records);
        if page.lost.records > 0 {
            tracing::error!(
                exporter = %self.name,
                requests = page.lost.records,
                items = page.lost.weight.iter().sum::<u64>(),
                bytes = page.lost.bytes,
                "stored requests are lost: they cannot be read any more"
            );
            self.give_up_unread(&page.lost, Reason::Damaged);
        }
        for record in page.records {
            self.take_in_one(record, &mut room);
        }
        // Some of it may be too old already, which does not wait for an attempt.
        self.wake.notify_one();
    }

    fn take_in_one(&self, record: Record, room: &mut Reservation) {
        let Record {
            ticket,
            kind,
            weight,
            head,
            body,
        } = record;
        match record::decode(kind, weight, &head, body) {
            Ok(batch) => {
                let room = room.split_off(batch.bytes());
                let account = self.account(batch.signal);
                let receipt = Receipt::resume(weight, account, None, Some(Arc::new(ticket)));
                let state = self.lock();
                if state.closed {
                    drop(state);
                    receipt.settle(Fate::Kept);
                    return;
                }
                let room = Arc::new(room);
                self.enqueue(
                    state,
                    Parcel {
                        batch,
                        receipt,
                        room,
                    },
                );
            }
            Err(problem) => {
                tracing::error!(exporter = %self.name, problem, "a stored request is lost");
                if let Some(account) = self.accounts.get(usize::from(kind)) {
                    account.settle(weight, Fate::Dropped(Reason::Damaged));
                }
            }
        }
    }

    /// Gives up the oldest file of the lowest priority, unless that is above `most`: as few requests
    /// as make room, since room is a file's. None of what is under way is given up. False if there
    /// is no such file.
    pub(super) async fn give_up_file(&self, durable: &Durable, most: Priority) -> bool {
        let lowest_first = Priority::ALL.into_iter().filter(|p| *p <= most);
        for log in lowest_first.map(|priority| durable.log(priority)) {
            let Some((unread, receipts)) = self.take_out_file(log) else {
                continue;
            };
            self.give_up_unread(&unread, Reason::QueueFull);
            for receipt in receipts {
                self.give_up_full(receipt);
            }
            log.catch_up().await;
            return true;
        }
        false
    }

    /// Takes out of memory what of the log's oldest file is there; and what of it is not, unread.
    fn take_out_file(&self, log: &Log) -> Option<(Tally, Vec<Receipt>)> {
        let mut state = self.lock();
        let parcels = state.queue.parcels().map(|parcel| &parcel.receipt);
        let receipts = parcels.chain(state.shipments.iter().map(|shipment| &shipment.receipt));
        let places = receipts.flat_map(Receipt::tickets);
        // Parts of a request that was split have one place.
        let places: HashSet<_> = places.filter_map(|ticket| ticket.place_in(log)).collect();
        let mut idle: HashMap<u64, u32> = HashMap::new();
        for (file, _) in places {
            *idle.entry(file).or_default() += 1;
        }
        let (file, unread) = log.give_up_file(&idle)?;
        let is_in = |ticket: &Ticket| ticket.place_in(log).is_some_and(|(f, _)| f == file);
        let touches = |receipt: &Receipt| receipt.tickets().any(is_in);
        let parcels = state.queue.take_out(|parcel| touches(&parcel.receipt));
        let (out, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut state.shipments)
            .into_iter()
            .partition(|shipment| touches(&shipment.receipt));
        state.shipments = stay.into();
        self.show(&state);
        let parcels = parcels.into_iter().map(|parcel| parcel.receipt);
        let shipments = out.into_iter().map(|shipment| shipment.receipt);
        Some((unread, parcels.chain(shipments).collect()))
    }

    /// Records that nobody has read are given up.
    pub(super) fn give_up_unread(&self, lost: &Tally, reason: Reason) {
        for (account, items) in self.accounts.iter().zip(lost.weight) {
            account.settle(items, Fate::Dropped(reason));
        }
        if reason == Reason::QueueFull {
            self.say_given_up(lost.weight.iter().sum());
        }
    }
}
