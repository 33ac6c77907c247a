//! CSV files whose columns are found by name, and what is wrong with them: file, line and column.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A file that cannot be used.
#[derive(Debug)]
pub struct BadFile {
    pub file: PathBuf,
    pub line: u64,
    pub column: String,
    pub problem: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, problem } = self;
        write!(f, "{}: line {line}, column `{column}`: {problem}", file.display())
    }
}

/// A row that cannot be used, in a file that can.
#[derive(Debug)]
pub struct BadRow {
    pub file: PathBuf,
    pub line: u64,
    pub column: String,
    pub problem: String,
    pub text: String,
}

impl From<BadRow> for BadFile {
    fn from(row: BadRow) -> Self {
        Self { file: row.file, line: row.line, column: row.column, problem: row.problem }
    }
}

pub struct Table {
    path: PathBuf,
    reader: BufReader<File>,
    /// The wanted columns: their names, and their places in the file.
    columns: &'static [&'static str],
    places: Vec<usize>,
    width: usize,
}

impl Table {
    pub fn open(path: &Path, columns: &'static [&'static str]) -> Result<Self, BadFile> {
        let bad = |column: &str, problem: String| BadFile {
            file: path.to_owned(),
            line: 1,
            column: column.to_owned(),
            problem,
        };
        let file = File::open(path).map_err(|error| {
            bad(columns[0], format!("cannot be opened: {error}; is the path right?"))
        })?;
        let mut reader = BufReader::new(file);
        let mut first = Vec::new();
        let read = reader.read_until(b'\n', &mut first).map_err(|error| error.to_string());
        let header = read.and_then(|_| fields_of(first.trim_ascii_end()));
        let header =
            header.map_err(|problem| bad(columns[0], format!("cannot be read: {problem}")))?;
        if first.is_empty() {
            let problem = "the file is empty; expected a header and one row a line";
            return Err(bad(columns[0], problem.to_owned()));
        }
        let place = |column: &&str| header.iter().position(|name| name == column.as_bytes());
        if columns.iter().filter_map(place).count() * 2 < columns.len() {
            let found: String = String::from_utf8_lossy(&first).trim().chars().take(60).collect();
            let problem = format!("the first line is not the header, but `{found}`");
            return Err(bad(columns[0], problem));
        }
        let places = columns
            .iter()
            .map(|column| {
                place(column).ok_or_else(|| {
                    bad(column, "the column is missing; is it another file?".to_owned())
                })
            })
            .collect::<Result<_, _>>()?;
        let width = header.len();
        Ok(Self { path: path.to_owned(), reader, columns, places, width })
    }

    /// Line by line, so that a stray quote spoils its own row and no other.
    pub fn rows(mut self) -> impl Iterator<Item = Result<Row, BadRow>> {
        let mut bytes = Vec::new();
        let mut line = 1;
        std::iter::from_fn(move || {
            loop {
                bytes.clear();
                line += 1;
                match self.reader.read_until(b'\n', &mut bytes) {
                    Ok(0) => return None,
                    Ok(_) if bytes.trim_ascii().is_empty() => {}
                    Ok(_) => return Some(self.row(bytes.trim_ascii_end(), line)),
                    Err(error) => {
                        let problem = format!("cannot be read: {error}");
                        return Some(Err(self.bad(line, self.columns[0], problem, String::new())));
                    }
                }
            }
        })
    }

    fn row(&self, bytes: &[u8], line: u64) -> Result<Row, BadRow> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let record = fields_of(bytes)
            .map_err(|problem| self.bad(line, self.columns[0], problem, text.clone()))?;
        if record.len() != self.width {
            let (found, width) = (record.len(), self.width);
            let after = self
                .places
                .iter()
                .position(|&place| place >= found)
                .map_or("(beyond the last)", |column| self.columns[column]);
            let problem = format!("{found} columns instead of {width}: the row is cut or torn");
            return Err(self.bad(line, after, problem, text));
        }
        let mut fields = Vec::with_capacity(self.places.len());
        for (column, &place) in self.places.iter().enumerate() {
            match std::str::from_utf8(&record[place]) {
                Ok(field) => fields.push(field.to_owned()),
                Err(_) => {
                    let problem = "is not text (UTF-8)".to_owned();
                    return Err(self.bad(line, self.columns[column], problem, text));
                }
            }
        }
        Ok(Row { file: self.path.clone(), line, columns: self.columns, fields, text })
    }

    fn bad(&self, line: u64, column: &str, problem: String, text: String) -> BadRow {
        BadRow { file: self.path.clone(), line, column: column.to_owned(), problem, text }
    }
}

/// The fields of one line.
fn fields_of(line: &[u8]) -> Result<csv::ByteRecord, String> {
    if !line.contains(&b'"') {
        return Ok(line.split(|byte| *byte == b',').collect::<Vec<_>>().into());
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line);
    let mut record = csv::ByteRecord::new();
    reader.read_byte_record(&mut record).map_err(|error| error.to_string())?;
    Ok(record)
}

/// The wanted fields of one row, in the order they were asked for.
pub struct Row {
    file: PathBuf,
    line: u64,
    columns: &'static [&'static str],
    fields: Vec<String>,
    text: String,
}

impl Row {
    pub fn text(&self, column: usize) -> &str {
        &self.fields[column]
    }

    /// The field as a number or the like; none if it is empty or `NA`.
    pub fn optional<T: FromStr>(&self, column: usize) -> Result<Option<T>, BadRow> {
        match self.text(column) {
            "" | "NA" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| self.bad(column, format!("`{text}` is no value for it"))),
        }
    }

    pub fn required<T: FromStr>(&self, column: usize) -> Result<T, BadRow> {
        self.optional(column)?.ok_or_else(|| self.bad(column, "is missing".to_owned()))
    }

    pub fn bad(&self, column: usize, problem: String) -> BadRow {
        BadRow {
            file: self.file.clone(),
            line: self.line,
            column: self.columns[column].to_owned(),
            problem,
            text: self.text.clone(),
        }
    }
}
