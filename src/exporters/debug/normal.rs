//! `verbosity = "normal"`: a line an item, below one for its resource and one for its scope.

use std::fmt::{self, Write};
use std::time::Duration;

use super::basic;
use super::fields::{Content, Field, Part};
use super::numbers::{self, Time};
use super::page::{Page, count};
use super::points;
use super::values::{Attributes, Id, Inline, Name, Quoted, Style, Unreadable};
use crate::batch::Batch;
use crate::otlp::Signal;
use crate::otlp::schema::Kind;
use crate::otlp::wire::Fault;

/// The line of `basic`, and a line for each item below it.
pub(super) fn write(page: &mut Page, batch: &Batch) -> fmt::Result {
    basic::write(page, batch)?;
    for request in basic::parts(batch) {
        level(page, batch.signal, request)?;
    }
    Ok(())
}

/// What the items have in common, then the items.
fn level(page: &mut Page, signal: Signal, part: Part<'_>) -> fmt::Result {
    for field in part.fields().filter_map(Result::ok) {
        match (field.name(), field.part()) {
            ("resource", Some(resource)) => write_resource(page, resource)?,
            ("scope", Some(scope)) => write_scope(page, scope)?,
            _ => {}
        }
    }
    for field in part.fields() {
        let field = match field {
            Ok(field) => field,
            Err(fault) => return writeln!(page, "{}", Unreadable(fault)),
        };
        match (field.known.map(|known| known.kind), field.part()) {
            (Some(Kind::Level(_)), Some(metric)) if field.name() == "metrics" => {
                points::write_metric(page, metric)?;
            }
            (Some(Kind::Level(_)), Some(inside)) => level(page, signal, inside)?,
            (Some(Kind::Item(_)), Some(item)) => {
                match signal {
                    Signal::Traces => write_span(page, item)?,
                    Signal::Logs => write_record(page, item)?,
                    Signal::Metrics | Signal::Profiles => write_profile(page, item)?,
                }
                page.item_done();
            }
            _ => {}
        }
    }
    Ok(())
}

/// Calls `see` with each field that can be read, and gives back why the others cannot.
pub(super) fn each<'a>(part: Part<'a>, mut see: impl FnMut(Field<'a>)) -> Option<Fault> {
    for field in part.fields() {
        match field {
            Ok(field) => see(field),
            Err(fault) => return Some(fault),
        }
    }
    None
}

/// ` key="value" ...`, or nothing.
pub(super) fn write_attributes(page: &mut Page, attributes: &[Part<'_>]) -> fmt::Result {
    match attributes {
        [] => Ok(()),
        attributes => write!(page, " {}", Attributes(attributes)),
    }
}

/// Ends the line of an item.
pub(super) fn end_line(page: &mut Page, fault: Option<Fault>) -> fmt::Result {
    match fault {
        Some(fault) => writeln!(page, " {}", Unreadable(fault)),
        None => writeln!(page),
    }
}

fn write_resource(page: &mut Page, part: Part<'_>) -> fmt::Result {
    let mut attributes = Vec::new();
    let fault = each(part, |field| {
        if field.name() == "attributes" {
            attributes.extend(field.part());
        }
    });
    write!(page, "resource")?;
    write_attributes(page, &attributes)?;
    end_line(page, fault)
}

fn write_scope(page: &mut Page, part: Part<'_>) -> fmt::Result {
    let (mut name, mut version, mut attributes) = (&b""[..], &b""[..], Vec::new());
    let fault = each(part, |field| match (field.name(), field.content) {
        ("name", Content::Bytes(text)) => name = text,
        ("version", Content::Bytes(text)) => version = text,
        ("attributes", _) => attributes.extend(field.part()),
        _ => {}
    });
    write!(page, "scope {}", Name(name))?;
    if !version.is_empty() {
        write!(page, " {}", Name(version))?;
    }
    write_attributes(page, &attributes)?;
    end_line(page, fault)
}

#[derive(Default)]
struct Span<'a> {
    name: &'a [u8],
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent: &'a [u8],
    kind: u64,
    start: u64,
    end: u64,
    status: Option<Part<'a>>,
    attributes: Vec<Part<'a>>,
    events: u64,
    links: u64,
}

impl<'a> Span<'a> {
    fn see(&mut self, field: Field<'a>) {
        match (field.name(), field.content) {
            ("name", Content::Bytes(text)) => self.name = text,
            ("trace_id", Content::Bytes(id)) => self.trace_id = id,
            ("span_id", Content::Bytes(id)) => self.span_id = id,
            ("parent_span_id", Content::Bytes(id)) => self.parent = id,
            ("kind", Content::Varint(number)) => self.kind = number,
            ("start_time_unix_nano", Content::Fixed64(nanos)) => self.start = nanos,
            ("end_time_unix_nano", Content::Fixed64(nanos)) => self.end = nanos,
            ("status", _) => self.status = field.part(),
            ("attributes", _) => self.attributes.extend(field.part()),
            ("events", _) => self.events += 1,
            ("links", _) => self.links += 1,
            _ => {}
        }
    }
}

