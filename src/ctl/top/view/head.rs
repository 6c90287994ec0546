//! The node at a glance: up to four lines, of which the first and the third matter most.

use super::canvas::Canvas;
use crate::control::{LinkRow, LinkState, MetricsReply, SpansReply, TimesReply};
use crate::ctl::text::{count, name, or_unknown, size, span, span_us, word};
use crate::ctl::top::model::Model;
use crate::ctl::wrap::wrapped;
use console::measure_text_width;
use ratatui::layout::Rect;

/// Columns of a rate, with its title.
const RATE_COLUMNS: u16 = 19;

pub(super) fn draw(canvas: &mut Canvas, area: Rect, model: &Model) {
    if area.height == 0 {
        return;
    }
    let line = |below: u16| Rect { y: area.y + below, height: 1, ..area };
    if let Some(trouble) = trouble(model) {
        // As many lines as it needs: nothing below changes until the daemon answers.
        let told = wrapped(&trouble, Some(usize::from(area.width)));
        (0..area.height).zip(told.lines()).for_each(|(below, told)| canvas.strong(line(below), told));
        let used = u16::try_from(told.lines().count()).unwrap_or(u16::MAX).max(1);
        if (3..=4).contains(&area.height) && used <= 2 {
            draw_rates(canvas, line(2), model);
        }
        return;
    }
    draw_node(canvas, line(0), model);
    match area.height {
        1 => {}
        2..4 => draw_rates(canvas, line(1), model),
        _ => {
            let links = model.metrics.as_ref().map(|metrics| links(&metrics.status.bootstraps));
            canvas.line(line(1), 0, &links.unwrap_or_default());
            draw_rates(canvas, line(2), model);
            if let Some(metrics) = &model.metrics {
                draw_turns(canvas, line(3), metrics);
            }
        }
    }
}

/// Why what is shown is not how things stand now.
fn trouble(model: &Model) -> Option<String> {
    if let Some(error) = &model.gone {
        return Some(format!("The daemon is gone; waiting for it: {}", name(error.message.as_bytes())));
    }
    model.silent_for.map(|silent| format!("The daemon has not answered for {}", span(silent.as_secs())))
}

fn draw_node(canvas: &mut Canvas, area: Rect, model: &Model) {
    let Some(metrics) = &model.metrics else { return };
    let status = &metrics.status;
    let listen = status.listen.map_or_else(|| "bootstrap node only".into(), |listen| listen.to_string());
    let mut text = format!("Pyrate {}  {listen}", name(status.version.as_bytes()));
    let waiting = match status.commands_queued {
        0 => String::new(),
        queued => format!("  {} waiting", count(queued, "command")),
    };
    let parts = [
        format!("  up {}", span(status.uptime_s)),
        format!("  {}", count(status.peers, "peer")),
        waiting,
        format!("  sharing {}", count(status.shared_files, "file")),
        format!(", {}", size(status.shared_bytes)),
    ];
    // What has no room is left out as a whole.
    for part in parts {
        if measure_text_width(&text) + measure_text_width(&part) <= usize::from(area.width) {
            text += &part;
        }
    }
    canvas.line(area, 0, &text);
}

/// Each link with its state; one that is not registered with its error.
fn links(links: &[LinkRow]) -> String {
    let shown = links.iter().map(|link| {
        let error = link.error.as_ref().filter(|_| link.state != LinkState::Registered);
        let error = error.map_or_else(String::new, |error| format!(" ({})", name(error.as_bytes())));
        format!("{} {}{error}", name(link.addr.as_bytes()), word(&link.state))
    });
    let shown = shown.collect::<Vec<_>>().join("; ");
    format!("Bootstrap {}", or_unknown((!shown.is_empty()).then_some(shown), |shown| shown))
}

fn draw_rates(canvas: &mut Canvas, area: Rect, model: &Model) {
    let now = model.rates.now();
    let half = Rect { width: area.width / 2, ..area };
    let sides = [half, Rect { x: area.x + half.width, width: area.width - half.width, ..area }];
    for (way, (title, side)) in ["Down", "Up"].into_iter().zip(sides).enumerate() {
        let rate = or_unknown(now, |now| size(now[way]) + "/s");
        canvas.line(side, 0, &format!("{title:<4} {rate:>12}"));
        let graph =
            Rect { x: side.x.saturating_add(RATE_COLUMNS), width: side.width.saturating_sub(RATE_COLUMNS + 1), ..side };
        canvas.bars(graph, model.rates.graph(way, usize::from(graph.width)));
    }
}

/// How long turns of the loop took, since start, and how many took how long.
fn draw_turns(canvas: &mut Canvas, area: Rect, metrics: &MetricsReply) {
    let TimesReply { p50_us, p99_us, p999_us, max_us, .. } = metrics.status.turns;
    let [p50, p99, p999, max] = [p50_us, p99_us, p999_us, max_us].map(span_us);
    let used = canvas.line(area, 0, &format!("Turns  p50 {p50}  p99 {p99}  p99.9 {p999}  longest {max}  "));
    let bars = histogram(&metrics.turns);
    let width = u16::try_from(bars.len()).unwrap_or(u16::MAX);
    let bars_area = Rect { x: area.x + used, width: width.min(area.width - used), ..area };
    canvas.bars(bars_area, bars);
    let after = used.saturating_add(width).min(area.width);
    let legend = metrics.turns.less_than.first().zip(metrics.turns.less_than.last());
    let legend = legend.map(|(first, last)| format!("  from under {} to over {}", span_us(first.us), span_us(last.us)));
    let rest = Rect { x: area.x + after, width: area.width - after, ..area };
    if let Some(legend) = legend.filter(|legend| legend.len() <= usize::from(rest.width)) {
        canvas.line(rest, 0, &legend);
    }
}

/// How many values are in each span, by orders of magnitude: most turns are short, and the few long ones matter.
fn histogram(spans: &SpansReply) -> Vec<u64> {
    let below = spans.less_than.iter().map(|below| below.count).chain([spans.count]);
    let before = std::iter::once(0).chain(spans.less_than.iter().map(|below| below.count));
    let counts = below.zip(before).map(|(below, before)| below.saturating_sub(before));
    counts.map(|count| u64::from(u64::BITS - count.leading_zeros())).collect()
}
