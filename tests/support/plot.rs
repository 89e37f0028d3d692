//! A line chart as SVG, small enough to read.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const MARGIN: f64 = 30.0;
const COLOURS: [&str; 4] = ["#8a5a2b", "#2b6e8a", "#5a8a2b", "#8a2b5a"];

/// Values over 1, 2, 3 …, one line for each name. Both axes start at zero.
pub fn plot(title: &str, x_name: &str, y_name: &str, lines: &[(&str, Vec<f64>)]) -> String {
    let count = lines.iter().map(|(_, values)| values.len()).max().unwrap_or(1).max(2);
    let most = lines.iter().flat_map(|(_, values)| values).copied().fold(1.0, f64::max);
    let x = |at: usize| LEFT + (WIDTH - LEFT - RIGHT) * at as f64 / (count - 1) as f64;
    let y = |value: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / most;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{title}</text>\n"
    );
    let text = |svg: &mut String, at: (f64, f64), anchor: &str, text: &str| {
        let _ = writeln!(svg, "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{text}</text>", at.0, at.1);
    };
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0;
        let at = y(value);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>", WIDTH - RIGHT);
        text(&mut svg, (LEFT - 6.0, at + 4.0), "end", &format!("{value:.0}"));
    }
    text(&mut svg, (LEFT, HEIGHT - 10.0), "start", "1");
    text(&mut svg, (WIDTH - RIGHT, HEIGHT - 10.0), "end", &format!("{x_name} {count}"));
    text(&mut svg, (8.0, 18.0), "start", y_name);
    for ((name, values), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> =
            values.iter().enumerate().map(|(at, value)| format!("{:.1},{:.1}", x(at), y(*value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        let last = values.last().copied().unwrap_or(0.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" fill=\"{colour}\">{name}: {last:.0}</text>",
            WIDTH - RIGHT + 6.0,
            y(last) + 4.0
        );
    }
    svg + "</svg>\n"
}
