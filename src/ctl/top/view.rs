//! The picture: a title, the load, the replicas, the last events, the keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::load::TopLoad;
use super::model::{TopModel, TopRow};
use crate::api::{ReplicaEventKind, ReplicaState};
use crate::ctl::events::word;
use crate::ctl::output::{ago, plain};
use crate::human;

/// Rows of events that stay however many replicas there are.
const MIN_EVENTS: u16 = 6;

/// Of a longer name the beginning is shown.
const MIN_NAME: usize = 7;
const MAX_NAME: usize = 20;

const COLUMNS: [(&str, Constraint); 10] = [
    // As wide as the longest name.
    ("REPLICA", Constraint::Length(0)),
    ("STATE", Constraint::Length(11)),
    ("GEN", Constraint::Length(3)),
    ("LOAD", Constraint::Length(4)),
    ("REQ/S", Constraint::Length(6)),
    ("ERR/S", Constraint::Length(5)),
    ("P50", Constraint::Length(6)),
    ("P99", Constraint::Length(6)),
    ("DEATHS", Constraint::Length(6)),
    ("NOTE", Constraint::Fill(1)),
];

/// Draws the model.
pub fn draw(frame: &mut Frame<'_>, model: &TopModel) {
    let rows = model.rows();
    let wanted = u16::try_from(rows.len())
        .unwrap_or(u16::MAX)
        .saturating_add(1);
    let [title, load, _, replicas, events_title, events, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Max(wanted),
        Constraint::Length(2),
        Constraint::Min(MIN_EVENTS),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(plain(&model.title())).bold(), title);
    frame.render_widget(load_line(&model.load(), &rows), load);
    draw_replicas(frame, replicas, &rows, model.first);
    let heading = Paragraph::new(vec![Line::default(), Line::from("EVENTS").bold()]);
    frame.render_widget(heading, events_title);
    draw_events(frame, events, model);
    let help = match model.failure() {
        Some(why) => Line::from(plain(&why)).fg(Color::Red),
        None => Line::from("q quit   up/down scroll   rates and latencies of the last 10 s").dim(),
    };
    frame.render_widget(help, keys);
}

