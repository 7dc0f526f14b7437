//! Line charts as SVG, drawn by hand: no library, no script, readable in light and dark.

use std::fmt::Write as _;

use super::stats::figure;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
const COLOURS: [&str; 8] = ["#2f6fde", "#d9480f", "#2b8a3e", "#9c36b5", "#c2255c", "#0c8599", "#e8a100", "#5c677d"];

/// A chart.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) axis: Axis,
    /// Heights by their logarithm.
    pub(super) log_y: bool,
    pub(super) lines: &'a [Line],
}

/// How the horizontal axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// Evenly, from 0.
    Linear,
    /// Percentiles: each nine takes the same room.
    Percentile,
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Chart<'_> {
    /// The drawing.
    pub(super) fn draw(&self) -> String {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" fill=\"#222\">{}</text>",
            escaped(self.title)
        );
        self.grid(&mut out);
        for (n, line) in self.lines.iter().enumerate() {
            self.line(&mut out, line, COLOURS[n % COLOURS.len()], n);
        }
        out.push_str("</svg>\n");
        out
    }

    fn grid(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in self.x_ticks() {
            let x = self.x_at(value);
            put(out, format_args!("<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e4e4e4\"/>"));
            put(out, format_args!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>", bottom + 15.0));
        }
        for value in self.y_ticks() {
            let y = self.y_at(value);
            put(out, format_args!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/>"));
            put(
                out,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
                    LEFT - 6.0,
                    y + 4.0,
                    figure(value)
                ),
            );
        }
        put(
            out,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222\">{}</text>",
                f64::midpoint(LEFT, right),
                HEIGHT - 10.0,
                escaped(self.x)
            ),
        );
        let middle = f64::midpoint(TOP, bottom);
        put(
            out,
            format_args!(
                "<text transform=\"translate(14 {middle:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#222\">{}</text>",
                escaped(self.y)
            ),
        );
    }

    fn line(&self, out: &mut String, line: &Line, colour: &str, n: usize) {
        let points: Vec<String> = line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.x_at(*x), self.y_at(*y))).collect();
        put(out, format_args!("<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>", points.join(" ")));
        if line.points.len() <= 16 {
            for point in &points {
                let (x, y) = point.split_once(',').unwrap_or_default();
                put(out, format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"2.4\" fill=\"{colour}\"/>"));
            }
        }
        let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 10.0 + 17.0 * n as f64);
        put(out, format_args!("<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"/>", x + 14.0));
        put(out, format_args!("<text x=\"{}\" y=\"{}\" fill=\"#222\">{}</text>", x + 20.0, y + 4.0, escaped(&line.label)));
    }

    fn x_at(&self, value: f64) -> f64 {
        let share = match self.axis {
            Axis::Linear => value / self.x_top(),
            Axis::Percentile => nines(value) / nines(100.0),
        };
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        let (low, top) = (self.y_low(), self.y_top());
        let share = if self.log_y { (value.max(low) / low).log10() / (top / low).log10() } else { value / top };
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn x_ticks(&self) -> Vec<(f64, String)> {
        match self.axis {
            Axis::Percentile => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99].map(|p| (p, format!("{p}"))).to_vec(),
            Axis::Linear => (0..=5).map(|n| self.x_top() * f64::from(n) / 5.0).map(|value| (value, figure(value))).collect(),
        }
    }

    fn y_ticks(&self) -> Vec<f64> {
        if !self.log_y {
            return (0..=5).map(|n| self.y_top() * f64::from(n) / 5.0).collect();
        }
        let (first, last) = (self.y_low().log10().round() as i32, self.y_top().log10().round() as i32);
        (first..=last).map(|n| 10_f64.powi(n)).collect()
    }

    fn x_top(&self) -> f64 {
        round_up(self.points().map(|(x, _)| *x).fold(0.0, f64::max))
    }

    fn y_top(&self) -> f64 {
        let most = self.points().map(|(_, y)| *y).fold(0.0, f64::max);
        if self.log_y { 10_f64.powf(most.max(self.y_low() * 1.01).log10().ceil()) } else { round_up(most) }
    }

    /// The lowest power of ten that is needed.
    fn y_low(&self) -> f64 {
        let least = self.points().map(|(_, y)| *y).filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min);
        if least.is_finite() { 10_f64.powf(least.log10().floor()) } else { 1.0 }
    }

    fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.lines.iter().flat_map(|line| &line.points)
    }
}

/// How many nines: 0 at 0, 1 at 90, 2 at 99; all is as far as 99.999.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-5).log10()
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value * 0.999_999).unwrap_or(10.0 * power)
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes everything");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart<'a>(axis: Axis, log_y: bool, lines: &'a [Line]) -> Chart<'a> {
        Chart { title: "a < b", x: "x", y: "y", axis, log_y, lines }
    }

    #[test]
    fn axes_are_round_and_points_lie_within() {
        assert_eq!([0.0, 0.9, 7.0, 10.0, 21.0, 260.0].map(round_up), [1.0, 1.0, 10.0, 10.0, 25.0, 500.0]);
        let lines = [Line { label: "one".into(), points: vec![(0.0, 0.0), (8.0, 40.0)] }];
        let linear = chart(Axis::Linear, false, &lines);
        assert_eq!((linear.x_at(0.0), linear.x_at(10.0)), (LEFT, WIDTH - RIGHT));
        assert_eq!((linear.y_at(0.0), linear.y_at(50.0)), (HEIGHT - BOTTOM, TOP));
        let svg = linear.draw();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b") && svg.contains(">one</text>"));
        assert_eq!(svg.matches("<circle").count(), 2);
    }

    #[test]
    fn percentiles_take_a_step_for_each_nine_and_latencies_for_each_power_of_ten() {
        let lines = [Line { label: "one".into(), points: vec![(50.0, 0.3), (100.0, 42.0)] }];
        let chart = chart(Axis::Percentile, true, &lines);
        let (p0, p90, p99) = (chart.x_at(0.0), chart.x_at(90.0), chart.x_at(99.0));
        assert!((p90 - p0 - (p99 - p90)).abs() < 1e-6);
        assert_eq!(chart.x_at(100.0), WIDTH - RIGHT);
        assert_eq!(chart.y_ticks(), [0.1, 1.0, 10.0, 100.0]);
        assert!((chart.y_at(1.0) - chart.y_at(10.0) - (chart.y_at(10.0) - chart.y_at(100.0))).abs() < 1e-6);
        assert!(!super::Chart { lines: &[], ..chart }.draw().is_empty());
    }
}
