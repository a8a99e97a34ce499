//! The results as pictures: SVG, without fonts or colours of any one system.

use std::io;
use std::path::Path;

use plotters::prelude::*;

use crate::statistics::Results;

/// Told apart by most eyes, in print too.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0x77, 0x77, 0x77),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x8f, 0xd1, 0x4f),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x33, 0x33, 0x33),
];
/// Whom the bars compare with.
const BASE: &str = "nginx";
/// Bars are cut here: what costs twice as much does not need to be measured by eye.
const RATIO_MAX: f64 = 2.0;

/// Draws everything that there are results for.
pub(crate) fn all(results: &Results, folder: &Path) -> io::Result<()> {
    ratios(results, &folder.join("cpu.svg")).map_err(io::Error::other)?;
    for (number, scenario) in results.scenarios.iter().enumerate() {
        if scenario.load.is_open() {
            let file = folder.join(format!("latency-{}.svg", scenario.name));
            percentiles(results, number, &file).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// The same in every picture: those that took part in everything have the first colours.
fn colour(results: &Results, peer: usize) -> RGBColor {
    let all = || 0..results.peers.len();
    let everywhere = all().filter(|&peer| results.is_everywhere(peer));
    let others = all().filter(|&peer| !results.is_everywhere(peer));
    let rank = everywhere.chain(others).position(|other| other == peer).unwrap_or(0);
    COLOURS[rank % COLOURS.len()]
}

/// Bars: the CPU time of each proxy in each scenario, nginx's being one.
fn ratios(results: &Results, file: &Path) -> Result<(), String> {
    let Some(base) = results.peer(BASE) else { return Ok(()) };
    let costs = |scenario: usize| {
        let shown = results.scenarios[scenario].shown;
        let metric = shown.iter().find(|metric| metric.name.starts_with("cpu"))?;
        let of_base = results.spread(scenario, base, metric.name)?.median;
        (of_base > 0.0).then_some((metric.name, of_base))
    };
    let scenarios: Vec<(usize, (&str, f64))> = (0..results.scenarios.len())
        .filter_map(|scenario| costs(scenario).map(|cost| (scenario, cost)))
        .collect();
    let peers: Vec<usize> = (0..results.peers.len())
        .filter(|&peer| results.peers[peer] != "direct" && results.is_everywhere(peer))
        .collect();
    if scenarios.is_empty() {
        return Ok(());
    }
    let fail = |error: &dyn std::fmt::Display| error.to_string();
    let root = SVGBackend::new(file, (1600, 480)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| fail(&error))?;
    let mut chart = ChartBuilder::on(&root)
        .caption("CPU time per operation, nginx = 1", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..scenarios.len() as f64, 0.0..RATIO_MAX)
        .map_err(|error| fail(&error))?;
    let name = |x: &f64| {
        let at = scenarios.iter().enumerate().find(|(at, _)| (*x - (*at as f64 + 0.5)).abs() < 0.3);
        at.map_or(String::new(), |(_, (scenario, _))| results.scenarios[*scenario].name.to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * scenarios.len() + 1)
        .x_label_formatter(&name)
        .x_label_style(("sans-serif", 10))
        .draw()
        .map_err(|error| fail(&error))?;
    let width = 0.9 / peers.len() as f64;
    for (place, &peer) in peers.iter().enumerate() {
        let colour = colour(results, peer);
        let bars = scenarios.iter().enumerate().filter_map(|(at, &(scenario, (metric, base)))| {
            let ratio = results.spread(scenario, peer, metric)?.median / base;
            let left = at as f64 + 0.05 + place as f64 * width;
            let corners = [(left, 0.0), (left + width * 0.9, ratio.min(RATIO_MAX))];
            Some(Rectangle::new(corners, colour.filled()))
        });
        chart
            .draw_series(bars)
            .map_err(|error| fail(&error))?
            .label(results.peers[peer].clone())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| fail(&error))?;
    root.present().map_err(|error| fail(&error))
}

/// Curves: the latency of each peer at each percentile, the last ones spread out.
fn percentiles(results: &Results, scenario: usize, file: &Path) -> Result<(), String> {
    let mut curves = Vec::new();
    for peer in 0..results.peers.len() {
        let Some(latency) = results.latency(scenario, peer) else { continue };
        if results.refusal(scenario, peer).is_some() {
            continue;
        }
        // x counts nines: 1 is 90 %, 2 is 99 %.
        let points = (0..=80).map(|step| f64::from(step) / 20.0).map(|nines| {
            let quantile = 1.0 - 10f64.powf(-nines);
            (nines, latency.value_at_quantile(quantile) as f64 / 1e3)
        });
        curves.push((peer, points.collect::<Vec<_>>()));
    }
    let highest = curves.iter().flat_map(|(_, points)| points).map(|point| point.1);
    let highest = highest.fold(100.0, f64::max);
    let fail = |error: &dyn std::fmt::Display| error.to_string();
    let root = SVGBackend::new(file, (900, 480)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| fail(&error))?;
    let caption =
        format!("{}: latency from the intended moment, µs", results.scenarios[scenario].name);
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..4.0, (10.0..highest * 1.2).log_scale())
        .map_err(|error| fail(&error))?;
    let label = |nines: &f64| format!("{} %", 100.0 - 100.0 * 10f64.powf(-nines));
    chart
        .configure_mesh()
        .x_labels(5)
        .x_label_formatter(&label)
        .x_desc("percentile")
        .draw()
        .map_err(|error| fail(&error))?;
    for (peer, points) in curves {
        let colour = colour(results, peer);
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(|error| fail(&error))?
            .label(results.peers[peer].clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| fail(&error))?;
    root.present().map_err(|error| fail(&error))
}