fn load_line(load: &TopLoad, rows: &[TopRow<'_>]) -> Line<'static> {
    let in_flight: u32 = rows.iter().map(|row| row.replica.in_flight).sum();
    let errors = format!("{} errors/s", number(load.errors));
    Line::from(vec![
        Span::raw(format!("{} requests/s   ", number(load.rate))),
        if load.errors > 0.0 {
            errors.fg(Color::Red)
        } else {
            Span::raw(errors)
        },
        Span::raw(format!(
            "   p50 {}   p99 {}   {in_flight} in flight",
            time(load.p50),
            time(load.p99)
        )),
    ])
}

fn draw_replicas(frame: &mut Frame<'_>, area: Rect, rows: &[TopRow<'_>], first: usize) {
    // The last page is full.
    let shown = usize::from(area.height.saturating_sub(1));
    let first = first.min(rows.len().saturating_sub(shown));
    let table_rows = rows.iter().skip(first).map(|row| {
        let replica = row.replica;
        Row::new([
            Cell::from(replica.name.clone()),
            Cell::from(replica.state.to_string()).style(state_style(replica.state)),
            right(replica.generation.to_string()),
            right(replica.in_flight.to_string()),
            right(number(row.load.rate)),
            match row.load.errors > 0.0 {
                true => right(number(row.load.errors)).fg(Color::Red),
                false => right(number(row.load.errors)),
            },
            right(time(row.load.p50)),
            right(time(row.load.p99)),
            right(row.restarts.to_string()),
            Cell::from(row.note.clone()),
        ])
    });
    let header = COLUMNS
        .iter()
        .enumerate()
        .map(|(place, (name, _))| match place {
            2..=8 => right((*name).to_owned()),
            _ => Cell::from(*name),
        });
    let names = rows.iter().map(|row| row.replica.name.len());
    let longest = names.max().unwrap_or_default().clamp(MIN_NAME, MAX_NAME);
    let mut widths = COLUMNS.map(|(_, width)| width);
    // Below 100.
    widths[0] = Constraint::Length(longest as u16);
    let table = Table::new(table_rows, widths).header(Row::new(header).bold());
    frame.render_widget(table, area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, model: &TopModel) {
    let now = model.now();
    let shown = model.events.iter().take(usize::from(area.height));
    let lines = shown.map(|event| {
        let reason = match &event.reason {
            Some(reason) => format!(": {}", plain(reason)),
            None => String::new(),
        };
        Line::from(vec![
            Span::raw(format!("{:>11}  ", ago(now, event.at))).dim(),
            Span::raw(match &event.replica {
                Some(replica) => format!("{replica} "),
                None => String::new(),
            }),
            Span::styled(word(event.event), event_style(event.event)),
            Span::raw(reason),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn state_style(state: ReplicaState) -> Style {
    match state {
        ReplicaState::Ready => Style::new().fg(Color::Green),
        ReplicaState::Hung | ReplicaState::BackingOff => Style::new().fg(Color::Red),
        _ => Style::new().fg(Color::Yellow),
    }
}

fn event_style(event: ReplicaEventKind) -> Style {
    match event {
        ReplicaEventKind::Ready | ReplicaEventKind::Readmitted | ReplicaEventKind::Recovered => {
            Style::new().fg(Color::Green)
        }
        ReplicaEventKind::Evicted
        | ReplicaEventKind::Ejected
        | ReplicaEventKind::Unready
        | ReplicaEventKind::Degraded => Style::new().fg(Color::Red),
        _ => Style::new(),
    }
}

/// A rate as precisely as it matters.
fn number(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 99_999.5 => format!("{rate:.0}"),
        rate => format!("{:.0}k", rate / 1e3),
    }
}

fn time(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), human::milliseconds)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;
    use crate::api::{ReplicaEvent, Timestamp};
    use crate::ctl::top::load::LoadSample;

    fn model(replicas: usize) -> TopModel {
        let now = Timestamp::from(std::time::SystemTime::UNIX_EPOCH) + Duration::from_secs(7_200);
        let replica = |number: usize| {
            json!({
                "name": format!("Server{number}"), "weight": 1,
                "state": if number == 2 { "backing_off" } else { "ready" },
                "generation": number, "endpoint": null, "pid": null, "container": null,
                "in_flight": 3, "ejected": number == 1, "slow_start_share": null,
                "outdated": false, "consecutive_deaths": 0, "degraded": false,
                "last_error": if number == 2 { Some("exit code 1\u{1b}[2J") } else { None },
            })
        };
        let status = json!({
            "version": "0.1.0", "now": now,
            "started_at": "1970-01-01T00:00:00Z", "max_connections": 1,
            "fleets": [{
                "name": "default", "desired_replicas": replicas, "ready_replicas": replicas - 1,
                "key": "id", "sticky_cookie": null, "max_in_flight": null, "epoch": 1,
                "ring": {"strategy": "rendezvous", "slots": 1, "virtual_servers": null,
                         "balance_factor": null},
                "runtime": {"kind": "process", "last_error": null},
                "record": {"place": null, "version": 1, "definition": "", "drift": null,
                           "last_error": null},
                "counters": {"requests": 0, "retried": 0, "retries_over_budget": 0, "queued": 0,
                             "failed": 0, "unavailable": 0, "overloaded": 0},
                "replicas": (1..=replicas).map(replica).collect::<Vec<_>>(),
            }],
        });
        let begin = Instant::now();
        let mut model = TopModel::new("http://127.0.0.1:5001", "default");
        for (requests, seconds) in [(0, 0), (1_234, 10)] {
            let text = format!(
                "ringmaster_requests_total{{fleet=\"default\",replica=\"Server1\",code=\"200\"}} {requests}\n\
                 ringmaster_request_duration_seconds_bucket{{fleet=\"default\",replica=\"Server1\",le=\"0.002\"}} {requests}\n\
                 ringmaster_request_duration_seconds_bucket{{fleet=\"default\",replica=\"Server1\",le=\"+Inf\"}} {requests}\n\
                 ringmaster_replica_restarts_total{{fleet=\"default\",replica=\"Server2\",cause=\"exit\"}} 4\n"
            );
            let at = begin + Duration::from_secs(seconds);
            let status = serde_json::from_value(status.clone()).unwrap();
            model.take_state(status, LoadSample::parse(&text, "default", at));
        }
        for id in 1..=30 {
            model.take_event(ReplicaEvent {
                id,
                fleet: "default".to_owned(),
                at: now - Duration::from_secs(100 - id),
                replica: Some("Server2".to_owned()),
                generation: Some(id),
                event: ReplicaEventKind::Evicted,
                reason: Some("exit code 1".to_owned()),
            });
        }
        model
    }

    fn screen(model: &TopModel) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(80);
        let text = |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect();
        rows.map(|row| -> String { text(row) })
            .map(|row| row.trim_end().to_owned())
            .collect()
    }

    #[test]
    fn screen_of_80_by_24_shows_load_replicas_and_events() {
        let rows = screen(&model(3));
        assert_eq!(
            rows[..7],
            [
                "Ringmaster 0.1.0  http://127.0.0.1:5001  up 2 h  fleet default: 2 of 3 ready",
                "123 requests/s   0 errors/s   p50 1.0 ms   p99 2.0 ms   9 in flight",
                "",
                "REPLICA STATE       GEN LOAD  REQ/S ERR/S    P50    P99 DEATHS NOTE",
                "Server1 ready         1    3    123     0 1.0 ms 2.0 ms      0 ejected",
                "Server2 backing off   2    3      0     0      -      -      4 exit code 1\\u{1b}",
                "Server3 ready         3    3      0     0      -      -      0",
            ],
            "{rows:#?}"
        );
        assert_eq!(rows[8], "EVENTS");
        assert_eq!(rows[9], "   70 s ago  Server2 evicted: exit code 1");
        assert!(rows[23].starts_with("q quit"), "{rows:#?}");
    }

    #[test]
    fn screen_with_many_replicas_scrolls_and_keeps_events() {
        let mut model = model(100);
        let rows = screen(&model);
        assert!(
            rows.iter().any(|row| row.starts_with("Server10 ")),
            "{rows:#?}"
        );
        let events = rows.iter().filter(|row| row.contains("evicted")).count();
        assert_eq!(events, usize::from(MIN_EVENTS), "{rows:#?}");
        for _ in 0..20 {
            model.scroll(super::super::keys::TopKey::PageDown);
        }
        let rows = screen(&model);
        assert!(
            rows.iter().any(|row| row.starts_with("Server100 ")),
            "{rows:#?}"
        );
    }

    #[test]
    fn failure_is_shown_until_the_next_answer() {
        let mut model = model(2);
        model.take_failure("connection refused".to_owned());
        let last = screen(&model).pop().unwrap();
        assert!(
            last.starts_with("no answer for 0 s: connection refused"),
            "{last}"
        );
    }
}
