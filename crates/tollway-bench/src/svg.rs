//! The plot: CPU per request of every case on Envoy, the bare route's part apart.

use std::fmt::Write;

use crate::verdict::Measured;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 250.0;
const NUMBERS: f64 = 110.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;
const TOP: f64 = 44.0;
/// The bare routes of Envoy: what is drawn is compared with one of them.
const BARE: [&str; 3] = ["bare", "bare_2_workers", "bare_proxied"];

/// A horizontal bar for each case.
pub(crate) fn plot(measured: Measured<'_>) -> String {
    let shown: Vec<_> =
        measured.0.iter().filter(|outcome| BARE.contains(&outcome.case.bare)).collect();
    let largest = shown.iter().map(|o| o.median(|s| s.cpu_us)).fold(1.0, f64::max);
    let scale = (WIDTH - LABELS - NUMBERS) / largest;
    let height = TOP + ROW * shown.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"22\" font-weight=\"bold\">Envoy's CPU per request in µs: \
         the bare route (grey), and what the filter adds</text>\n"
    );
    for (row, outcome) in shown.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let (cpu, name) = (outcome.median(|s| s.cpu_us), outcome.case.name);
        let added = measured.added_us(name).unwrap_or(0.0).clamp(0.0, cpu);
        let color = if outcome.case.label.starts_with("Tollway") { "#e0822b" } else { "#4a78b5" };
        let (bare_width, added_width) = ((cpu - added) * scale, added * scale);
        let text_y = y + BAR - 3.0;
        // Writing to a String does not fail.
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{text_y:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{bare_width:.1}\" height=\"{BAR}\" \
             fill=\"#c4c4c4\"/>\n\
             <rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{added_width:.1}\" height=\"{BAR}\" \
             fill=\"{color}\"/>\n\
             <text x=\"{:.1}\" y=\"{text_y:.1}\">{cpu:.1} (+{added:.1})</text>\n",
            LABELS - 8.0,
            outcome.case.label,
            LABELS + bare_width,
            LABELS + bare_width + added_width + 6.0,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