fn write_span(page: &mut Page, part: Part<'_>) -> fmt::Result {
    let mut span = Span::default();
    let fault = each(part, |field| span.see(field));
    write!(page, "span {}", Quoted(span.name, Style::SHORT))?;
    if let Some(kind) = numbers::span_kind(span.kind).filter(|_| span.kind != 0) {
        write!(page, " {kind}")?;
    }
    match span.end.checked_sub(span.start) {
        Some(nanos) => write!(page, " {:?}", Duration::from_nanos(nanos))?,
        None => write!(page, " (ends before it starts)")?,
    }
    write!(
        page,
        " trace_id={} span_id={}",
        Id(span.trace_id),
        Id(span.span_id)
    )?;
    if !span.parent.is_empty() {
        write!(page, " parent={}", Id(span.parent))?;
    }
    if let Some(status) = span.status {
        write_status(page, status)?;
    }
    write_attributes(page, &span.attributes)?;
    for (number, noun) in [(span.events, "events"), (span.links, "links")] {
        if number > 0 {
            write!(page, " ({})", count(number, noun))?;
        }
    }
    end_line(page, fault)
}

/// ` ERROR "out of stock"`; nothing for a status that is not set.
fn write_status(page: &mut Page, part: Part<'_>) -> fmt::Result {
    let (mut code, mut message) = (0, &b""[..]);
    let fault = each(part, |field| match (field.name(), field.content) {
        ("code", Content::Varint(number)) => code = number,
        ("message", Content::Bytes(text)) => message = text,
        _ => {}
    });
    match (code, numbers::status_code(code)) {
        (0, _) => {}
        (_, Some(status)) => write!(page, " {status}")?,
        (code, None) => write!(page, " status={code}")?,
    }
    if !message.is_empty() {
        write!(page, " {}", Quoted(message, Style::SHORT))?;
    }
    fault.map_or(Ok(()), |fault| write!(page, " {}", Unreadable(fault)))
}

#[derive(Default)]
struct Record<'a> {
    time: u64,
    observed: u64,
    severity: u64,
    severity_text: &'a [u8],
    event: &'a [u8],
    body: Option<Part<'a>>,
    attributes: Vec<Part<'a>>,
    trace_id: &'a [u8],
    span_id: &'a [u8],
}

impl<'a> Record<'a> {
    fn see(&mut self, field: Field<'a>) {
        match (field.name(), field.content) {
            ("time_unix_nano", Content::Fixed64(nanos)) => self.time = nanos,
            ("observed_time_unix_nano", Content::Fixed64(nanos)) => self.observed = nanos,
            ("severity_number", Content::Varint(number)) => self.severity = number,
            ("severity_text", Content::Bytes(text)) => self.severity_text = text,
            ("event_name", Content::Bytes(text)) => self.event = text,
            ("body", _) => self.body = field.part(),
            ("attributes", _) => self.attributes.extend(field.part()),
            ("trace_id", Content::Bytes(id)) => self.trace_id = id,
            ("span_id", Content::Bytes(id)) => self.span_id = id,
            _ => {}
        }
    }
}

fn write_record(page: &mut Page, part: Part<'_>) -> fmt::Result {
    let mut record = Record::default();
    let fault = each(part, |field| record.see(field));
    match (record.time, record.observed) {
        (0, 0) => write!(page, "log (no time)")?,
        (0, observed) => write!(page, "log {}", Time(observed))?,
        (time, _) => write!(page, "log {}", Time(time))?,
    }
    match (record.severity_text, numbers::severity(record.severity)) {
        ([], Some(severity)) => write!(page, " {severity}")?,
        ([], None) => {}
        (text, _) => write!(page, " {}", Name(text))?,
    }
    if !record.event.is_empty() {
        write!(page, " {}", Name(record.event))?;
    }
    if let Some(body) = record.body {
        write!(
            page,
            " {}",
            Inline::new(
                body,
                Style {
                    text: 400,
                    ..Style::SHORT
                }
            )
        )?;
    }
    write_attributes(page, &record.attributes)?;
    for (name, id) in [("trace_id", record.trace_id), ("span_id", record.span_id)] {
        if !id.is_empty() {
            write!(page, " {name}={}", Id(id))?;
        }
    }
    end_line(page, fault)
}

fn write_profile(page: &mut Page, part: Part<'_>) -> fmt::Result {
    let (mut id, mut time, mut nanos, mut samples) = (&b""[..], 0, 0, 0);
    let fault = each(part, |field| match (field.name(), field.content) {
        ("profile_id", Content::Bytes(bytes)) => id = bytes,
        ("time_unix_nano", Content::Fixed64(number)) => time = number,
        ("duration_nano", Content::Varint(number)) => nanos = number,
        ("samples", _) => samples += 1,
        _ => {}
    });
    let duration = Duration::from_nanos(nanos);
    let samples = count(samples, "samples");
    write!(
        page,
        "profile {} {} {duration:?} {samples}",
        Id(id),
        Time(time)
    )?;
    end_line(page, fault)
}
