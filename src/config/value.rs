//! Times, sizes and switches, exactly as nginx reads them.

/// The units of a time from long to short, each with its milliseconds. A year is 365 days and a
/// month 30, as in nginx.
const UNITS: [(&str, u64); 8] = [
    ("y", 365 * 24 * 3_600_000),
    ("M", 30 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The largest number nginx holds, in milliseconds as in bytes.
const LARGEST: u64 = i64::MAX as u64;

/// A time in milliseconds: `60`, `60s`, `1h30m`, `500ms`. Units go from long to short, each once; a
/// number without one is seconds and comes last. `y` and `M` are not allowed, as in nginx.
#[must_use]
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    time(text, 2).filter(|&total| total <= LARGEST)
}

/// A time in microseconds: `50us` or `2ms`. nginx has no time this short, so this is a grammar of
/// our own: one number, and a unit that cannot be left out.
#[must_use]
pub(super) fn microseconds(text: &str) -> Option<u32> {
    let (digits, us) = match text.strip_suffix("us") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix("ms")?, 1000),
    };
    // Whatever is too large for the type is too large for any bound.
    let total = number(digits)?.saturating_mul(us);
    Some(u32::try_from(total).unwrap_or(u32::MAX))
}

/// A time in whole seconds: as [`milliseconds`], with `y` and `M` and without `ms`.
#[must_use]
pub(super) fn seconds(text: &str) -> Option<u64> {
    if text.contains("ms") {
        return None;
    }
    time(text, 0).map(|total| total / 1000)
}

/// Sums up a time; `next` is the first unit that may come.
fn time(text: &str, mut next: usize) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = if rest.is_empty() || rest.starts_with(' ') {
            // A bare number is seconds, and only another unit-less blank may follow.
            rest = rest.trim_start_matches(' ');
            if !rest.is_empty() || next > 6 {
                return None;
            }
            6
        } else {
            // "ms" before "m": the longer name first.
            let unit = (0..UNITS.len()).rev().find(|&unit| rest.starts_with(UNITS[unit].0))?;
            rest = rest[UNITS[unit].0.len()..].trim_start_matches(' ');
            unit
        };
        if unit < next {
            return None;
        }
        next = unit + 1;
        total = total.checked_add(number.checked_mul(UNITS[unit].1)?)?;
    }
    Some(total)
}

/// A size in bytes: a number with `k`, `m` or nothing, of either case.
#[must_use]
pub(super) fn size(text: &str) -> Option<u64> {
    if text.ends_with(['g', 'G']) { None } else { offset(text) }
}

/// A size that may be large: as [`size`], and `g`.
#[must_use]
pub(super) fn offset(text: &str) -> Option<u64> {
    let (digits, scale) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number(digits)?.checked_mul(scale).filter(|&bytes| bytes <= LARGEST)
}

/// A whole number: digits only.
#[must_use]
pub(super) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&number| number <= LARGEST)
}

/// `on` or `off`, of either case.
#[must_use]
pub(super) fn flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("on") {
        Some(true)
    } else if text.eq_ignore_ascii_case("off") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("60", Some(60_000)),
            ("60s", Some(60_000)),
            ("0", Some(0)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1h30", Some(3_630_000)),
            ("7d", Some(604_800_000)),
            ("1w", Some(604_800_000)),
            ("500ms", Some(500)),
            ("1m500ms", Some(60_500)),
            ("1s500ms", Some(1_500)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.5s", None),
            ("1m1h", None),
            ("1s1s", None),
            ("60 s", None),
            ("1S", None),
            ("1y", None),
            ("1M", None),
            ("999999999999999999999", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text:?}");
        }
        assert_eq!(seconds("1y"), Some(31_536_000));
        assert_eq!(seconds("1M1d"), Some(2_678_400));
        assert_eq!(seconds("500ms"), None);
        assert_eq!(seconds("10m"), Some(600));
    }

    #[test]
    fn short_times() {
        for (text, expected) in [
            ("50us", Some(50)),
            ("2ms", Some(2000)),
            ("0us", Some(0)),
            ("99999999999us", Some(u32::MAX)),
            ("50", None),
            ("us", None),
            ("1s", None),
            ("1ms50us", None),
            ("-1us", None),
            ("0.5ms", None),
        ] {
            assert_eq!(microseconds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_numbers_and_switches() {
        assert_eq!(size("8k"), Some(8192));
        assert_eq!(size("1M"), Some(1 << 20));
        assert_eq!(size("1g"), None);
        assert_eq!(offset("1g"), Some(1 << 30));
        assert_eq!(size("k"), None);
        assert_eq!(size(""), None);
        assert_eq!(size("1kb"), None);
        assert_eq!(offset("9223372036854775807k"), None);
        assert_eq!(number("+1"), None);
        assert_eq!(number("42"), Some(42));
        assert_eq!(flag("On"), Some(true));
        assert_eq!(flag("yes"), None);
    }
}
