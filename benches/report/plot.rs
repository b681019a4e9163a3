//! The figures as a picture: nanoseconds over the number of mappings, both by powers
//! of ten, a panel for each workload.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::figures::Figures;

const TABLE: &str = "ns";
const COLUMNS: usize = 3;
const PANEL: (u32, u32) = (360, 270);
const LEGEND: u32 = 40;

/// The contenders, and a colour that also those can tell apart who see fewer.
const LINES: [(&str, RGBColor); 5] = [
    ("RangeMap", RGBColor(213, 94, 0)),
    ("AddrSpace", RGBColor(230, 159, 0)),
    ("rangemap", RGBColor(0, 114, 178)),
    ("nodit", RGBColor(0, 158, 115)),
    ("with index", RGBColor(150, 150, 150)),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture.
pub fn svg(figures: &Figures) -> String {
    let names = figures.names(TABLE);
    let rows = u32::try_from(names.len().div_ceil(COLUMNS)).expect("there are few workloads");
    let size = (PANEL.0 * 3, PANEL.1 * rows + LEGEND);
    let mut svg = String::new();
    draw(figures, &names, &SVGBackend::with_string(&mut svg, size).into_drawing_area())
        .expect("a string takes everything");
    svg
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(figures: &Figures, names: &[&str], area: &Area<'a>) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let (legend, panels) = area.split_vertically(LEGEND);
    for (at, (who, colour)) in (0..).zip(LINES) {
        let left = 30 + 190 * at;
        let line = [(left, 20), (left + 30, 20)];
        legend.draw(&PathElement::new(line, colour.stroke_width(2)))?;
        legend.draw(&Text::new(who, (left + 38, 13), ("sans-serif", 15)))?;
    }
    let panels = panels.split_evenly((names.len().div_ceil(COLUMNS), COLUMNS));
    for (name, panel) in names.iter().zip(&panels) {
        draw_panel(figures, name, panel)?;
    }
    area.present()
}

fn draw_panel<'a>(figures: &Figures, name: &str, panel: &Area<'a>) -> Drawn<'a> {
    let sizes = figures.sizes(TABLE, name);
    let line = |who: &str| -> Vec<(f64, f64)> {
        let point = |&size: &usize| Some((size as f64, figures.get(TABLE, name, size, who)?));
        sizes.iter().filter_map(point).collect()
    };
    let all: Vec<(f64, f64)> = LINES.iter().flat_map(|(who, _)| line(who)).collect();
    let least = all.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = all.iter().map(|point| point.1).fold(1.0, f64::max);
    let widest = all.iter().map(|point| point.0).fold(100.0, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("{name}, ns"), ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(22)
        .y_label_area_size(56)
        .build_cartesian_2d(
            (10.0..widest * 1.5).log_scale(),
            (least.max(0.1) / 1.5..most * 1.5).log_scale(),
        )?;
    let thousands = |value: &f64| match *value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    };
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&thousands)
        .y_label_formatter(&thousands)
        .light_line_style(TRANSPARENT)
        .draw()?;
    // Ours last, so that they lie on top.
    for (who, colour) in LINES.iter().rev() {
        let points = line(who);
        let series = LineSeries::new(points, colour.stroke_width(2)).point_size(2);
        chart.draw_series(series)?;
    }
    Ok(())
}
