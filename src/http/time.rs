//! The three ways in which a time is written: nginx's two for logs, and HTTP's.

use std::cell::Cell;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A time zone, and the last second written in it: a busy log writes the same one again and again.
#[derive(Debug)]
pub struct LocalTime {
    zone: TimeZone,
    last: Cell<Option<Written>>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    second: i64,
    common: [u8; 26],
    iso8601: [u8; 25],
}

impl LocalTime {
    /// The system's zone (`TZ`, `/etc/localtime`); to be called once, when a worker starts.
    #[must_use]
    pub fn system() -> Self {
        Self::new(TimeZone::system())
    }

    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self::new(TimeZone::UTC)
    }

    /// A given zone.
    #[must_use]
    pub const fn new(zone: TimeZone) -> Self {
        Self { zone, last: Cell::new(None) }
    }

    /// `$time_local`: `20/Nov/2026:09:05:09 +0000`. The time is in milliseconds since 1970.
    pub fn common(&self, unix_ms: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.written(unix_ms).common);
    }

    /// `$time_iso8601`: `2026-11-20T09:05:09+00:00`.
    pub fn iso8601(&self, unix_ms: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.written(unix_ms).iso8601);
    }

    fn written(&self, unix_ms: u64) -> Written {
        let second = seconds(unix_ms);
        if let Some(last) = self.last.get().filter(|last| last.second == second) {
            return last;
        }
        let time = timestamp(second);
        let offset = self.zone.to_offset(time);
        let local = offset.to_datetime(time);
        let minutes = offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        let month = MONTHS[usize::from(local.month().unsigned_abs() - 1) % 12];
        let common = format!(
            "{:02}/{month}/{:04}:{:02}:{:02}:{:02} {sign}{hours:02}{minutes:02}",
            local.day(),
            local.year(),
            local.hour(),
            local.minute(),
            local.second(),
        );
        let iso8601 = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{hours:02}:{minutes:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second(),
        );
        let written = Written {
            second,
            common: exactly(common.as_bytes()),
            iso8601: exactly(iso8601.as_bytes()),
        };
        self.last.set(Some(written));
        written
    }
}

/// `Date`: `Fri, 20 Nov 2026 09:05:09 GMT` (RFC 9110 section 5.6.7).
pub fn http_date(unix_ms: u64, out: &mut Vec<u8>) {
    let time = Offset::UTC.to_datetime(timestamp(seconds(unix_ms)));
    let day = DAYS[usize::from(time.weekday().to_monday_zero_offset().unsigned_abs()) % 7];
    let month = MONTHS[usize::from(time.month().unsigned_abs() - 1) % 12];
    let text = format!(
        "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        time.day(),
        time.year(),
        time.hour(),
        time.minute(),
        time.second(),
    );
    out.extend_from_slice(text.as_bytes());
}

fn seconds(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX)
}

fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// The texts have one length for every year up to 9999, which is where `Timestamp` ends.
fn exactly<const N: usize>(text: &[u8]) -> [u8; N] {
    debug_assert_eq!(text.len(), N);
    let mut fixed = [b' '; N];
    let shared = text.len().min(N);
    fixed[..shared].copy_from_slice(&text[..shared]);
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_nginx_writes_them() {
        let east = LocalTime::new(TimeZone::fixed(Offset::from_seconds(5 * 3600 + 1800).unwrap()));
        let west = LocalTime::new(TimeZone::fixed(Offset::from_seconds(-1800).unwrap()));
        let ms = 1_795_165_509_123;
        assert_eq!(text(|out| LocalTime::utc().common(ms, out)), "20/Nov/2026:09:05:09 +0000");
        assert_eq!(text(|out| east.common(ms, out)), "20/Nov/2026:14:35:09 +0530");
        assert_eq!(text(|out| west.common(ms + 1, out)), "20/Nov/2026:08:35:09 -0030");
        assert_eq!(text(|out| east.iso8601(ms, out)), "2026-11-20T14:35:09+05:30");
        assert_eq!(text(|out| http_date(ms, out)), "Fri, 20 Nov 2026 09:05:09 GMT");
        assert_eq!(text(|out| http_date(0, out)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(|out| http_date(u64::MAX, out)).len(), 29);
        assert_eq!(text(|out| LocalTime::utc().common(u64::MAX, out)).len(), 26);
    }

    #[test]
    fn the_remembered_second_is_not_written_for_another() {
        let clock = LocalTime::utc();
        assert_eq!(text(|out| clock.iso8601(999, out)), "1970-01-01T00:00:00+00:00");
        assert_eq!(text(|out| clock.iso8601(1000, out)), "1970-01-01T00:00:01+00:00");
        assert_eq!(text(|out| clock.iso8601(0, out)), "1970-01-01T00:00:00+00:00");
    }
}
