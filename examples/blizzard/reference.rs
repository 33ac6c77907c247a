//! What the processors look things up in: airports with their time zones, aircraft with their
//! seats. Read once, shared by all instances.

use std::collections::HashMap;
use std::path::Path;

use jiff::tz::TimeZone;

use crate::table::{BadFile, Table};

pub struct Airport {
    pub name: String,
    pub zone: Option<TimeZone>,
}

pub struct Reference {
    pub airports: HashMap<String, Airport>,
    pub seats: HashMap<String, u32>,
}

impl Reference {
    pub fn read(folder: &Path) -> Result<Self, BadFile> {
        let mut zones: HashMap<String, Option<TimeZone>> = HashMap::new();
        let mut airports = HashMap::new();
        for row in Table::open(&folder.join("airports.csv"), &["faa", "name", "tzone"])?.rows() {
            let row = row.map_err(BadFile::from)?;
            let [code, name, zone] = [row.text(0), row.text(1), row.text(2)];
            let known = zones.entry(zone.to_owned()).or_insert_with(|| TimeZone::get(zone).ok());
            let airport = Airport { name: name.to_owned(), zone: known.clone() };
            airports.insert(code.to_owned(), airport);
        }
        let mut seats = HashMap::new();
        for row in Table::open(&folder.join("planes.csv"), &["tailnum", "seats"])?.rows() {
            let row = row.map_err(BadFile::from)?;
            if let Some(number) = row.optional::<u32>(1).map_err(BadFile::from)? {
                seats.insert(row.text(0).to_owned(), number);
            }
        }
        Ok(Self { airports, seats })
    }

    pub fn zone(&self, airport: &str) -> Option<&TimeZone> {
        self.airports.get(airport)?.zone.as_ref()
    }
}
