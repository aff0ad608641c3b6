//! Bar charts in `docs/charts`, for the documentation.

use std::fs;
use std::path::Path;

use anyhow::Context;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The size of a panel in pixels.
const PANEL: (u32, u32) = (440, 260);

/// The height above the panels in pixels, for the title and the names of the bars.
const HEAD: u32 = 64;

/// Colours that differ in print and for most readers with a colour vision deficiency (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

/// Panels in rows of two, whose bars have the same names.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// The names of the bars of a group.
    pub(crate) bars: Vec<&'static str>,
    pub(crate) panels: Vec<Panel>,
}

#[derive(Clone)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// The label of each group, and the heights of its bars.
    pub(crate) groups: Vec<(String, Vec<f64>)>,
}

impl Chart {
    /// Writes `docs/charts/<name>.svg`.
    pub(crate) fn write(&self, name: &str) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/charts");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{name}.svg"));
        self.draw(&file)
            .with_context(|| format!("the chart {} cannot be written", file.display()))
    }

    fn draw(&self, file: &Path) -> anyhow::Result<()> {
        let columns = self.panels.len().min(2);
        let rows = self.panels.len().div_ceil(2);
        let size = (
            PANEL.0 * u32::try_from(columns)?,
            PANEL.1 * u32::try_from(rows)? + HEAD,
        );
        let root = SVGBackend::new(file, size).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, body) = root.split_vertically(HEAD);
        self.draw_head(&head)?;
        let areas = body.split_evenly((rows, columns));
        for (panel, area) in self.panels.iter().zip(&areas) {
            panel.draw(area)?;
        }
        root.present()?;
        Ok(())
    }

    fn draw_head(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> anyhow::Result<()> {
        area.draw(&Text::new(self.title.clone(), (12, 10), ("sans-serif", 18)))?;
        let mut left = 12;
        for (name, colour) in self.bars.iter().zip(COLOURS) {
            area.draw(&Rectangle::new(
                [(left, 42), (left + 12, 54)],
                colour.filled(),
            ))?;
            area.draw(&Text::new(*name, (left + 17, 41), ("sans-serif", 14)))?;
            // The width of the widest letters of this size.
            left += 40 + 8 * i32::try_from(name.len())?;
        }
        Ok(())
    }
}

impl Panel {
    #[allow(clippy::cast_precision_loss, reason = "a few bars")]
    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> anyhow::Result<()> {
        let heights = self.groups.iter().flat_map(|(_, heights)| heights);
        let highest = heights.copied().fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(44)
            .build_cartesian_2d(0.0..self.groups.len() as f64, 0.0..highest * 1.12)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(6)
            .light_line_style(TRANSPARENT)
            .draw()?;
        let below = Pos::new(HPos::Center, VPos::Top);
        let above = Pos::new(HPos::Center, VPos::Bottom);
        for (nth, (name, heights)) in self.groups.iter().enumerate() {
            let left = nth as f64 + 0.08;
            let width = 0.84 / heights.len() as f64;
            for (bar, (height, colour)) in heights.iter().zip(COLOURS).enumerate() {
                let from = left + bar as f64 * width;
                chart.draw_series([Rectangle::new(
                    [(from, 0.0), (from + width * 0.92, *height)],
                    colour.filled(),
                )])?;
                let value = TextStyle::from(("sans-serif", 10)).pos(above);
                chart.draw_series([Text::new(
                    shown(*height),
                    (from + width * 0.46, *height),
                    value,
                )])?;
            }
            let (x, y) = chart.backend_coord(&(nth as f64 + 0.5, 0.0));
            let (x0, y0) = area.get_base_pixel();
            let label = TextStyle::from(("sans-serif", 13)).pos(below);
            area.draw(&Text::new(name.clone(), (x - x0, y - y0 + 5), label))?;
        }
        Ok(())
    }
}

/// A number with as many digits as are readable in a chart.
fn shown(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}
