//! Tables as etcdctl draws them: names in capitals in the middle, values at the right.

/// Past this width a cell is broken at a blank.
const WRAP: usize = 30;

/// A table, to be drawn once it is full.
#[derive(Debug)]
pub(crate) struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| name.to_uppercase()).collect(), rows: Vec::new() }
    }

    /// Adds a row, which has as many cells as there are names.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table, its last line ended.
    pub(crate) fn draw(&self) -> String {
        let rows: Vec<Vec<Vec<String>>> =
            self.rows.iter().map(|row| row.iter().map(|cell| wrap(cell)).collect()).collect();
        let widths: Vec<usize> = (0..self.names.len())
            .map(|column| {
                let cells = rows.iter().flat_map(|row| &row[column]).map(|line| width(line));
                cells.chain([width(&self.names[column])]).max().unwrap_or(0)
            })
            .collect();
        let rule: String =
            widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
        let rule = format!("{rule}+\n");
        let mut drawn = rule.clone();
        for (name, width) in self.names.iter().zip(&widths) {
            drawn.push_str(&format!("| {name:^width$} "));
        }
        drawn.push_str("|\n");
        drawn.push_str(&rule);
        for row in &rows {
            let height = row.iter().map(Vec::len).max().unwrap_or(0);
            for at in 0..height {
                for (cell, width) in row.iter().zip(&widths) {
                    let line = cell.get(at).map_or("", String::as_str);
                    drawn.push_str(&format!("| {line:>width$} "));
                }
                drawn.push_str("|\n");
            }
        }
        if !rows.is_empty() {
            drawn.push_str(&rule);
        }
        drawn
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A cell's lines: full ones of at most [`WRAP`] letters, unless a word is longer.
fn wrap(cell: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in cell.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            last.push_str(word);
        } else if width(last) + 1 + width(word) <= WRAP {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_drawn() {
        let mut table = Table::new(&["endpoint", "hash"]);
        table.row(vec!["127.0.0.1:2379".into(), "7".into()]);
        assert_eq!(
            table.draw(),
            "\
+----------------+------+
|    ENDPOINT    | HASH |
+----------------+------+
| 127.0.0.1:2379 |    7 |
+----------------+------+
"
        );
    }

    #[test]
    fn long_cells_are_broken() {
        assert_eq!(
            wrap("memberID:1 alarm:NOSPACE memberID:2"),
            ["memberID:1 alarm:NOSPACE", "memberID:2"]
        );
        assert_eq!(wrap(""), [""]);
    }
}
