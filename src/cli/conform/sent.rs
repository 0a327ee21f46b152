//! What a server makes of a request, over whichever protocols were given.

use super::data::{self, answer};
use super::line::{Checked, Verdict, expect, failed, noted, pass, skipped};
use super::probe::{Ask, Probe};
use super::wire::grpc::Called;
use super::wire::http1::Answer;
use crate::otlp::Signal;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it is taken.
    Taken,
    /// So many of its items are refused.
    Partly(i64),
    /// It is refused for good.
    Refused,
    /// It failed, with a code that is not to be retried either but says that the server is at
    /// fault (500 and its like).
    Failed,
    /// Something else: an answer that asks for another try, or one that makes no sense.
    Unclear,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) fate: Fate,
    /// The answer in words.
    pub(super) told: String,
}

impl Sent {
    fn over_http(answer: &Answer, partial: Result<Option<answer::Partial>, String>) -> Self {
        let fate = match answer.code {
            200 => of_partial(partial),
            // Of the 4xx, one asks for another try.
            400..=428 | 430..=499 => Fate::Refused,
            // Of the 5xx, these do.
            502..=504 => Fate::Unclear,
            500..=599 => Fate::Failed,
            _ => Fate::Unclear,
        };
        Self {
            fate,
            told: format!("{}{}", answer.told(), rejecting(fate)),
        }
    }

    fn over_grpc(called: &Called) -> Self {
        let fate = if called.is_ok() {
            let message = called.message();
            of_partial(message.and_then(|message| answer::partial(&message)))
        } else if called.code().is_some() && !called.is_retryable() {
            Fate::Refused
        } else {
            Fate::Unclear
        };
        Self {
            fate,
            told: format!("{}{}", called.told(), rejecting(fate)),
        }
    }

    /// Goes on where all of it was taken.
    pub(super) fn is_taken(&self, what: &str) -> Result<(), Verdict> {
        let got = format!("{} for {what}", self.told);
        expect(self.fate == Fate::Taken, "all of it taken", got)
    }

    /// The same for lines about what is passed on: that it is taken is told by another.
    pub(super) fn can_be_passed_on(&self) -> Result<(), Verdict> {
        match self.fate {
            Fate::Taken => Ok(()),
            _ => Err(skipped(format!("it is not taken: {}", self.told))),
        }
    }

    /// What became of it in a word; goes on where it is clear that it is not to be sent again.
    pub(super) fn survived(&self, what: &str) -> Result<&'static str, Verdict> {
        match self.fate {
            Fate::Taken => Ok("taken"),
            Fate::Partly(_) => Ok("taken in part"),
            Fate::Refused | Fate::Failed => Ok("refused"),
            Fate::Unclear => {
                let got = format!("{} for {what}", self.told);
                Err(failed("taken, or refused for good", got))
            }
        }
    }

    /// Goes on where it was refused for good: all of it, or the items that are bad.
    pub(super) fn is_refused(&self, what: &str) -> Result<(), Verdict> {
        let got = format!("{} for {what}", self.told);
        let fits = match self.fate {
            Fate::Refused => true,
            Fate::Partly(rejected) => rejected > 0,
            Fate::Taken | Fate::Failed | Fate::Unclear => false,
        };
        expect(fits, "400 or a refusal in part", got)
    }
}

fn of_partial(partial: Result<Option<answer::Partial>, String>) -> Fate {
    match partial {
        Ok(Some(partial)) if partial.rejected != 0 => Fate::Partly(partial.rejected),
        Ok(_) => Fate::Taken,
        Err(_) => Fate::Unclear,
    }
}

fn rejecting(fate: Fate) -> String {
    match fate {
        Fate::Partly(items) => format!(", {items} rejected"),
        _ => String::new(),
    }
}

impl Probe {
    /// Sends a request in protobuf over all protocols that were given.
    pub(super) async fn deliver(&self, signal: Signal, body: &[u8]) -> Result<Vec<Sent>, Verdict> {
        self.wants(signal)?;
        let mut all = Vec::new();
        if self.http.is_some() {
            let answer = self.ask(&Ask::protobuf(signal, body)).await?;
            let partial = answer::partial(&answer.body);
            all.push(Sent::over_http(&answer, partial));
        }
        if self.grpc.is_some() {
            all.push(Sent::over_grpc(&self.export(signal, body).await?));
        }
        Ok(all)
    }

    /// Sends a request in JSON.
    pub(super) async fn deliver_json(
        &self,
        signal: Signal,
        body: impl Into<Vec<u8>>,
    ) -> Result<Sent, Verdict> {
        self.wants(signal)?;
        let answer = self.ask(&Ask::json(signal, body)).await?;
        let partial = answer::partial_json(signal, &answer.body);
        Ok(Sent::over_http(&answer, partial))
    }

    /// Each of these requests is taken.
    pub(super) async fn takes_all(&self, signal: Signal, cases: &[Case]) -> Checked {
        for (what, body) in cases {
            for sent in self.deliver(signal, body).await? {
                sent.is_taken(what)?;
            }
        }
        pass()
    }

    /// Each of these requests is refused for good.
    pub(super) async fn refuses_all(&self, signal: Signal, cases: &[Case]) -> Checked {
        for (what, body) in cases {
            for sent in self.deliver(signal, body).await? {
                sent.is_refused(what)?;
            }
        }
        self.is_alive(signal).await
    }

    /// Each of these requests is answered, one way or the other, and the server goes on.
    pub(super) async fn survives_all(&self, signal: Signal, cases: &[Case]) -> Checked {
        let mut told = Vec::new();
        for (what, body) in cases {
            for sent in self.deliver(signal, body).await? {
                told.push(format!("{what}: {}", sent.survived(what)?));
            }
        }
        self.is_alive(signal).await?;
        told.dedup();
        noted(told.join("; "))
    }

    /// A proper request is taken, whatever came before.
    pub(super) async fn is_alive(&self, signal: Signal) -> Checked {
        for sent in self.deliver(signal, &data::request(signal, 1)).await? {
            sent.is_taken("the proper request after it")?;
        }
        pass()
    }

    /// Goes on where the server takes this signal, as the user said.
    pub(super) fn wants(&self, signal: Signal) -> Result<(), Verdict> {
        match self.takes(signal) {
            true => Ok(()),
            false => Err(skipped(format!(
                "{} are not among --signals",
                signal.name()
            ))),
        }
    }
}

/// A request and what is odd about it.
pub(super) type Case = (&'static str, Vec<u8>);
