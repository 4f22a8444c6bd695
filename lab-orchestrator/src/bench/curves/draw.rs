//! A curve as a picture.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Width and height of a picture, pixels.
const SIZE: (u32, u32) = (720, 360);

/// Lines are told apart by these colours: on white both are read well, and by everybody.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 90, 160), RGBColor(190, 80, 0)];

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) title: &'static str,
    pub(super) across: &'static str,
    pub(super) up: &'static str,
    /// The figures span decades, and none is zero.
    pub(super) decades: bool,
    pub(super) lines: Vec<Line>,
}

/// One line of it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// The picture as SVG.
///
/// What was not answered has no place in it.
pub(super) fn draw(picture: &Picture) -> Result<String> {
    let mut picture = picture.clone();
    for line in &mut picture.lines {
        line.points.retain(|(across, up)| across.is_finite() && up.is_finite());
    }
    let picture = &picture;
    let points = || picture.lines.iter().flat_map(|line| &line.points);
    let most = |figure: fn(&(f64, f64)) -> f64| points().map(figure).fold(1.0, f64::max);
    let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.1);
    let mut svg = String::new();
    let painted = if picture.decades {
        let least = |figure: fn(&(f64, f64)) -> f64| points().map(figure).fold(1.0, f64::min);
        let (left, bottom) = (least(|point| point.0), least(|point| point.1));
        paint(picture, &mut svg, (left..right).log_scale(), (bottom..top).log_scale())
    } else {
        paint(picture, &mut svg, 0.0..right, 0.0..top)
    };
    painted.map_err(|error| anyhow!("{error}"))?;
    Ok(svg)
}

fn paint<X, Y>(
    picture: &Picture,
    svg: &mut String,
    across: X,
    up: Y,
) -> Result<(), Box<dyn std::error::Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(picture.title, ("sans-serif", 18))
        .margin(12)
        .margin_right(30)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .x_desc(picture.across)
        .y_desc(picture.up)
        .x_label_formatter(&|figure| figure.to_string())
        .y_label_formatter(&|figure| figure.to_string())
        .label_style(("sans-serif", 13))
        .light_line_style(WHITE)
        .draw()?;
    for (line, colour) in picture.lines.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        let dots = line.points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .label_font(("sans-serif", 13))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_words_and_a_line_for_each_curve() {
        let line = |name| Line { name, points: vec![(0.5, 1.0), (10.0, 4.0), (20.0, f64::NAN)] };
        let picture = Picture {
            title: "What it costs",
            across: "ms",
            up: "puts",
            decades: true,
            lines: vec![line("p50"), line("p99")],
        };
        for picture in [Picture { decades: false, ..picture.clone() }, picture] {
            let svg = draw(&picture).expect("drawn");
            for word in ["What it costs", "p50", "p99", "puts"] {
                assert!(svg.contains(word), "{word} in {svg}");
            }
            assert!(svg.matches("<polyline").count() >= 2, "{svg}");
        }
    }
}
