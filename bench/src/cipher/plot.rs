//! The plot of the cipher rows: nanoseconds per packet by size, and the share of what the CPU's units allow.
//!
//! Owns: the SVG. Sizes are on a logarithmic axis; colours follow the reader's light or dark scheme.

use std::fmt::Write as _;

use super::shape::{Form, Pass, SIZES};
use super::tables::{Place, at};
use crate::report::Row;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 720.0;
/// Left and right edges of both panels; names of the lines stand to the right.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 590.0;
/// Sizes that are written below the panels; the rest would overlap.
const TICKS: [u16; 7] = [64, 256, 512, 1448, 4096, 8192, 16384];

/// Text and lines by scheme; `s0` to `s5` are the series.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#24292f}.h{font-weight:600;font-size:15px}\
.bg{fill:#fff}.grid{stroke:#d0d7de}.l{fill:none;stroke-width:2}.dash{stroke-dasharray:5 4}\
.s0{stroke:#0550ae}.s1{stroke:#bc4c00}.s2{stroke:#4393c3}.s3{stroke:#d99a4e}.s4{stroke:#8250df}.s5{stroke:#6e7781}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.grid{stroke:#30363d}\
.s0{stroke:#58a6ff}.s1{stroke:#ff9d5c}.s2{stroke:#a5d6ff}.s3{stroke:#ffd8a8}.s4{stroke:#d2a8ff}.s5{stroke:#9aa4ae}}";

/// One line: its name, its class, its points by size.
struct Series {
    name: &'static str,
    class: &'static str,
    points: Vec<(u16, f64)>,
}

/// One of the two panels.
struct Panel {
    title: &'static str,
    top: f64,
    bottom: f64,
    /// Values at bottom and top.
    range: (f64, f64),
    logarithmic: bool,
    marks: &'static [f64],
}

const TIME: Panel = Panel {
    title: "ns per packet",
    top: 50.0,
    bottom: 340.0,
    range: (4.0, 4000.0),
    logarithmic: true,
    marks: &[10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0],
};

const SHARE: Panel = Panel {
    title: "share of what the AES and CLMUL units allow, %",
    top: 410.0,
    bottom: 670.0,
    range: (0.0, 100.0),
    logarithmic: false,
    marks: &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0],
};

/// The whole picture.
pub(super) fn draw(rows: &[Row]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Seal and open by payload size</title>\n<style>{STYLE}</style>\n\
         <rect class=\"bg\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
    );
    TIME.draw(&mut out, &times(rows));
    SHARE.draw(&mut out, &shares(rows));
    out.push_str("</svg>\n");
    out
}

fn times(rows: &[Row]) -> Vec<Series> {
    let of = |who, pass, form, name, class| {
        let points = SIZES
            .into_iter()
            .filter_map(|size| Some((size, at(rows, Place { who, pass, form, size })?.value)));
        Series { name, class, points: points.collect() }
    };
    let bound = SIZES.into_iter().filter_map(|size| {
        let name = format!("cipher/bound/{size}");
        Some((size, rows.iter().find(|row| row.name == name)?.value))
    });
    vec![
        of("aws-lc-rs", Pass::Seal, Form::Batch, "aws-lc-rs seal", "l s4"),
        of("", Pass::Seal, Form::Single, "seal, single", "l s2"),
        of("", Pass::Open, Form::Single, "open, single", "l s3"),
        of("", Pass::Seal, Form::Batch, "seal, batch", "l s0"),
        of("", Pass::Open, Form::Batch, "open, batch", "l s1"),
        Series { name: "bound", class: "l s5 dash", points: bound.collect() },
    ]
}

fn shares(rows: &[Row]) -> Vec<Series> {
    let of = |pass, form, name, class| {
        let points = SIZES.into_iter().filter_map(|size| {
            let row = at(rows, Place { who: "of-bound", pass, form, size })?;
            Some((size, 100.0 * row.ratio?))
        });
        Series { name, class, points: points.collect() }
    };
    vec![
        of(Pass::Seal, Form::Batch, "seal, batch", "l s0"),
        of(Pass::Open, Form::Batch, "open, batch", "l s1"),
        of(Pass::Seal, Form::Single, "seal, single", "l s2"),
        of(Pass::Open, Form::Single, "open, single", "l s3"),
    ]
}

impl Panel {
    fn draw(&self, out: &mut String, series: &[Series]) {
        let Self { title, top, bottom, .. } = self;
        let _ = writeln!(out, "<text class=\"h\" x=\"{LEFT}\" y=\"{}\">{title}</text>", top - 16.0);
        for mark in self.marks {
            let y = self.y(*mark);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for size in TICKS {
            let x = x(size);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{x:.1} {bottom}v5\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{size}</text>",
                bottom + 20.0
            );
        }
        for (line, Series { class, points, .. }) in series.iter().enumerate() {
            let path: Vec<String> = points
                .iter()
                .map(|&(size, value)| format!("{:.1} {:.1}", x(size), self.y(value)))
                .collect();
            if !path.is_empty() {
                let _ = writeln!(out, "<path class=\"{class}\" d=\"M{}\"/>", path.join("L"));
            }
            self.legend(out, line, &series[line]);
        }
    }

    /// Names stand in the order of the lines, each with a stroke of its own.
    fn legend(&self, out: &mut String, line: usize, Series { name, class, .. }: &Series) {
        let y = self.top + 14.0 + 24.0 * line as f64;
        let _ = writeln!(
            out,
            "<path class=\"{class}\" d=\"M{} {y}h24\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            RIGHT + 16.0,
            RIGHT + 48.0,
            y + 4.0
        );
    }

    fn y(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let (low, high) = (scale(self.range.0), scale(self.range.1));
        let part = (scale(value) - low) / (high - low);
        self.bottom - part.clamp(0.0, 1.0) * (self.bottom - self.top)
    }
}

fn x(size: u16) -> f64 {
    let scale = |size: u16| f64::from(size).ln();
    let (first, last) = (scale(SIZES[0]), scale(SIZES[SIZES.len() - 1]));
    LEFT + (scale(size) - first) / (last - first) * (RIGHT - LEFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_on_their_axes() {
        assert_eq!((x(64), x(16384)), (LEFT, RIGHT));
        assert_eq!((SHARE.y(0.0), SHARE.y(100.0)), (SHARE.bottom, SHARE.top));
        assert!(TIME.y(100.0) < TIME.y(10.0), "more is higher");
        let rows = [
            Row::alone("cipher/seal/64/batch".to_owned(), 20.0, "ns/packet"),
            Row::alone("cipher/seal/128/batch".to_owned(), 30.0, "ns/packet"),
        ];
        let picture = draw(&rows);
        let line = format!("M{:.1} {:.1}L{:.1} {:.1}", LEFT, TIME.y(20.0), x(128), TIME.y(30.0));
        assert!(picture.contains(&line), "{picture}");
        assert!(picture.ends_with("</svg>\n"));
    }
}
